"""What reads are refused for is told of the object, under the request's `on_missing`, and of all objects together."""

from typing import Any

import pytest
from structlog.testing import capture_logs
from worker.pipeline_env import PipelineEnv

from archiver.core.locations import Location
from archiver.core.objects import ObjectInfo
from archiver.errors import (
    ArchiverError,
    Code,
    ConfigurationError,
    CredentialsRefused,
    Rejected,
    SourceChanged,
    SourceUnavailable,
    TransientError,
)
from archiver.ports import StoredArchive
from archiver.stages.credential_check import CREDENTIALS_PROBE_KEY


async def test_an_object_that_keeps_changing_rejects_the_job_and_is_named() -> None:
    env = PipelineEnv()
    env.put(**{f"{name}_jpg": name.encode() for name in "abc"})
    versions = iter(range(100))

    def change(location: Location, _offset: int) -> None:
        if location.key == "b.jpg":
            env.stage.s3.put("source", "b.jpg", b"%d" % next(versions))
            raise SourceChanged("412")

    env.stage.reader.on_read = change
    with capture_logs() as lines, pytest.raises(Rejected) as caught:
        await env.run("a.jpg", "b.jpg", "c.jpg")

    assert caught.value.code == "source_changed"
    assert "s3://source/b.jpg" in caught.value.message
    assert [(one.source, one.code) for one in caught.value.sources] == [("b.jpg", "source_changed")]
    again = [line for line in lines if line["event"] == "job.planned_again"]
    assert [line["source"] for line in again] == ["s3://source/b.jpg"] * 4
    assert env.stage.store.pending == {}


async def test_etags_that_are_rewritten_on_the_way_are_told_as_that() -> None:
    """HEAD gives the very ETag that reads are refused for: no change."""
    env = PipelineEnv()
    env.put(a_jpg=b"a", b_jpg=b"b")
    head = env.stage.reader.head

    async def weak(location: Location) -> ObjectInfo:
        info = await head(location)
        return info._replace(etag=f"W/{info.etag}")

    env.stage.reader.head = weak  # type: ignore[method-assign]
    with pytest.raises(Rejected, match="rewrites ETags") as caught:
        await env.run("a.jpg", "b.jpg")

    assert caught.value.code == "source_changed"
    assert 'W/"' in caught.value.message
    assert len(caught.value.sources) >= 1


def denied_to_reads(env: PipelineEnv, total: int, *places: int) -> list[str]:
    """*total* objects in the source bucket, of which HEAD answers and GET denies those at *places*; all keys."""
    keys = [f"{number}.jpg" for number in range(total)]
    for place, key in enumerate(keys):
        location = env.stage.s3.put("source", key, b"%d" % place)
        if place in places:
            env.stage.s3.make_unavailable(location, "source_denied", head_succeeds=True)
    return keys


@pytest.mark.parametrize("compression", ["store", "deflate"])
async def test_objects_that_only_reads_are_denied_are_all_listed_in_one_rejection(compression: str) -> None:
    """Half of a hundred objects; one build comes upon the first, and the others are found before another one begins."""
    env = PipelineEnv()
    keys = denied_to_reads(env, 100, *range(0, 100, 2))

    with pytest.raises(Rejected) as caught:
        await env.run(*keys, compression=compression)

    assert caught.value.code == "source_denied"
    assert [one.source for one in caught.value.sources] == keys[::2]
    one_pass = 100 if compression == "store" else 0  # at most: it ends at the first
    assert env.stage.reader.faults.calls["head"] <= 150 + one_pass  # those that were refused are not asked for again
    assert len([location for location in env.stage.s3.objects if location.bucket == "archives"]) == 0
    assert env.stage.store.pending == {}


async def test_objects_that_only_reads_are_denied_can_be_skipped() -> None:
    env = PipelineEnv()
    keys = denied_to_reads(env, 50, 7, 31)

    done = await env.run(*keys, on_missing="skip")

    assert done.status == "partial"
    assert env.answer["missing"] == [{"source": f"{place}.jpg", "code": "source_denied"} for place in (7, 31)]
    assert env.archive()["_MISSING.txt"] == b"7.jpg\tsource_denied\n31.jpg\tsource_denied\n"
    assert len(env.archive()) == 49


async def test_an_object_that_sleeps_by_the_time_that_it_is_read_is_archived() -> None:
    env = PipelineEnv()
    keys = denied_to_reads(env, 3)
    env.stage.s3.make_unavailable(Location("source", "1.jpg"), "source_archived", head_succeeds=True)

    with pytest.raises(Rejected) as caught:
        await env.run(*keys)

    assert [(one.source, one.code) for one in caught.value.sources] == [("1.jpg", "source_archived")]


async def test_reads_that_are_refused_one_after_the_other_end_the_job() -> None:
    """Each answers when it is asked for a byte, and is refused in the next build: no build for each of them."""
    env = PipelineEnv()
    keys = denied_to_reads(env, 40)
    read = env.stage.reader.read

    async def refuse(location: Location, etag: str, start: int, into: Any) -> None:
        if sum(map(len, into)) > 1:
            raise SourceUnavailable("source_denied", "S3 answered 403")
        await read(location, etag, start, into)

    env.stage.reader.read = refuse  # type: ignore[method-assign]
    for key in keys:
        env.stage.s3.put("source", key, b"more than a byte")
    env.stage.limiter.limit = 1.0
    with pytest.raises(Rejected, match="in a row were refused"):
        await env.run(*keys, on_missing="skip")

    assert env.stage.store.events == []


async def test_a_role_that_may_look_and_not_read_is_our_own_fault_first() -> None:
    """HEAD needs no key to decrypt an object: it proves nothing of what may be read."""
    env = PipelineEnv()
    keys = denied_to_reads(env, 3, 0, 1, 2)

    with pytest.raises(TransientError) as caught:
        await env.run(*keys)
    assert caught.value.receive_pause == 60
    assert caught.value.rejection is not None
    assert len(caught.value.rejection.sources) == 3

    env.put(z_jpg=b"z")
    await env.run("z.jpg")
    with pytest.raises(Rejected, match="source_denied"):
        await env.run(*keys)


async def test_one_object_that_can_be_read_shows_that_the_others_are_denied_to_this_request() -> None:
    env = PipelineEnv()
    keys = denied_to_reads(env, 3, 1, 2)

    with pytest.raises(Rejected, match="source_denied"):
        await env.run(*keys)
    with pytest.raises(Rejected, match="source_denied"):  # a byte of the first one came
        await env.run(*keys[1:])


def refuses_credentials(env: PipelineEnv, bucket: str, *verbs: str) -> None:
    """*verbs* of the reader are refused with `InvalidToken` by *bucket*."""
    for verb in verbs:
        call = getattr(env.stage.reader, verb)

        async def refused(location: Location, *more: Any, call: Any = call) -> Any:
            if location.bucket == bucket:
                raise CredentialsRefused("S3 refuses our credentials: InvalidToken", "InvalidToken")
            return await call(location, *more)

        setattr(env.stage.reader, verb, refused)


@pytest.mark.parametrize("verb", ["head", "read"])
async def test_a_source_that_refuses_credentials_which_work_elsewhere_is_denied(verb: str) -> None:
    env = PipelineEnv()
    env.put(a_jpg=b"a")
    for key in "xy":
        env.stage.s3.put("abroad", key, b"x")
    refuses_credentials(env, "abroad", verb)

    with pytest.raises(Rejected) as caught:
        await env.run("a.jpg", "s3://abroad/x", "s3://abroad/y")
    assert caught.value.code == "source_denied"
    assert "InvalidToken" in caught.value.message
    assert [one.source for one in caught.value.sources] == ["s3://abroad/x", "s3://abroad/y"]

    await env.run("a.jpg", "s3://abroad/x", on_missing="skip")
    assert env.answer["status"] == "partial"


@pytest.mark.parametrize("verb", ["head", "read"])
@pytest.mark.parametrize("code", ["ConfigurationError", "TransientError"])
async def test_credentials_that_the_destination_does_not_take_either_are_ours_to_mend(verb: str, code: str) -> None:
    env = PipelineEnv()
    env.put(a_jpg=b"a")
    refuses_credentials(env, "source", verb)
    error = ConfigurationError("InvalidToken") if code == "ConfigurationError" else TransientError("no connection")
    find = env.stage.store.find

    async def asked(key: str) -> StoredArchive | None:
        if key == CREDENTIALS_PROBE_KEY:
            raise error
        return await find(key)

    env.stage.store.find = asked  # type: ignore[method-assign]
    with pytest.raises(ConfigurationError):
        await env.run("a.jpg")


async def test_refused_credentials_of_the_destination_itself_are_never_a_sources() -> None:
    env = PipelineEnv()
    env.put(a_jpg=b"a")
    env.stage.store.faults.plan("put", CredentialsRefused("S3 refuses our credentials: InvalidToken"))

    with pytest.raises(ConfigurationError):
        await env.run("a.jpg")


@pytest.mark.parametrize(
    ("trouble", "expected"), [("source_denied", ConfigurationError), ("source_archived", TransientError)]
)
async def test_a_receipt_that_may_not_be_read_is_no_verdict_on_the_request(
    trouble: Code, expected: type[ArchiverError]
) -> None:
    """Refused by our own bucket, it is ours to mend."""
    env = PipelineEnv()
    env.put(a_jpg=b"a")
    await env.run("a.jpg", "gone", on_missing="skip", job_id="j")
    env.stage.s3.make_unavailable(env.receipt_at, trouble, head_succeeds=True)

    with pytest.raises(expected):
        await env.run("a.jpg", "gone", on_missing="skip", job_id="j")


async def test_a_bucket_in_which_everything_is_denied_from_the_start_is_our_own_fault_first() -> None:
    """A role without its policy must not reject every job; once something was readable, a denial is the request's."""
    env = PipelineEnv()
    env.put(a_jpg=b"a", b_jpg=b"b")
    env.stage.s3.make_unavailable(Location("source", "a.jpg"), "source_denied")

    with pytest.raises(TransientError) as caught:
        await env.run("a.jpg")
    assert caught.value.receive_pause == 60
    assert caught.value.rejection is not None
    assert caught.value.rejection.code == "source_denied"

    await env.run("b.jpg")
    with pytest.raises(Rejected, match="source_denied"):
        await env.run("a.jpg")


@pytest.mark.parametrize("head_succeeds", [False, True], ids=["all", "reads"])
async def test_a_role_that_lost_its_policy_is_our_own_fault_whatever_it_could_read_before(head_succeeds: bool) -> None:
    """The job is held: no message is rejected for a bad deploy, however many have been answered before."""
    env = PipelineEnv()
    env.put(a_jpg=b"a", b_jpg=b"b", c_jpg=b"c")
    await env.run("a.jpg")
    for key in ("a.jpg", "b.jpg", "c.jpg"):
        env.stage.s3.make_unavailable(Location("source", key), "source_denied", head_succeeds=head_succeeds)

    with pytest.raises(ConfigurationError, match=r"b\.jpg, and for s3://source/a\.jpg, which was readable before"):
        await env.run("b.jpg", "c.jpg")


async def test_an_object_that_is_denied_by_itself_holds_up_nothing() -> None:
    """Also one that was read before: what else was read is asked, and answers."""
    env = PipelineEnv()
    env.put(a_jpg=b"a", b_jpg=b"b")
    await env.run("a.jpg")
    await env.run("b.jpg")
    env.stage.s3.make_unavailable(Location("source", "b.jpg"), "source_denied")

    with pytest.raises(Rejected, match="source_denied"):
        await env.run("b.jpg")


async def test_a_denied_object_beside_one_that_can_be_read_is_the_requests_whatever_became_of_others() -> None:
    """Without leave to list, S3 calls what was deleted since it was read denied, too."""
    env = PipelineEnv()
    env.put(a_jpg=b"a", b_jpg=b"b", c_jpg=b"c")
    await env.run("a.jpg")
    for key in ("a.jpg", "b.jpg"):
        env.stage.s3.make_unavailable(Location("source", key), "source_denied")

    done = await env.run("b.jpg", "c.jpg", on_missing="skip")

    assert done.status == "partial"


async def test_all_that_was_read_before_is_asked_until_one_can_be_read() -> None:
    env = PipelineEnv()
    keys = [f"{number}.jpg" for number in range(6)]
    for key in keys:
        env.stage.s3.put("source", key, key.encode())
        await env.run(key)
    for key in keys[1:]:
        env.stage.s3.make_unavailable(Location("source", key), "source_denied")
    env.stage.s3.make_unavailable(env.stage.s3.put("source", "x", b"x"), "source_denied")

    with pytest.raises(Rejected, match="source_denied"):
        await env.run("x")


async def test_where_nothing_else_was_ever_read_a_denial_is_tried_again_first() -> None:
    env = PipelineEnv()
    env.put(a_jpg=b"a")
    await env.run("a.jpg")
    env.stage.s3.make_unavailable(Location("source", "a.jpg"), "source_denied")

    with pytest.raises(TransientError) as caught:
        await env.run("a.jpg")

    assert caught.value.rejection is not None


@pytest.mark.parametrize("known", ["gone", "archived", "changed"])
async def test_what_was_read_before_and_is_no_more_what_it_was_accuses_nobody(known: str) -> None:
    env = PipelineEnv()
    env.put(a_jpg=b"a", b_jpg=b"b")
    await env.run("a.jpg")
    before = Location("source", "a.jpg")
    if known == "gone":
        del env.stage.s3.objects[before]
    elif known == "changed":
        env.put(a_jpg=b"another")
    else:
        env.stage.s3.make_unavailable(before, "source_archived", head_succeeds=True)
    env.stage.s3.make_unavailable(Location("source", "b.jpg"), "source_denied")

    with pytest.raises(Rejected, match="source_denied"):
        await env.run("b.jpg")


async def test_a_denial_in_another_bucket_is_the_requests_at_once() -> None:
    env = PipelineEnv()
    env.stage.s3.make_unavailable(env.stage.s3.put("other", "x", b""), "source_denied")

    with pytest.raises(Rejected, match="source_denied"):
        await env.run("s3://other/x")
