"""Requests whose entries name many objects: the whole job, in memory."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from fakes import FakeHold
from worker.pipeline_env import RULES, PipelineEnv

from archiver.core.locations import AllowList, Location
from archiver.core.objects import ListPage
from archiver.core.select import Prefix
from archiver.errors import ConfigurationError, CredentialsRefused, Rejected, TransientError
from archiver.ports import Message

TXT = {"prefix": "src/", "regex": r".*\.txt"}


def env_with(*keys: str, **rules: Any) -> PipelineEnv:
    env = PipelineEnv(rules=replace(RULES, **rules))
    for key in keys:
        env.stage.s3.put("source", key, key.encode())
    env.stage.s3.buckets.add("source")
    return env


async def run(env: PipelineEnv, *files: Any, **request: Any) -> Any:
    entries = [{"source": file} if isinstance(file, str) else file for file in files]
    return await env.run(files=entries, **request)


async def rejection(env: PipelineEnv, *files: Any, **request: Any) -> Rejected:
    with pytest.raises(Rejected) as caught:
        await run(env, *files, **request)
    assert [event for event in env.stage.store.events if event != "abort"] == []
    assert env.stage.reader.reads == []
    return caught.value


async def test_all_objects_under_a_prefix_are_archived_without_a_head_of_any() -> None:
    env = env_with("src/", "src/a.txt", "src/deep/b.txt", "src/c.jpg", "other/d.txt")

    done = await run(env, TXT, {"inline": "Made for ACME\n", "name": "README.txt"})

    assert env.archive() == {
        "a.txt": b"src/a.txt",
        "deep/b.txt": b"src/deep/b.txt",
        "README.txt": b"Made for ACME\n",
    }
    assert list(env.archive()) == ["a.txt", "deep/b.txt", "README.txt"]
    assert (done.status, done.files, env.answer["archive"]["files"]) == ("succeeded", 3, 3)
    assert env.stage.reader.heads == []
    assert len(env.stage.reader.lists) == 1


async def test_what_no_listing_tells_of_is_read_beside_what_is_listed() -> None:
    env = env_with("src/a.txt", "cover.jpg")
    await run(env, "cover.jpg", {"source": "src/a.txt", "name": "again.txt"}, {"prefix": "src/"}, TXT)

    assert env.stage.reader.heads == []  # it is read by one GET, as the others are
    assert len(env.stage.reader.lists) == 1  # two entries with one prefix
    assert list(env.archive()) == ["cover.jpg", "again.txt", "a.txt", "a (2).txt"]


async def test_a_redelivery_is_the_same_request_however_the_bucket_changed() -> None:
    env = env_with("src/a.txt", "src/b.txt")
    request = {"files": [TXT], "job_id": "j", "on_missing": "skip"}
    first = await env.run(**request)
    answered = env.answer
    env.stage.s3.put("source", "src/c.txt", b"new")
    del env.stage.s3.objects[Location("source", "src/a.txt")]
    lists = len(env.stage.reader.lists)

    again = await env.run(**request)

    assert again == replace(first, reused=True)
    assert env.answer["archive"] == answered["archive"]
    assert len(env.stage.reader.lists) == lists
    with pytest.raises(Rejected, match="job_conflict"):
        await env.run(**(request | {"files": [{**TXT, "recursive": False}]}))


async def test_a_member_that_changes_after_the_listing_is_listed_and_planned_again() -> None:
    env = env_with("src/a.txt", "src/b.txt")
    list_page = env.stage.reader.list

    async def list_and_change(prefix: Prefix, token: str = "") -> ListPage:
        page = await list_page(prefix, token)
        env.stage.s3.put("source", "src/b.txt", b"changed")
        env.stage.s3.put("source", "src/c.txt", b"new")
        return page

    env.stage.reader.list = list_and_change  # type: ignore[method-assign]
    await run(env, TXT)

    assert env.archive() == {"a.txt": b"src/a.txt", "b.txt": b"changed", "c.txt": b"new"}
    assert (len(env.stage.reader.lists), env.stage.reader.heads) == (2, [])


async def test_the_same_listing_makes_the_same_bytes() -> None:
    """Text that the request itself has is dated by when it was sent."""
    env = env_with("src/a.txt")
    message = await env.message(files=[TXT, {"inline": "x", "name": "x.txt"}])
    await env.pipeline.run(message, FakeHold())
    first = env.stage.s3.objects.pop(env.at)
    await env.pipeline.run(message, FakeHold())
    assert env.stage.s3.objects[env.at].data == first.data


async def test_ages_are_those_of_the_message() -> None:
    env = env_with("src/a.txt")
    message: Message = await env.message(files=[{"prefix": "src/", "where": {"age": {"lt": 60}}}])
    modified = env.stage.s3.objects[Location("source", "src/a.txt")].modified
    await env.pipeline.run(replace(message, sent_at=modified), FakeHold())
    assert list(env.archive()) == ["a.txt"]


async def test_a_prefix_that_selects_nothing_is_source_missing_together_with_all_that_is_missing() -> None:
    env = env_with("src/a.txt", "src/b.txt")
    none, many = {"prefix": "nothing/"}, {"prefix": "src/", "where": {"count": {"max": 1}}}

    rejected = await rejection(env, "src/a.txt", none, many, "gone.jpg")

    assert rejected.code == "source_missing"
    assert [(one.source, one.code) for one in rejected.sources] == [
        ("nothing/", "source_missing"),
        ("src/", "source_missing"),
        ("gone.jpg", "source_missing"),
    ]
    assert "selects no object" in rejected.message
    assert "it selects 2 objects; `where.count` allows 0 to 1" in rejected.message
    assert (await rejection(env, "src/a.txt", none, on_missing="skip")).code == "source_missing"


async def test_an_empty_prefix_is_nothing_where_the_request_says_so() -> None:
    env = env_with("src/a.txt")
    done = await run(env, {"prefix": "nothing/"}, TXT, on_empty="skip")
    assert (done.status, list(env.archive()), env.answer["missing"]) == ("succeeded", ["a.txt"], [])


async def test_a_request_that_selects_nothing_at_all_is_answered_as_skipped_and_has_no_archive() -> None:
    env = env_with("src/a.jpg")
    done = await run(env, TXT, {"inline": "x", "name": "x.txt"}, on_empty="skip", job_id="j", metadata={"k": 1})

    assert (done.status, done.files, done.size) == ("skipped", 0, 0)
    answer = env.answer
    assert (answer["status"], answer["archive"], answer["substitutions"]) == ("skipped", None, {})
    assert (answer["metadata"], answer["job_id"], answer["missing"]) == ({"k": 1}, "j", [])
    assert not any(at.bucket == "archives" for at in env.stage.s3.objects)


async def test_archived_objects_of_a_listing_are_source_archived_without_a_head() -> None:
    env = env_with("src/a.txt", "src/b.txt")
    env.stage.s3.make_unavailable(Location("source", "src/b.txt"), "source_archived")

    rejected = await rejection(env, TXT)
    assert (rejected.code, [one.source for one in rejected.sources]) == ("source_archived", ["src/b.txt"])

    done = await run(env, TXT, on_missing="skip")
    assert (done.status, sorted(env.archive())) == ("partial", ["_MISSING.txt", "a.txt"])
    assert env.stage.reader.heads == []


async def test_a_prefix_that_may_not_be_listed_is_source_denied_and_one_without_bucket_is_missing() -> None:
    env = env_with("src/a.txt")
    env.stage.s3.put("locked", "x/1", b"1")
    env.stage.s3.unlistable["locked"] = "source_denied"
    files = [TXT, {"prefix": "s3://locked/x/"}, {"prefix": "s3://no-such-bucket/"}]

    rejected = await rejection(env, *files)
    assert [(one.source, one.code) for one in rejected.sources] == [
        ("s3://locked/x/", "source_denied"),
        ("s3://no-such-bucket/", "source_missing"),
    ]
    done = await run(env, *files, on_missing="skip")
    assert (done.status, done.files) == ("partial", 1)
    assert [one["code"] for one in env.answer["missing"]] == ["source_denied", "source_missing"]


async def test_a_listing_that_is_denied_in_the_source_bucket_is_temporary_until_something_was_read_from_it() -> None:
    """A role without its policy must not empty the queue."""
    env = env_with("src/a.txt")
    env.stage.s3.unlistable["source"] = "source_denied"
    with pytest.raises(TransientError) as caught:
        await run(env, TXT)
    assert caught.value.rejection is not None
    assert caught.value.rejection.code == "source_denied"

    await run(env, "src/a.txt")
    assert (await rejection_after_reads(env)).code == "source_denied"


async def rejection_after_reads(env: PipelineEnv) -> Rejected:
    with pytest.raises(Rejected) as caught:
        await run(env, TXT)
    return caught.value


async def test_refused_credentials_of_a_listing_are_judged_by_the_destination() -> None:
    env = env_with("src/a.txt")
    await run(env, "src/a.txt")
    env.stage.reader.faults.plan("list", CredentialsRefused("refused", "ExpiredToken"), times=3)
    assert (await rejection_after_reads(env)).code == "source_denied"
    env.stage.store.faults.plan("find", ConfigurationError("refused too"), nth=2)
    with pytest.raises(ConfigurationError):
        await run(env, TXT)


@pytest.mark.parametrize("prefix", ["s3://archives/", "s3://source/sr", "s3://source/src", "s3://other/src/", "sr"])
async def test_a_prefix_that_is_not_wholly_allowed_is_never_listed(prefix: str) -> None:
    env = env_with("src/a.txt", allowed=AllowList.parse("source/src/", "archives"))
    rejected = await rejection(env, {"prefix": prefix})
    assert (rejected.code, [one.source for one in rejected.sources]) == ("source_not_allowed", [prefix])
    assert f"$.files[0].prefix s3://{'source/' if prefix == 'sr' else ''}" in rejected.message
    assert env.stage.reader.lists == []
    await run(env, {"prefix": "s3://source/src/a"})
    assert list(env.archive()) == ["a.txt"]


async def test_the_archive_bucket_is_listed_only_where_the_settings_name_it() -> None:
    assert (await rejection(env_with(), {"prefix": "s3://archives/"})).code == "source_not_allowed"
    env = env_with("src/a.txt", allowed=AllowList.parse("archives/", "archives"))
    env.stage.s3.put("archives", "old/a.zip", b"zip")
    await run(env, {"prefix": "s3://archives/old/"})
    assert len(env.stage.reader.lists) == 1


async def test_more_objects_than_the_settings_allow_are_too_large_before_all_are_listed() -> None:
    env = env_with(*(f"src/{number}.txt" for number in range(30)), max_files=10)
    env.stage.reader.page_size = 3

    rejected = await rejection(env, TXT)
    assert (rejected.code, len(env.stage.reader.lists)) == ("too_large", 4)
    assert "MAX_FILES" in rejected.message
    assert (await rejection(env, {**TXT, "regex": r"[0-9]\.txt"}, "src/10.txt")).code == "too_large"
    await run(env, {**TXT, "regex": r"[0-9]\.txt"})
    assert len(env.archive()) == 10


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"prefix": "a", "regex": "("}, r"files\[0\] has a regex that is not an expression of RE2"),
        ({"prefix": "a", "rename": {"pattern": "(", "sub": ""}}, "has a rename that is not an expression"),
        ({"prefix": "a", "rename": {"pattern": "a", "sub": r"\1"}}, "refers to group 1, but the pattern has 0"),
        ({"prefix": "a", "regex": "x" * 257}, "at most 256 characters"),
        ({"prefix": "a", "where": {"size": {"gt": 1, "lt": 1}}}, "allows nothing"),
        ({"prefix": "a", "name": "x"}, "has both prefix and name"),
        ({"prefix": "a", "source": "x"}, "has both source and prefix"),
        ({"source": "a", "regex": "x"}, "has both source and regex: it goes with prefix"),
        ({"prefix": "s3://x/"}, "invalid bucket name"),
        ({"prefix": ""}, "should not be empty"),
        ({"prefix": "x" * 1025}, "1025 bytes"),
        ({"prefix": "x\ud800"}, "half of a surrogate pair"),
        ({"inline": "x"}, "has no file name"),
        ({"inline": "x", "destination": "folder"}, "has no file name"),
        ({"inline": "x\ud800", "name": "x"}, "half of a surrogate pair"),
    ],
)
async def test_a_bad_entry_is_an_invalid_request(entry: dict[str, Any], reason: str) -> None:
    env = env_with()
    with pytest.raises(Rejected, match=reason) as caught:
        await run(env, entry)
    assert caught.value.code == "invalid_request"
    assert env.stage.reader.lists == []


@pytest.mark.parametrize("destination", ["../x", "C:/x", "a\0b"])
async def test_an_unsafe_destination_is_refused_before_anything_is_listed(destination: str) -> None:
    env = env_with("src/a.txt")
    assert (await rejection(env, {**TXT, "destination": destination})).code == "name_unsafe"
    assert env.stage.reader.lists == []


async def test_many_prefixes_are_listed_at_once() -> None:
    env = env_with(*(f"{number}/a.txt" for number in range(100)))
    running = most = 0
    list_page = env.stage.reader.list

    async def slowly(prefix: Prefix, token: str = "") -> ListPage:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return await list_page(prefix, token)

    env.stage.reader.list = slowly  # type: ignore[method-assign]
    await run(env, *({"prefix": f"{number}/", "destination": f"{number}"} for number in range(100)))
    assert 2 <= most <= 16
    assert len(env.archive()) == 100


async def test_a_request_with_too_many_different_patterns_is_invalid() -> None:
    """Each takes memory and time to compile: one message could have 25,000."""
    env = env_with()
    files: list[dict[str, Any]] = [{"prefix": "a", "regex": f"a{number}"} for number in range(17)]
    files += [{"prefix": "a", "rename": {"pattern": f"b{number}", "sub": ""}} for number in range(16)]
    with pytest.raises(Rejected, match=r"invalid_request.*has 33 different patterns; at most 32"):
        await run(env, *files)
    with pytest.raises(Rejected, match="source_missing"):
        await run(env, *files[1:], *files[1:])
