"""Group A: receiving, lease renewal and release of messages; losing the lease cancels the job."""

import pytest

from .observations import executed
from .rules import Delay, ResetBefore, Rule, SideEffect, Status
from .scenario import Scenario
from .worker_process import wait_until

MIB = 1024 * 1024


def test_failed_receives_are_retried_and_the_worker_continues(scenario: Scenario) -> None:
    """A1: three failed receives, then a successful one."""
    scenario.inject(Status(500, "InternalError"), "ReceiveMessage", times=2)
    scenario.inject(ResetBefore(), "ReceiveMessage", nth=3)
    job = scenario.send_request(scenario.put_objects(1000))
    worker = scenario.worker()
    scenario.wait_deleted(job)
    assert [call.status for call in scenario.history.select("ReceiveMessage")[:4]] == [500, 500, None, 200]
    assert len(list(worker.events("worker.receive_failed"))) == 3
    scenario.finish()


def test_a_message_received_during_shutdown_is_released_at_once(scenario: Scenario) -> None:
    """A3: a cancelled long poll would leave its message invisible for the whole visibility timeout."""
    worker = scenario.worker(SQS_WAIT_SECONDS="5")
    scenario.wait_call("ReceiveMessage")
    worker.terminate()
    worker.wait_for("worker.stopping")
    job = scenario.send_request(scenario.put_objects(1000))
    assert worker.exit_code() == 0
    (release,) = scenario.history.select("ChangeMessageVisibility")
    assert (release.facts["message"], release.facts["visibility"]) == (job.message, 0)
    assert [m["MessageId"] for m in scenario.receive()] == [job.message]
    assert scenario.history.select("HeadObject", "GetObject") == []
    scenario.finish()


@pytest.mark.scenario(visibility=4)
def test_a_job_whose_lease_cannot_be_renewed_is_cancelled_before_the_lease_expires(scenario: Scenario) -> None:
    """A4: the upload is aborted; no archive and no answer. The job completes on the next delivery."""
    scenario.inject(Status(500, "InternalError"), "ChangeMessageVisibility", times=None)
    scenario.inject(Delay(before_it=8), "UploadPart", part=2)
    job = scenario.send_request(scenario.put_objects(6 * MIB))
    worker = scenario.worker()
    worker.wait_for("job.lease_lost")
    first = scenario.wait_call("CreateMultipartUpload")
    wait_until(lambda: scenario.history.select("AbortMultipartUpload"), "the abort")
    assert scenario.history.select("AbortMultipartUpload")[0].call.upload == first.facts["upload"]
    assert scenario.history.select("CompleteMultipartUpload", "SendMessage", "DeleteMessage") == []
    scenario.clear_faults()
    scenario.wait_deleted(job)
    scenario.finish()


@pytest.mark.scenario(visibility=12)  # less, and the pauses between the SDK's three attempts outlast the lease
def test_one_failed_lease_renewal_does_not_cancel_the_job(scenario: Scenario) -> None:
    """A5: every attempt of one renewal fails; the next renewal succeeds."""
    scenario.inject(Status(500, "InternalError"), "ChangeMessageVisibility", times=3)
    scenario.inject(SideEffect(before_it=lambda: scenario.wait_call("ChangeMessageVisibility", 5)), "GetObject")
    job = scenario.send_request(scenario.put_objects(1000))
    worker = scenario.worker()
    scenario.wait_deleted(job)
    assert len(list(worker.events("job.received"))) == 1
    assert len(scenario.view.writes(job.key)) == 1
    scenario.finish()


@pytest.mark.scenario(visibility=3, max_receives=10)
@pytest.mark.parametrize(
    "op",
    [
        *(pytest.param(op, marks=pytest.mark.slow) for op in ("GetObject", "UploadPart", "CompleteMultipartUpload")),
        "SendMessage",
    ],
)
def test_a_worker_suspended_past_its_lease_writes_sends_and_deletes_nothing_after_resuming(
    scenario: Scenario, op: str
) -> None:
    """A6: the second worker completes the job: one object, one notification id."""
    job = scenario.send_request(scenario.put_objects(6 * MIB))
    first = scenario.worker("first")
    scenario.proxy.add(Rule(SideEffect(before_it=first.stop), op=op, client="first"))
    wait_until(lambda: scenario.history.select(op), f"a call of {op}")
    scenario.worker("second")
    scenario.wait_deleted(job)
    seen = len(scenario.history.select(client="first"))
    first.resume()
    first.wait_for("job.lease_lost")
    later = {call.op for call in scenario.history.select(client="first")[seen:]}
    assert later.isdisjoint({"PutObject", "CompleteMultipartUpload", "SendMessage", "DeleteMessage"})
    scenario.finish()


@pytest.mark.slow
@pytest.mark.scenario(visibility=3, max_receives=10)
def test_a_worker_suspended_during_a_rejection_sends_nothing_after_resuming(scenario: Scenario) -> None:
    """A6: suspended between dead letter and failure answer. The second worker sends both."""
    job = scenario.send_text("no JSON at all", None)
    first = scenario.worker("first")
    scenario.proxy.add(Rule(SideEffect(before_it=first.stop), op="SendMessage", client="first"))
    wait_until(lambda: scenario.history.select("SendMessage"), "the dead letter")
    scenario.worker("second")
    scenario.wait_deleted(job)
    first.resume()
    first.wait_for("job.lease_lost")
    scenario.finish()


@pytest.mark.scenario(visibility=6)
def test_a_lease_renewal_refused_for_a_stale_receipt_cancels_the_job_at_once(scenario: Scenario) -> None:
    """A7: another consumer has received the message, so the renewal is not retried."""
    scenario.inject(Delay(before_it=5), "GetObject", times=2)  # a slow object is asked for once more
    job = scenario.send_request(scenario.put_objects(1000))
    worker = scenario.worker()
    scenario.wait_call("HeadObject")
    scenario.make_visible(job)
    (redelivered,) = scenario.receive(visibility=20)
    assert redelivered["MessageId"] == job.message
    worker.wait_for("job.lease_lost")
    assert [call.status for call in scenario.history.select("ChangeMessageVisibility")] == [400]
    scenario.own.sqs.change_message_visibility(
        QueueUrl=scenario.url("in"), ReceiptHandle=redelivered["ReceiptHandle"], VisibilityTimeout=0
    )
    scenario.wait_deleted(job)
    scenario.finish()


@pytest.mark.scenario(visibility=6)
def test_a_pending_lease_renewal_is_awaited_before_the_message_is_deleted(scenario: Scenario) -> None:
    """A8: a later renewal could make a finished message reappear, or override the delay of a released one."""
    scenario.inject(Delay(before_it=0.7), "ChangeMessageVisibility")
    renewed = SideEffect(before_it=lambda: scenario.wait_call("ChangeMessageVisibility"))
    scenario.inject(renewed, "GetObject", times=2)  # a slow object is asked for once more
    job = scenario.send_request(scenario.put_objects(1000))
    scenario.worker()
    scenario.wait_deleted(job)
    (renewal,) = scenario.history.select("ChangeMessageVisibility")
    (delete,) = scenario.view.deletes(job)
    assert renewal.ended is not None and renewal.ok
    assert renewal.ended <= delete.began
    scenario.finish()


@pytest.mark.scenario(visibility=4)
def test_a_visibility_timeout_of_four_seconds_is_renewed_in_time(scenario: Scenario) -> None:
    """A9: the renewal interval is a fraction of the queue's visibility timeout."""
    scenario.inject(SideEffect(before_it=lambda: scenario.wait_call("ChangeMessageVisibility", 3)), "GetObject")
    job = scenario.send_request(scenario.put_objects(1000))
    worker = scenario.worker()
    scenario.wait_deleted(job)
    assert len(list(worker.events("job.received"))) == 1
    scenario.finish()


def test_a_message_delivered_to_two_workers_produces_one_archive_and_one_notification_id(scenario: Scenario) -> None:
    """A11: both workers build the archive. The second finds the first one's archive and sends the same answer."""
    wait_for_both = SideEffect(
        before_it=lambda: wait_until(lambda: len(scenario.view.writes(job.key)) == 2, "the second write")
    )
    scenario.inject(wait_for_both, "PutObject")
    job = scenario.send_request(scenario.put_objects(1000))
    scenario.worker("first", MAX_CONCURRENT_JOBS="1")
    wait_until(lambda: scenario.history.select("PutObject"), "the first write")
    scenario.make_visible(job)
    scenario.worker("second")
    wait_until(lambda: len(scenario.answers(job)) == 2, "both answers")
    scenario.wait_deleted(job)
    assert len(executed(scenario.view.writes(job.key))) == 1
    one, other = scenario.answers(job)
    assert one == other
    scenario.finish()


def test_a_finished_job_is_answered_again_without_reading_its_sources(scenario: Scenario) -> None:
    """A12: even if the sources were deleted since."""
    (source,) = scenario.put_objects(1000)
    first = scenario.send_request([source], job_id="order-4711")
    scenario.worker()
    scenario.wait_deleted(first)
    scenario.direct.s3.delete_object(Bucket=source.bucket, Key=source.key)
    again = scenario.send_request([source], job_id="order-4711")
    scenario.wait_deleted(again)
    (one,), (other,) = scenario.answers(first), scenario.answers(again)
    assert one["archive"] == other["archive"] and one["notification_id"] != other["notification_id"]
    assert len(scenario.history.select("GetObject")) == 1
    scenario.finish()


@pytest.mark.slow
def test_a_failed_delete_does_not_fail_the_job(scenario: Scenario) -> None:
    """A13: the redelivered job finds its archive and sends the same notification id."""
    scenario.inject(Status(500, "InternalError"), "DeleteMessage", times=None)
    job = scenario.send_request(scenario.put_objects(1000))
    worker = scenario.worker()
    worker.wait_for("job.delete_failed")
    scenario.clear_faults()
    scenario.make_visible(job)
    scenario.wait_deleted(job)
    one, other = scenario.answers(job)
    assert one == other and len(scenario.history.select("GetObject")) == 1
    scenario.finish()


@pytest.mark.scenario(max_receives=1, visibility=4)
def test_a_denied_delete_is_retried_while_the_lease_is_renewed(scenario: Scenario) -> None:
    """A13: otherwise a policy without DeleteMessage would repeat each job until it is dead-lettered."""
    scenario.inject(Status(403, "AccessDenied"), "DeleteMessage", times=None)
    job = scenario.send_request(scenario.put_objects(1000))
    worker = scenario.worker()
    worker.wait_for("worker.paused")
    wait_until(lambda: len(scenario.history.select("ChangeMessageVisibility")) > 1, "the lease to go on")
    scenario.clear_faults()
    scenario.wait_deleted(job)
    assert len(scenario.answers(job)) == 1
    scenario.finish()


@pytest.mark.slow
@pytest.mark.scenario(visibility=4)
def test_the_worker_receives_no_more_messages_than_it_has_free_slots(scenario: Scenario) -> None:
    """A14: a message that waits in the worker would use up its lease."""
    scenario.inject(Delay(before_it=0.3), "GetObject", times=None)
    jobs = [scenario.send_request(scenario.put_objects(1000)) for _ in range(7)]
    scenario.worker(MAX_CONCURRENT_JOBS="2")
    scenario.wait_deleted(*jobs)
    in_flight = 0
    for call in sorted(
        scenario.history.select("ReceiveMessage", "DeleteMessage"), key=lambda call: call.committed or 0
    ):
        in_flight += len(call.facts.get("messages", ())) - (call.op == "DeleteMessage")
        assert in_flight <= 2
    assert all(call.facts["limit"] <= 2 for call in scenario.history.select("ReceiveMessage"))
    scenario.finish()


def test_the_worker_does_not_start_without_an_existing_source_queue(scenario: Scenario) -> None:
    """A16: the deployment fails instead of every job. All startup errors are reported together."""
    worker = scenario.worker(SQS_SOURCE_QUEUE="no-such-queue", S3_DESTINATION_BUCKET="no-such-bucket")
    assert worker.exit_code() == 2
    assert "SQS_SOURCE_QUEUE" in worker.log and "S3_DESTINATION_BUCKET" in worker.log
    assert "Traceback" not in worker.log


def test_receiving_waits_until_the_attributes_of_the_source_queue_can_be_read(scenario: Scenario) -> None:
    """A16: the lease needs the visibility timeout, and retries need the redrive policy."""
    scenario.inject(Status(403, "AccessDenied"), "GetQueueAttributes", queue="*-in", times=1)
    job = scenario.send_request(scenario.put_objects(1000))
    worker = scenario.worker()
    worker.wait_for("worker.paused")
    assert scenario.history.select("ReceiveMessage") == []
    scenario.wait_deleted(job)
    scenario.finish()


@pytest.mark.slow
def test_receiving_is_retried_when_the_source_queue_disappears_at_run_time(scenario: Scenario) -> None:
    """A16: the queue may be recreated, or the response may be wrong."""
    scenario.inject(Status(400, "QueueDoesNotExist"), "ReceiveMessage", times=1)
    job = scenario.send_request(scenario.put_objects(1000))
    worker = scenario.worker()
    scenario.wait_deleted(job)
    assert next(worker.events("worker.paused"), None) or next(worker.events("worker.receive_failed"), None)
    scenario.finish()
