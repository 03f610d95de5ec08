"""One message becomes one archive and one answer: the whole job, in memory."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from fakes import MemoryNotifier
from worker.fake_service import RULES, Scene

from archiver.core.draft import Rules
from archiver.core.locations import AllowList, Location
from archiver.errors import (
    ArchiveExists,
    LeaseLost,
    Rejected,
    SourceChanged,
    Temporary,
)
from archiver.ports import Attribute, Done, StoredArchive, Target
from archiver.stages import retry, upload
from stages.builders import noise


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waits between tries, and no more of them than have to be."""
    monkeypatch.setattr(retry, "CAP", 0.0)
    monkeypatch.setattr(retry, "SECONDS", 0.0)
    monkeypatch.setattr(upload, "UPLOAD_SECONDS", 0.0)
    monkeypatch.setattr(upload, "PART_SECONDS", 0.0)


async def test_a_request_becomes_an_archive_and_an_answer_that_says_all_of_it() -> None:
    scene = Scene()
    scene.put(a_jpg=b"a", b_jpg=b"b")

    done = await scene.run("a.jpg", "b.jpg", job_id="j", metadata={"k": "v"}, archive_name="Holiday")

    blob = scene.stage.s3.blobs[scene.at]
    assert scene.archive() == {"a.jpg": b"a", "b.jpg": b"b"}
    assert blob.disposition == 'attachment; filename="Holiday.zip"'
    assert done == Done("succeeded", 2, len(blob.data), scene.at.key, reused=False)
    answer = scene.answer
    assert answer["metadata"] == {"k": "v"}
    assert answer["substitutions"] == {"archiver_URL": f"https://links.example/{scene.at.key}"}
    assert answer["archive"] == {
        "bucket": "archives",
        "key": scene.at.key,
        "size": len(blob.data),
        "files": 2,
        "etag": blob.etag.strip('"'),
        "crc32": f"{blob.crc32:08x}",
    }
    assert scene.answers is not None
    assert scene.answers.sent[0].attributes == {"traceparent": Attribute("String", "00-1")}


@pytest.mark.parametrize("compression", ["store", "deflate"])
async def test_the_same_job_again_is_answered_from_what_is_there_even_without_its_sources(compression: str) -> None:
    """Same answer to the letter but for the ids of the message, with what was missing and renamed the first time."""
    scene = Scene()
    scene.put(a_jpg=b"a" * 3000)
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
    first = await scene.run(**request)
    answered = scene.answer
    scene.stage.s3.blobs = {at: blob for at, blob in scene.stage.s3.blobs.items() if at.bucket == "archives"}
    reads = len(scene.stage.reader.reads)

    again = await scene.run(**request)

    assert replace(again, reused=False) == first
    assert again.reused
    own = {"notification_id": 0, "message_id": 0}
    assert scene.answer | own == answered | own
    assert answered["status"] == "partial"
    assert answered["missing"] == [
        {"source": "gone\t.jpg", "code": "source_missing"},
        {"source": "b?", "code": "source_missing"},
    ]
    assert [one["to"] for one in answered["renamed"]] == ["a (2).jpg"]
    assert all(at.bucket == "archives" for at, _, _ in scene.stage.reader.reads[reads:])


async def test_another_request_under_the_same_job_id_is_a_conflict() -> None:
    scene = Scene()
    scene.put(a_jpg=b"a", b_jpg=b"b")
    await scene.run("a.jpg", job_id="j")

    with pytest.raises(Rejected, match="job_conflict"):
        await scene.run("b.jpg", job_id="j")

    assert scene.archive() == {"a.jpg": b"a"}


CHANGED = Rules("other", "archives", AllowList("archives"), compression="auto", max_files=1, max_bytes=1)


async def test_a_message_that_comes_back_after_a_deploy_is_answered_from_its_archive() -> None:
    """Its defaults are others now, bare keys lie elsewhere, and it would be too large."""
    scene = Scene()
    scene.put(a_jpg=b"aa", b_jpg=b"bb")
    message = await scene.message(files=[{"source": "a.jpg"}, {"source": "b.jpg"}])
    first = await scene.pipeline.run(message, lambda: None)

    scene.rules = CHANGED
    again = await scene.make().run(message, lambda: None)

    assert again == replace(first, reused=True)


async def test_the_same_request_in_another_message_is_answered_after_a_deploy_too() -> None:
    scene = Scene()
    scene.put(a_jpg=b"a", b_jpg=b"b")
    first = await scene.run("a.jpg", "b.jpg", job_id="j")

    scene.rules = CHANGED
    scene.pipeline = scene.make()

    assert await scene.run("a.jpg", "b.jpg", job_id="j") == replace(first, reused=True)
    with pytest.raises(Rejected, match="job_conflict"):
        await scene.run("a.jpg", "b.jpg", job_id="j", compression="store")  # said now, and not then


async def test_the_same_message_is_never_another_request_whatever_a_release_makes_of_its_body() -> None:
    scene = Scene()
    scene.put(a_jpg=b"a")
    message = await scene.message(files=[{"source": "a.jpg"}], job_id="j")
    await scene.pipeline.run(message, lambda: None)
    blob = scene.stage.s3.blobs[scene.at]
    assert blob.metadata["archiver-message"] == message.id
    scene.stage.s3.blobs[scene.at] = replace(
        blob, metadata={**blob.metadata, "archiver-request": "of an older release"}
    )

    assert (await scene.pipeline.run(message, lambda: None)).reused
    with pytest.raises(Rejected, match="job_conflict"):
        await scene.pipeline.run(replace(message, id="another"), lambda: None)


@pytest.mark.parametrize(
    ("limit", "reason"), [({"max_files": 1}, "MAX_FILES is 1"), ({"max_bytes": 3}, "MAX_ARCHIVE_BYTES is 3")]
)
async def test_what_is_larger_than_the_settings_allow_is_rejected_before_anything_is_written(
    limit: dict[str, int], reason: str
) -> None:
    scene = Scene(rules=replace(RULES, **limit))  # type: ignore[arg-type]
    scene.put(a_jpg=b"aa", b_jpg=b"bb")

    with pytest.raises(Rejected, match=f"too_large.*{reason}"):
        await scene.run("a.jpg", "b.jpg")

    assert scene.stage.store.events == []
    assert scene.stage.reader.reads == []


async def test_missing_objects_reject_the_job_and_are_all_listed_before_anything_is_written() -> None:
    scene = Scene()
    scene.put(a_jpg=b"a", b_jpg=b"b")
    scene.stage.s3.spoil(Location("source", "b.jpg"), "source_archived")

    with pytest.raises(Rejected) as caught:
        await scene.run("no1", "a.jpg", "b.jpg", "no2")

    assert caught.value.code == "source_missing"
    assert [(one.source, one.code) for one in caught.value.sources] == [
        ("no1", "source_missing"),
        ("b.jpg", "source_archived"),
        ("no2", "source_missing"),
    ]
    assert scene.stage.store.events == []
    assert scene.stage.reader.reads == []


async def test_an_object_that_changes_under_a_read_is_planned_again() -> None:
    """The archive holds the new bytes alone, never a mix."""
    scene = Scene()
    scene.put(a_jpg=noise(300_000, 1))
    changes = iter([noise(300_000, 2)])

    def change(location: Location, offset: int) -> None:
        if offset and (data := next(changes, None)):
            scene.stage.s3.put("source", "a.jpg", data)
            raise SourceChanged("412")

    scene.stage.reader.on_read = change
    await scene.run("a.jpg")

    assert scene.archive() == {"a.jpg": noise(300_000, 2)}


async def test_a_worker_that_was_overtaken_answers_from_the_others_archive() -> None:
    """The same message delivered twice: one archive, two answers, no upload left."""
    scene = Scene()
    scene.put(a_jpg=b"a")
    message = await scene.message(files=[{"source": "a.jpg"}], job_id="j")
    put = scene.stage.store.put

    async def overtaken(*args: Any) -> StoredArchive:
        scene.stage.store.put = put  # type: ignore[method-assign]
        await scene.pipeline.run(message, lambda: None)
        return await put(*args)

    scene.stage.store.put = overtaken  # type: ignore[assignment,method-assign]
    done = await scene.pipeline.run(message, lambda: None)

    assert done.reused
    assert scene.answers is not None
    assert len({note.body for note in scene.answers.sent}) == 1
    assert len(scene.answers.sent) == 2
    assert scene.stage.store.events == ["put"]


async def test_a_taken_key_that_cannot_be_seen_is_temporary() -> None:
    """A role that may not read the destination; saying `source_changed` would be a lie."""
    scene = Scene()
    scene.put(a_jpg=b"a")
    scene.stage.store.faults.plan("put", ArchiveExists("412"), times=0)

    with pytest.raises(Temporary, match="can't be seen"):
        await scene.run("a.jpg")


async def test_without_an_answer_queue_nothing_is_sent_and_the_job_is_done() -> None:
    scene = Scene(answers=None)
    scene.put(a_jpg=b"a")

    assert (await scene.run("a.jpg")).files == 1


async def test_an_answer_that_fails_is_sent_again_and_nothing_is_built_again() -> None:
    scene = Scene()
    scene.put(a_jpg=b"a")
    assert scene.answers is not None
    scene.answers.faults.plan("send", Temporary("500"), times=2)

    await scene.run("a.jpg")

    assert len(scene.answers.sent) == 1
    assert scene.stage.store.events == ["put"]


async def test_no_answer_is_sent_once_the_lease_is_lost() -> None:
    scene = Scene()
    scene.put(a_jpg=b"a")
    message, checks = await scene.message(files=[{"source": "a.jpg"}]), 0

    def confirm() -> None:
        nonlocal checks
        checks += 1
        if checks > 1:
            raise LeaseLost("late")

    with pytest.raises(LeaseLost):
        await scene.pipeline.run(message, confirm)

    assert scene.answers is not None
    assert scene.answers.sent == []


async def test_old_uploads_of_the_key_are_swept_when_the_job_is_done() -> None:
    """A killed worker left one behind: the archive is there, and no one else has business at its key."""
    scene = Scene()
    scene.put(a_jpg=b"a")
    await scene.run("a.jpg", job_id="j")
    await scene.stage.store.begin(Target(scene.at.key, ""))

    await scene.run("a.jpg", job_id="j")

    assert scene.stage.store.pending == {}


async def test_a_rejected_message_leaves_the_running_upload_of_another_of_its_job_alone() -> None:
    """A producer's second message with a typo in it is rejected while the first one's archive is being built."""
    scene = Scene()
    message = await scene.message(files=[], job_id="j")
    key = scene.pipeline._identity(message).key
    await scene.stage.store.begin(Target(key, ""))

    await scene.pipeline.answer_rejection(message, Rejected("invalid_request", "empty"), lambda: None)
    assert len(scene.stage.store.pending) == 1

    (pending,) = scene.stage.store.pending.values()
    pending.begun -= timedelta(hours=14)  # no lease is that old
    await scene.pipeline.answer_rejection(message, Rejected("invalid_request", "empty"), lambda: None)
    assert scene.stage.store.pending == {}


async def test_a_sweep_that_fails_does_not_fail_the_job() -> None:
    scene = Scene()
    scene.put(a_jpg=b"a")
    scene.stage.store.faults.plan("sweep", Temporary("500"))

    await scene.run("a.jpg")


async def test_a_rejection_reaches_the_dead_letter_queue_and_the_failure_queue() -> None:
    """Tried again where that fails, but not once the lease is lost."""
    scene = Scene()
    message = await scene.message(files=[], job_id="j", metadata={"k": 1})
    rejected = Rejected("invalid_request", "empty")
    scene.queue.faults.plan("reject", Temporary("500"), times=2)

    await scene.pipeline.reject(message, rejected, lambda: None)
    await scene.pipeline.answer_rejection(message, rejected, lambda: None)

    assert scene.dead.messages[0].body == message.body
    assert scene.dead.messages[0].attributes["ErrorCode"].value == "invalid_request"
    answer = json.loads(scene.failures.sent[0].body)
    assert answer["status"] == "failed"
    assert answer["metadata"] == {"k": 1}
    assert answer["error"]["code"] == "invalid_request"

    def lost() -> None:
        raise LeaseLost("late")

    for step in (scene.pipeline.reject, scene.pipeline.answer_rejection):
        with pytest.raises(LeaseLost):
            await step(message, rejected, lost)
    assert len(scene.dead.messages) == len(scene.failures.sent) == 1


@pytest.mark.parametrize("damage", [b"not a zip at all", b""])
async def test_an_archive_that_was_tampered_with_is_told_as_a_defect(damage: bytes) -> None:
    scene = Scene()
    scene.put(a_jpg=b"a")
    request: dict[str, Any] = {"on_missing": "skip", "compression": "deflate", "job_id": "j"}
    await scene.run("a.jpg", "gone", **request)
    scene.stage.s3.blobs[scene.at] = replace(scene.stage.s3.blobs[scene.at], data=damage)

    with pytest.raises(Rejected, match="internal"):
        await scene.run("a.jpg", "gone", **request)


async def test_an_archive_that_vanishes_while_it_is_read_back_is_temporary() -> None:
    scene = Scene()
    scene.put(a_jpg=b"a")
    await scene.run("a.jpg", "gone", on_missing="skip", job_id="j")
    scene.stage.reader.faults.plan("read", SourceChanged("404"))

    with pytest.raises(Temporary):
        await scene.run("a.jpg", "gone", on_missing="skip", job_id="j")


async def test_the_job_id_is_known_before_the_request_is_checked() -> None:
    """Log lines of a refused request carry it."""
    scene = Scene()

    assert scene.pipeline.identify(await scene.message(files=[], job_id="j")) == "j"


async def test_attributes_that_leave_no_room_for_the_answer_are_left_out() -> None:
    """The answer is what was asked for; an attribute of a megabyte is not worth it."""
    scene = Scene(answers=MemoryNotifier(limit=10_000))
    scene.put(a_jpg=b"a")
    message = await scene.message(files=[{"source": "a.jpg"}])
    message = replace(message, attributes={"big": Attribute("String", "x" * 9_000)})

    await scene.pipeline.run(message, lambda: None)

    assert scene.answers is not None
    assert scene.answers.sent[0].attributes == {}
    assert scene.answer["status"] == "succeeded"


async def test_an_upload_that_was_swept_away_is_begun_anew() -> None:
    """By another message of the same job that was rejected: no reason to lose this one."""
    scene = Scene()
    scene.put(**{f"{name}_jpg": noise(4_000_000, ord(name)) for name in "abc"})
    scene.stage.store.faults.plan("part", ArchiveExists("NoSuchUpload"))

    done = await scene.run("a.jpg", "b.jpg", "c.jpg")

    assert scene.stage.store.faults.calls["begin"] == 2
    assert scene.stage.store.pending == {}
    assert done.files == 3


async def test_whoever_watches_is_told_of_every_step_and_the_answer_last() -> None:
    scene = Scene(watcher=MemoryNotifier())
    scene.put(a_jpg=b"a")

    await scene.run("a.jpg", job_id="j")

    assert scene.watcher is not None
    told = [json.loads(note.body) for note in scene.watcher.sent]
    assert [event["status"] for event in told] == ["accepted", "succeeded"]
    assert told[-1] == scene.answer
    assert scene.answers is not None
    assert len(scene.answers.sent) == 1  # who does not watch sees nothing new


async def test_a_request_that_wants_progress_is_told_on_the_answer_queue() -> None:
    scene = Scene()
    scene.put(a_jpg=b"a")

    await scene.run("a.jpg", job_id="j", progress=True)

    assert scene.answers is not None
    assert [json.loads(note.body)["status"] for note in scene.answers.sent] == ["accepted", "succeeded"]


async def test_whoever_watches_is_told_of_a_rejection_too_and_need_not_listen() -> None:
    scene = Scene(watcher=MemoryNotifier())
    message = await scene.message(files=[{"source": "gone.jpg"}], job_id="j")
    rejection = Rejected("source_missing", "gone")

    await scene.pipeline.answer_rejection(message, rejection, lambda: None)
    assert scene.watcher is not None
    assert [json.loads(note.body)["status"] for note in scene.watcher.sent] == ["failed"]
    scene.watcher.faults.plan("send", Temporary("500"), times=0)
    await scene.pipeline.answer_rejection(message, rejection, lambda: None)

    assert len(scene.failures.sent) == 2
    assert len(scene.watcher.sent) == 1


async def test_a_lease_that_is_lost_before_the_watcher_hears_the_answer_ends_the_job() -> None:
    """Nothing more is written: whoever has the message now tells the watcher."""
    scene = Scene(watcher=MemoryNotifier())
    scene.put(a_jpg=b"a")
    message = await scene.message(files=[{"source": "a.jpg"}])

    def confirm() -> None:
        if scene.answers is not None and scene.answers.sent:
            raise LeaseLost("late")

    with pytest.raises(LeaseLost):
        await scene.pipeline.run(message, confirm)

    assert scene.watcher is not None
    assert "succeeded" not in [json.loads(note.body)["status"] for note in scene.watcher.sent]
