"""A worker that dies, and messages that come again: one archive under one key, and its answer at least once."""

import asyncio
from collections.abc import Callable

from faults.history import Exchange
from faults.http_streams import Answer
from faults.operations import is_receipt
from faults.rules import Action, CutError
from faults.scenario import MIB, Scenario
from faults.worker_process import WorkerProcess

OpenScenario = Callable[..., Scenario]


class Kill(Action):
    """The first worker dies at this call, which is not carried out."""

    def __init__(self, scenario: Scenario) -> None:
        self._stage = scenario

    async def before(self, exchange: Exchange) -> Answer | None:
        await asyncio.to_thread(self._stage.workers[0].kill)
        raise CutError(reset=True)


def died(scenario: Scenario, op: str) -> WorkerProcess:
    """A worker that was killed (SIGKILL) at its first call of *op*."""
    scenario.inject(Kill(scenario), op)
    worker = scenario.worker("first")
    assert worker.exit_code() < 0
    return worker


def keys(scenario: Scenario) -> list[str]:
    """Everything in the bucket of archives but receipts, which `finish` compares with the archives."""
    listed = scenario.direct.s3.list_objects_v2(Bucket=scenario.archives).get("Contents", [])
    return [each["Key"] for each in listed if not is_receipt(each["Key"])]


def test_job_of_a_worker_that_was_killed_is_done_by_the_next_one(open_scenario: OpenScenario) -> None:
    scenario = open_scenario(visibility=3)
    job = scenario.send_request(scenario.put_objects(6 * MIB, 6 * MIB))
    died(scenario, "UploadPart")
    assert keys(scenario) == []

    second = scenario.worker("second")
    scenario.wait_deleted()

    assert second.wait_for("job.received")["receive_count"] == 2
    assert second.wait_for("job.done")["reused"] is False
    assert len(scenario.answers(job)) == 1
    assert keys(scenario) == [job.key]
    assert not scenario.direct.s3.list_multipart_uploads(Bucket=scenario.archives).get("Uploads")
    scenario.finish()


def test_redelivery_after_success_is_answered_again_from_what_is_there_though_its_sources_are_gone(
    open_scenario: OpenScenario,
) -> None:
    scenario = open_scenario(visibility=3)
    sources = scenario.put_objects(1000, 2000)
    job = scenario.send_request(sources)
    died(scenario, "DeleteMessage")
    archive = scenario.archive(job)
    for source in sources:
        scenario.direct.s3.delete_object(Bucket=source.bucket, Key=source.key)

    second = scenario.worker("second")
    scenario.wait_deleted()

    assert second.wait_for("job.done")["reused"] is True
    first, again = scenario.answers(job)
    assert first == again  # its notification_id, too
    assert scenario.archive(job) == archive
    assert keys(scenario) == [job.key]
    scenario.finish()


def test_new_message_under_the_same_job_id_is_answered_from_the_same_archive_as_a_new_answer(
    open_scenario: OpenScenario,
) -> None:
    scenario = open_scenario()
    sources = scenario.put_objects(1000)
    scenario.worker()
    one = scenario.send_request(sources, job_id="order-4711")
    scenario.wait_deleted()

    two = scenario.send_request(sources, job_id="order-4711", archive_name="another name")
    scenario.wait_deleted()

    (first,), (second,) = scenario.answers(one), scenario.answers(two)
    assert first["archive"] == second["archive"]
    assert first["notification_id"] != second["notification_id"]
    assert [line["reused"] for line in scenario.workers[0].events("job.done")] == [False, True]
    assert keys(scenario) == [one.key]
    scenario.finish()


def test_other_request_under_the_same_job_id_is_rejected_and_the_first_archive_untouched(
    open_scenario: OpenScenario,
) -> None:
    scenario = open_scenario()
    one, two = scenario.put_objects(1000, 2000)
    scenario.worker()
    good = scenario.send_request([one], job_id="order-4711")
    scenario.wait_deleted()
    before = scenario.direct.s3.head_object(Bucket=scenario.archives, Key=good.key)

    bad = scenario.send([{"source": two.key}], None, job_id="order-4711")
    scenario.wait_deleted()

    assert scenario.failure(bad)["code"] == "job_conflict"
    after = scenario.direct.s3.head_object(Bucket=scenario.archives, Key=good.key)
    assert (before["ETag"], before["LastModified"]) == (after["ETag"], after["LastModified"])
    assert keys(scenario) == [good.key]
    scenario.finish()
