"""One message becomes one archive and one answer: the whole job, in memory."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from fakes import FakeHold, FakeNotifier
from worker.pipeline_env import RULES, PipelineEnv

from archiver.core.archive_rules import ArchiveRules
from archiver.core.locations import AllowList, Location
from archiver.errors import (
    ArchiveExists,
    LeaseLost,
    Rejected,
    SourceChanged,
    TransientError,
)
from archiver.ports import Attribute, JobSuccess, StoredArchive, Target
from stages.builders import random_bytes


async def test_a_request_becomes_an_archive_and_an_answer_that_says_all_of_it() -> None:
    env = PipelineEnv()
    env.put(a_jpg=b"a", b_jpg=b"b")

    done = await env.run("a.jpg", "b.jpg", job_id="j", metadata={"k": "v"}, archive_name="Holiday")

    blob = env.stage.s3.objects[env.at]
    assert env.archive() == {"a.jpg": b"a", "b.jpg": b"b"}
    assert blob.disposition == 'attachment; filename="Holiday.zip"'
    assert done == JobSuccess("succeeded", 2, len(blob.data), env.at.key, reused=False)
    answer = env.answer
    assert answer["metadata"] == {"k": "v"}
    assert answer["substitutions"] == {"archiver_URL": f"https://links.example/{env.at.key}"}
    assert answer["archive"] == {
        "bucket": "archives",
        "key": env.at.key,
        "size": len(blob.data),
        "files": 2,
        "etag": blob.etag.strip('"'),
        "crc32": f"{blob.crc32:08x}",
        "receipt": env.receipt_at.key,
    }
    assert env.answers is not None
    assert env.answers.sent[0].attributes == {"traceparent": Attribute("String", "00-1")}


@pytest.mark.parametrize("compression", ["store", "deflate"])
async def test_the_same_job_again_is_answered_from_what_is_there_even_without_its_sources(compression: str) -> None:
    """Same answer to the letter but for the ids of the message, with what was missing and renamed the first time."""
    env = PipelineEnv()
    env.put(a_jpg=b"a" * 3000)
    request = {
        "files": [
            {"source": "a.jpg"},
            {"source": "gone\t.jpg"},
            {"source": "a.jpg"},
            {"source": "b?", "name": "c:.jpg"},
        ],
        "on_missing": "skip",
        "compression": compression,
        "job_id": "j",
    }
    request["files"][3] = {"source": "b?", "name": "x?.jpg"}  # type: ignore[index]
    first = await env.run(**request)
    answered = env.answer
    env.stage.s3.objects = {at: blob for at, blob in env.stage.s3.objects.items() if at.bucket == "archives"}
    reads = len(env.stage.reader.reads)

    again = await env.run(**request)

    assert replace(again, reused=False) == first
    assert again.reused
    own = {"notification_id": 0, "message_id": 0}
    assert env.answer | own == answered | own
    assert answered["status"] == "partial"
    assert answered["missing"] == [
        {"source": "gone\t.jpg", "code": "source_missing"},
        {"source": "b?", "code": "source_missing"},
    ]
    assert [one["to"] for one in answered["renamed"]] == ["a (2).jpg"]
    assert all(at.bucket == "archives" for at, _, _ in env.stage.reader.reads[reads:])


async def test_a_message_with_a_problem_is_rejected_whatever_its_body_asks_for() -> None:
    """A source tells of a body that is not UTF-8, too long, or has headers that it must not have."""
    env = PipelineEnv()
    env.put(a_jpg=b"a")
    message = await env.message(files=[{"source": "a.jpg"}], job_id="j")

    with pytest.raises(Rejected) as rejected:
        await env.pipeline.run(replace(message, problem="the message is not UTF-8"), FakeHold())

    assert (rejected.value.code, rejected.value.message) == ("invalid_request", "the message is not UTF-8")
    assert env.answers is not None
    assert env.answers.sent == []
    assert {at.bucket for at in env.stage.s3.objects} == {"source"}


async def test_another_request_under_the_same_job_id_is_a_conflict() -> None:
    env = PipelineEnv()
    env.put(a_jpg=b"a", b_jpg=b"b")
    await env.run("a.jpg", job_id="j")

    with pytest.raises(Rejected, match="job_conflict"):
        await env.run("b.jpg", job_id="j")

    assert env.archive() == {"a.jpg": b"a"}


CHANGED = ArchiveRules("other", "archives", AllowList("archives"), compression="auto", max_files=1, max_bytes=1)


async def test_a_message_that_comes_back_after_a_deploy_is_answered_from_its_archive() -> None:
    """Its defaults are others now, bare keys lie elsewhere, and it would be too large."""
    env = PipelineEnv()
    env.put(a_jpg=b"aa", b_jpg=b"bb")
    message = await env.message(files=[{"source": "a.jpg"}, {"source": "b.jpg"}])
    first = await env.pipeline.run(message, FakeHold())

    env.rules = CHANGED
    again = await env.make().run(message, FakeHold())

    assert again == replace(first, reused=True)


async def test_the_same_request_in_another_message_is_answered_after_a_deploy_too() -> None:
    env = PipelineEnv()
    env.put(a_jpg=b"a", b_jpg=b"b")
    first = await env.run("a.jpg", "b.jpg", job_id="j")

    env.rules = CHANGED
    env.pipeline = env.make()

    assert await env.run("a.jpg", "b.jpg", job_id="j") == replace(first, reused=True)
    with pytest.raises(Rejected, match="job_conflict"):
        await env.run("a.jpg", "b.jpg", job_id="j", compression="store")  # said now, and not then


async def test_the_same_message_is_never_another_request_whatever_a_release_makes_of_its_body() -> None:
    env = PipelineEnv()
    env.put(a_jpg=b"a")
    message = await env.message(files=[{"source": "a.jpg"}], job_id="j")
    await env.pipeline.run(message, FakeHold())
    blob = env.stage.s3.objects[env.at]
    assert blob.metadata["archiver-message"] == message.id
    env.stage.s3.objects[env.at] = replace(blob, metadata={**blob.metadata, "archiver-request": "of an older release"})

    assert (await env.pipeline.run(message, FakeHold())).reused
    with pytest.raises(Rejected, match="job_conflict"):
        await env.pipeline.run(replace(message, id="another"), FakeHold())


@pytest.mark.parametrize(
    ("limit", "reason"), [({"max_files": 1}, "MAX_FILES is 1"), ({"max_bytes": 3}, "MAX_ARCHIVE_BYTES is 3")]
)
async def test_what_is_larger_than_the_settings_allow_is_rejected_before_anything_is_written(
    limit: dict[str, int], reason: str
) -> None:
    env = PipelineEnv(rules=replace(RULES, **limit))  # type: ignore[arg-type]
    env.put(a_jpg=b"aa", b_jpg=b"bb")

    with pytest.raises(Rejected, match=f"too_large.*{reason}"):
        await env.run("a.jpg", "b.jpg")

    assert env.stage.store.events == []


async def test_missing_objects_reject_the_job_and_are_all_listed_before_anything_is_written() -> None:
    env = PipelineEnv()
    env.put(a_jpg=b"a", b_jpg=b"b")
    env.stage.s3.make_unavailable(Location("source", "b.jpg"), "source_archived")

    with pytest.raises(Rejected) as caught:
        await env.run("no1", "a.jpg", "b.jpg", "no2")

    assert caught.value.code == "source_missing"
    assert [(one.source, one.code) for one in caught.value.sources] == [
        ("no1", "source_missing"),
        ("b.jpg", "source_archived"),
        ("no2", "source_missing"),
    ]
    assert env.stage.store.events == []


async def test_an_object_that_changes_under_a_read_is_planned_again() -> None:
    """The archive holds the new bytes alone, never a mix."""
    env = PipelineEnv()
    env.put(a_jpg=random_bytes(300_000, 1))
    changes = iter([random_bytes(300_000, 2)])

    def change(location: Location, offset: int) -> None:
        if offset and (data := next(changes, None)):
            env.stage.s3.put("source", "a.jpg", data)
            raise SourceChanged("412")

    env.stage.reader.on_read = change
    await env.run("a.jpg")

    assert env.archive() == {"a.jpg": random_bytes(300_000, 2)}


async def test_a_worker_that_was_overtaken_answers_from_the_others_archive() -> None:
    """The same message delivered twice: one archive, two answers, no upload left."""
    env = PipelineEnv()
    env.put(a_jpg=b"a")
    message = await env.message(files=[{"source": "a.jpg"}], job_id="j")
    put = env.stage.store.put

    async def overtaken(*args: Any) -> StoredArchive:
        env.stage.store.put = put  # type: ignore[method-assign]
        await env.pipeline.run(message, FakeHold())
        return await put(*args)

    env.stage.store.put = overtaken  # type: ignore[assignment,method-assign]
    done = await env.pipeline.run(message, FakeHold())

    assert done.reused
    assert env.answers is not None
    assert len({note.body for note in env.answers.sent}) == 1
    assert len(env.answers.sent) == 2
    assert env.stage.store.events == ["put"]


async def test_a_taken_key_that_cannot_be_seen_is_temporary() -> None:
    """A role that may not read the destination; saying `source_changed` would be a lie."""
    env = PipelineEnv()
    env.put(a_jpg=b"a")
    env.stage.store.faults.plan("put", ArchiveExists("412"), times=0)

    with pytest.raises(TransientError, match="HEAD does not find"):
        await env.run("a.jpg")


async def test_without_an_answer_queue_nothing_is_sent_and_the_job_is_done() -> None:
    env = PipelineEnv(answers=None)
    env.put(a_jpg=b"a")

    assert (await env.run("a.jpg")).files == 1


async def test_an_answer_that_fails_is_sent_again_and_nothing_is_built_again() -> None:
    env = PipelineEnv()
    env.put(a_jpg=b"a")
    assert env.answers is not None
    env.answers.faults.plan("send", TransientError("500"), times=2)

    await env.run("a.jpg")

    assert len(env.answers.sent) == 1
    assert env.stage.store.events == ["put"]


async def test_no_answer_is_sent_once_the_lease_is_lost() -> None:
    env = PipelineEnv()
    env.put(a_jpg=b"a")
    message, checks = await env.message(files=[{"source": "a.jpg"}]), 0

    def confirm() -> None:
        nonlocal checks
        checks += 1
        if checks > 2:  # after those before the receipt and before the archive
            raise LeaseLost("late")

    with pytest.raises(LeaseLost):
        await env.pipeline.run(message, FakeHold(confirm))

    assert env.answers is not None
    assert env.archive() == {"a.jpg": b"a"}
    assert env.answers.sent == []


async def test_old_uploads_of_the_key_are_swept_when_the_job_is_done() -> None:
    """A killed worker left one behind: the archive is there, and no one else has business at its key."""
    env = PipelineEnv()
    env.put(a_jpg=b"a")
    await env.run("a.jpg", job_id="j")
    await env.stage.store.create_upload(Target(env.at.key, ""))

    await env.run("a.jpg", job_id="j")

    assert env.stage.store.pending == {}


async def test_a_rejected_message_leaves_the_running_upload_of_another_of_its_job_alone() -> None:
    """A producer's second message with a typo in it is rejected while the first one's archive is being built."""
    env = PipelineEnv()
    message = await env.message(files=[], job_id="j")
    key = env.pipeline._identity(message).key
    await env.stage.store.create_upload(Target(key, ""))

    await env.pipeline.send_failure(message, Rejected("invalid_request", "empty"), FakeHold())
    assert len(env.stage.store.pending) == 1

    (pending,) = env.stage.store.pending.values()
    pending.created_at -= timedelta(hours=14)  # no lease is that old
    await env.pipeline.send_failure(message, Rejected("invalid_request", "empty"), FakeHold())
    assert env.stage.store.pending == {}


async def test_a_sweep_that_fails_does_not_fail_the_job() -> None:
    env = PipelineEnv()
    env.put(a_jpg=b"a")
    env.stage.store.faults.plan("sweep", TransientError("500"))

    await env.run("a.jpg")


async def test_a_rejection_reaches_the_dead_letter_queue_and_the_failure_queue() -> None:
    """Tried again where that fails, but not once the lease is lost."""
    env = PipelineEnv()
    message = await env.message(files=[], job_id="j", metadata={"k": 1})
    rejected = Rejected("invalid_request", "empty")
    env.queue.faults.plan("reject", TransientError("500"), times=2)

    await env.pipeline.reject(message, rejected, FakeHold())
    await env.pipeline.send_failure(message, rejected, FakeHold())

    assert env.dead.messages[0].body == message.body
    assert env.dead.messages[0].attributes["ErrorCode"].value == "invalid_request"
    answer = json.loads(env.failures.sent[0].body)
    assert answer["status"] == "failed"
    assert answer["metadata"] == {"k": 1}
    assert answer["error"]["code"] == "invalid_request"

    def lost() -> None:
        raise LeaseLost("late")

    for step in (env.pipeline.reject, env.pipeline.send_failure):
        with pytest.raises(LeaseLost):
            await step(message, rejected, FakeHold(lost))
    assert len(env.dead.messages) == len(env.failures.sent) == 1


async def test_a_receipt_that_vanishes_while_it_is_read_is_temporary() -> None:
    env = PipelineEnv()
    env.put(a_jpg=b"a")
    await env.run("a.jpg", "gone", on_missing="skip", job_id="j")
    env.stage.reader.faults.plan("read", SourceChanged("404"))

    with pytest.raises(TransientError):
        await env.run("a.jpg", "gone", on_missing="skip", job_id="j")


async def test_the_job_id_is_known_before_the_request_is_checked() -> None:
    """Log lines of a refused request carry it."""
    env = PipelineEnv()

    assert env.pipeline.read_job_id(await env.message(files=[], job_id="j")) == "j"


async def test_attributes_that_leave_no_room_for_the_answer_are_left_out() -> None:
    """The answer is what was asked for; an attribute of a megabyte is not worth it."""
    env = PipelineEnv(answers=FakeNotifier(limit=10_000))
    env.put(a_jpg=b"a")
    message = await env.message(files=[{"source": "a.jpg"}])
    message = replace(message, attributes={"big": Attribute("String", "x" * 9_000)})

    await env.pipeline.run(message, FakeHold())

    assert env.answers is not None
    assert env.answers.sent[0].attributes == {}
    assert env.answer["status"] == "succeeded"


async def test_an_upload_that_was_swept_away_is_begun_anew() -> None:
    """By another message of the same job that was rejected: no reason to lose this one."""
    env = PipelineEnv()
    env.put(**{f"{name}_jpg": random_bytes(4_000_000, ord(name)) for name in "abc"})
    env.stage.store.faults.plan("part", ArchiveExists("NoSuchUpload"))

    done = await env.run("a.jpg", "b.jpg", "c.jpg")

    assert env.stage.store.faults.calls["begin"] == 2
    assert env.stage.store.pending == {}
    assert done.files == 3


async def test_whoever_watches_is_told_of_every_step_and_the_answer_last() -> None:
    env = PipelineEnv(watcher=FakeNotifier())
    env.put(a_jpg=b"a")

    await env.run("a.jpg", job_id="j")

    assert env.watcher is not None
    told = [json.loads(note.body) for note in env.watcher.sent]
    assert [event["status"] for event in told] == ["accepted", "succeeded"]
    assert told[-1] == env.answer
    assert env.answers is not None
    assert len(env.answers.sent) == 1  # who does not watch sees nothing new


async def test_a_request_that_wants_progress_is_told_on_the_answer_queue() -> None:
    env = PipelineEnv()
    env.put(a_jpg=b"a")

    await env.run("a.jpg", job_id="j", progress=True)

    assert env.answers is not None
    assert [json.loads(note.body)["status"] for note in env.answers.sent] == ["accepted", "succeeded"]


async def test_whoever_watches_is_told_of_a_rejection_too_and_need_not_listen() -> None:
    env = PipelineEnv(watcher=FakeNotifier())
    message = await env.message(files=[{"source": "gone.jpg"}], job_id="j")
    rejection = Rejected("source_missing", "gone")

    await env.pipeline.send_failure(message, rejection, FakeHold())
    assert env.watcher is not None
    assert [json.loads(note.body)["status"] for note in env.watcher.sent] == ["failed"]
    env.watcher.faults.plan("send", TransientError("500"), times=0)
    await env.pipeline.send_failure(message, rejection, FakeHold())

    assert len(env.failures.sent) == 2
    assert len(env.watcher.sent) == 1


async def test_a_lease_that_is_lost_before_the_watcher_hears_the_answer_ends_the_job() -> None:
    """Nothing more is written: whoever has the message now tells the watcher."""
    env = PipelineEnv(watcher=FakeNotifier())
    env.put(a_jpg=b"a")
    message = await env.message(files=[{"source": "a.jpg"}])

    def confirm() -> None:
        if env.answers is not None and env.answers.sent:
            raise LeaseLost("late")

    with pytest.raises(LeaseLost):
        await env.pipeline.run(message, FakeHold(confirm))

    assert env.watcher is not None
    assert "succeeded" not in [json.loads(note.body)["status"] for note in env.watcher.sent]
