"""A worker that dies, and messages that come again: one archive under one key, and its answer at least once."""

import asyncio
from collections.abc import Callable

from faults.history import Exchange
from faults.rules import Action, CutError
from faults.stage import MIB, Stage
from faults.wire import Answer
from faults.worker import WorkerProcess

SetStage = Callable[..., Stage]


class Kill(Action):
    """The first worker dies at this call, which is not carried out."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def before(self, exchange: Exchange) -> Answer | None:
        await asyncio.to_thread(self._stage.workers[0].kill)
        raise CutError(reset=True)


def died(stage: Stage, op: str) -> WorkerProcess:
    """A worker that was killed (SIGKILL) at its first call of *op*."""
    stage.break_(Kill(stage), op)
    worker = stage.worker("first")
    assert worker.exit_code() < 0
    return worker


def keys(stage: Stage) -> list[str]:
    """Everything in the bucket of archives."""
    return [each["Key"] for each in stage.direct.s3.list_objects_v2(Bucket=stage.archives).get("Contents", [])]


def test_job_of_a_worker_that_was_killed_is_done_by_the_next_one(set_stage: SetStage) -> None:
    stage = set_stage(visibility=3)
    job = stage.ask(stage.photos(6 * MIB, 6 * MIB))
    died(stage, "UploadPart")
    assert keys(stage) == []

    second = stage.worker("second")
    stage.wait_deleted()

    assert second.wait_for("job.received")["receive_count"] == 2
    assert second.wait_for("job.done")["reused"] is False
    assert len(stage.answers(job)) == 1
    assert keys(stage) == [job.key]
    assert not stage.direct.s3.list_multipart_uploads(Bucket=stage.archives).get("Uploads")
    stage.finish()


def test_redelivery_after_success_is_answered_again_from_what_is_there_though_its_sources_are_gone(
    set_stage: SetStage,
) -> None:
    stage = set_stage(visibility=3)
    sources = stage.photos(1000, 2000)
    job = stage.ask(sources)
    died(stage, "DeleteMessage")
    archive = stage.archive(job)
    for source in sources:
        stage.direct.s3.delete_object(Bucket=source.bucket, Key=source.key)

    second = stage.worker("second")
    stage.wait_deleted()

    assert second.wait_for("job.done")["reused"] is True
    first, again = stage.answers(job)
    assert first == again  # its notification_id, too
    assert stage.archive(job) == archive
    assert keys(stage) == [job.key]
    stage.finish()


def test_new_message_under_the_same_job_id_is_answered_from_the_same_archive_as_a_new_answer(
    set_stage: SetStage,
) -> None:
    stage = set_stage()
    sources = stage.photos(1000)
    stage.worker()
    one = stage.ask(sources, job_id="order-4711")
    stage.wait_deleted()

    two = stage.ask(sources, job_id="order-4711", archive_name="another name")
    stage.wait_deleted()

    (first,), (second,) = stage.answers(one), stage.answers(two)
    assert first["archive"] == second["archive"]
    assert first["notification_id"] != second["notification_id"]
    assert [line["reused"] for line in stage.workers[0].events("job.done")] == [False, True]
    assert keys(stage) == [one.key]
    stage.finish()


def test_other_request_under_the_same_job_id_is_rejected_and_the_first_archive_untouched(set_stage: SetStage) -> None:
    stage = set_stage()
    one, two = stage.photos(1000, 2000)
    stage.worker()
    good = stage.ask([one], job_id="order-4711")
    stage.wait_deleted()
    before = stage.direct.s3.head_object(Bucket=stage.archives, Key=good.key)

    bad = stage.send([{"source": two.key}], None, job_id="order-4711")
    stage.wait_deleted()

    assert stage.failure(bad)["code"] == "job_conflict"
    after = stage.direct.s3.head_object(Bucket=stage.archives, Key=good.key)
    assert (before["ETag"], before["LastModified"]) == (after["ETag"], after["LastModified"])
    assert keys(stage) == [good.key]
    stage.finish()
