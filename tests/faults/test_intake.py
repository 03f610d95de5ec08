"""Group A: messages are received, kept and given back; a lease that is lost ends its job."""

import pytest

from .evidence import carried_out
from .rules import Delay, Do, Hangup, Rule, Status
from .stage import Stage
from .worker import until

MIB = 1024 * 1024


def test_a_worker_that_cannot_receive_for_a_while_goes_on_afterwards(stage: Stage) -> None:
    """A1"""
    stage.break_(Status(500, "InternalError"), "ReceiveMessage", times=2)
    stage.break_(Hangup(), "ReceiveMessage", nth=3)
    job = stage.ask(stage.photos(1000))
    worker = stage.worker()
    stage.wait_deleted(job)
    assert [call.status for call in stage.history.of("ReceiveMessage")[:4]] == [500, 500, None, 200]
    assert len(list(worker.events("worker.receive_failed"))) == 3
    stage.finish()


def test_a_message_that_comes_while_the_worker_stops_is_given_back_at_once(stage: Stage) -> None:
    """A3: a poll that is cancelled would hide what it brings for the whole visibility."""
    worker = stage.worker(SQS_WAIT_SECONDS="5")
    stage.wait_call("ReceiveMessage")
    worker.terminate()
    worker.wait_for("worker.stopping")
    job = stage.ask(stage.photos(1000))
    assert worker.exit_code() == 0
    (given_back,) = stage.history.of("ChangeMessageVisibility")
    assert (given_back.facts["message"], given_back.facts["visibility"]) == (job.message, 0)
    assert [m["MessageId"] for m in stage.receive()] == [job.message]
    assert stage.history.of("HeadObject", "GetObject") == []
    stage.finish()


@pytest.mark.stage(visibility=4)
def test_a_lease_that_cannot_be_renewed_ends_the_job_before_its_deadline(stage: Stage) -> None:
    """A4: the upload is aborted, nothing appears and nothing is said; the next delivery does it all."""
    stage.break_(Status(500, "InternalError"), "ChangeMessageVisibility", times=None)
    stage.break_(Delay(before_it=8), "UploadPart", part=2)
    job = stage.ask(stage.photos(6 * MIB))
    worker = stage.worker()
    worker.wait_for("job.lease_lost")
    first = stage.wait_call("CreateMultipartUpload")
    until(lambda: stage.history.of("AbortMultipartUpload"), "the abort")
    assert stage.history.of("AbortMultipartUpload")[0].call.upload == first.facts["upload"]
    assert stage.history.of("CompleteMultipartUpload", "SendMessage", "DeleteMessage") == []
    stage.mend()
    stage.wait_deleted(job)
    stage.finish()


@pytest.mark.stage(visibility=6)
def test_a_renewal_that_fails_once_does_not_end_the_job(stage: Stage) -> None:
    """A5: every attempt of one renewal fails; the next renewal works."""
    stage.break_(Status(500, "InternalError"), "ChangeMessageVisibility", times=3)
    stage.break_(Do(before_it=lambda: stage.wait_call("ChangeMessageVisibility", 5)), "GetObject")
    job = stage.ask(stage.photos(1000))
    worker = stage.worker()
    stage.wait_deleted(job)
    assert len(list(worker.events("job.received"))) == 1
    assert len(stage.view.writes(job.key)) == 1
    stage.finish()


@pytest.mark.stage(visibility=3, max_receives=10)
@pytest.mark.parametrize("op", ["GetObject", "UploadPart", "CompleteMultipartUpload", "SendMessage"])
def test_a_worker_frozen_past_its_lease_leaves_the_job_to_the_one_that_took_over(stage: Stage, op: str) -> None:
    """A6: one object, one notification id, and the frozen worker writes nothing more when it wakes up."""
    job = stage.ask(stage.photos(6 * MIB))
    first = stage.worker("first")
    stage.proxy.add(Rule(Do(before_it=first.stop), op=op, client="first"))
    until(lambda: stage.history.of(op), f"a call of {op}")
    stage.worker("second")
    stage.wait_deleted(job)
    seen = len(stage.history.of(client="first"))
    first.go_on()
    first.wait_for("job.lease_lost")
    later = {call.op for call in stage.history.of(client="first")[seen:]}
    assert later.isdisjoint({"PutObject", "CompleteMultipartUpload", "SendMessage", "DeleteMessage"})
    stage.finish()


@pytest.mark.stage(visibility=3, max_receives=10)
def test_a_worker_frozen_in_the_middle_of_a_rejection_says_nothing_more(stage: Stage) -> None:
    """A6: between the dead letter and the failure answer; whoever took over says both."""
    job = stage.send_text("no JSON at all", None)
    first = stage.worker("first")
    stage.proxy.add(Rule(Do(before_it=first.stop), op="SendMessage", client="first"))
    until(lambda: stage.history.of("SendMessage"), "the dead letter")
    stage.worker("second")
    stage.wait_deleted(job)
    first.go_on()
    first.wait_for("job.lease_lost")
    stage.finish()


@pytest.mark.stage(visibility=6)
def test_a_renewal_refused_for_its_receipt_ends_the_job_at_once(stage: Stage) -> None:
    """A7: the message is someone else's; there is nothing to try again."""
    stage.break_(Delay(before_it=5), "GetObject")
    job = stage.ask(stage.photos(1000))
    worker = stage.worker()
    stage.wait_call("HeadObject")
    stage.show(job)
    (theirs,) = stage.receive(visibility=20)
    assert theirs["MessageId"] == job.message
    worker.wait_for("job.lease_lost")
    assert [call.status for call in stage.history.of("ChangeMessageVisibility")] == [400]
    stage.own.sqs.change_message_visibility(
        QueueUrl=stage.url("in"), ReceiptHandle=theirs["ReceiptHandle"], VisibilityTimeout=0
    )
    stage.wait_deleted(job)
    stage.finish()


@pytest.mark.stage(visibility=6)
def test_a_renewal_under_way_is_awaited_before_the_message_is_deleted(stage: Stage) -> None:
    """A8: landing later, it would bring a finished message back, or undo the delay of one given back."""
    stage.break_(Delay(before_it=0.7), "ChangeMessageVisibility")
    stage.break_(Do(before_it=lambda: stage.wait_call("ChangeMessageVisibility")), "GetObject")
    job = stage.ask(stage.photos(1000))
    stage.worker()
    stage.wait_deleted(job)
    (renewal,) = stage.history.of("ChangeMessageVisibility")
    (delete,) = stage.view.deletes(job)
    assert renewal.ended is not None and renewal.ok
    assert renewal.ended <= delete.began
    stage.finish()


@pytest.mark.stage(visibility=4)
def test_a_queue_with_a_visibility_of_four_seconds_is_served(stage: Stage) -> None:
    """A9: the heartbeat is a fraction of the visibility, whatever that is."""
    stage.break_(Do(before_it=lambda: stage.wait_call("ChangeMessageVisibility", 3)), "GetObject")
    job = stage.ask(stage.photos(1000))
    worker = stage.worker()
    stage.wait_deleted(job)
    assert len(list(worker.events("job.received"))) == 1
    stage.finish()


def test_a_message_delivered_twice_at_once_makes_one_archive_and_one_notification_id(stage: Stage) -> None:
    """A11: both workers build; the second to finish finds the archive there and says the same."""
    both = Do(before_it=lambda: until(lambda: len(stage.view.writes(job.key)) == 2, "the other one"))
    stage.break_(both, "PutObject")
    job = stage.ask(stage.photos(1000))
    stage.worker("first", MAX_CONCURRENT_JOBS="1")
    until(lambda: stage.history.of("PutObject"), "the first write")
    stage.show(job)
    stage.worker("second")
    until(lambda: len(stage.answers(job)) == 2, "both answers")
    stage.wait_deleted(job)
    assert len(carried_out(stage.view.writes(job.key))) == 1
    one, other = stage.answers(job)
    assert one == other
    stage.finish()


def test_a_job_that_is_done_is_answered_again_without_reading_its_sources(stage: Stage) -> None:
    """A12: even where the sources are gone by now."""
    (source,) = stage.photos(1000)
    first = stage.ask([source], job_id="order-4711")
    stage.worker()
    stage.wait_deleted(first)
    stage.direct.s3.delete_object(Bucket=source.bucket, Key=source.key)
    again = stage.ask([source], job_id="order-4711")
    stage.wait_deleted(again)
    (one,), (other,) = stage.answers(first), stage.answers(again)
    assert one["archive"] == other["archive"] and one["notification_id"] != other["notification_id"]
    assert len(stage.history.of("GetObject")) == 1
    stage.finish()


def test_a_delete_that_fails_is_no_failed_job(stage: Stage) -> None:
    """A13: the message comes again and takes the short way, under the same notification id."""
    stage.break_(Status(500, "InternalError"), "DeleteMessage", times=None)
    job = stage.ask(stage.photos(1000))
    worker = stage.worker()
    worker.wait_for("job.delete_failed")
    stage.mend()
    stage.show(job)
    stage.wait_deleted(job)
    one, other = stage.answers(job)
    assert one == other and len(stage.history.of("GetObject")) == 1
    stage.finish()


@pytest.mark.stage(max_receives=1, visibility=4)
def test_a_delete_that_is_refused_is_waited_for_under_the_lease(stage: Stage) -> None:
    """A13: a policy without DeleteMessage would have every job done and answered again, up to the dead letters."""
    stage.break_(Status(403, "AccessDenied"), "DeleteMessage", times=None)
    job = stage.ask(stage.photos(1000))
    worker = stage.worker()
    worker.wait_for("worker.paused")
    until(lambda: len(stage.history.of("ChangeMessageVisibility")) > 1, "the lease to go on")
    stage.mend()
    stage.wait_deleted(job)
    assert len(stage.answers(job)) == 1
    stage.finish()


@pytest.mark.stage(visibility=4)
def test_no_more_is_received_than_there_are_free_slots(stage: Stage) -> None:
    """A14: what waits in the worker would wait for nothing, and its lease would run."""
    stage.break_(Delay(before_it=0.3), "GetObject", times=None)
    jobs = [stage.ask(stage.photos(1000)) for _ in range(7)]
    stage.worker(MAX_CONCURRENT_JOBS="2")
    stage.wait_deleted(*jobs)
    held = 0
    for call in sorted(stage.history.of("ReceiveMessage", "DeleteMessage"), key=lambda call: call.committed or 0):
        held += len(call.facts.get("messages", ())) - (call.op == "DeleteMessage")
        assert held <= 2
    assert all(call.facts["limit"] <= 2 for call in stage.history.of("ReceiveMessage"))
    stage.finish()


def test_a_source_queue_that_does_not_exist_stops_the_start(stage: Stage) -> None:
    """A16: seen by whoever deploys, not by whoever waits for archives."""
    worker = stage.worker(SQS_SOURCE_QUEUE="no-such-queue", S3_DESTINATION_BUCKET="no-such-bucket")
    assert worker.exit_code() == 2
    assert "SQS_SOURCE_QUEUE" in worker.log and "S3_DESTINATION_BUCKET" in worker.log
    assert "Traceback" not in worker.log


def test_a_source_queue_that_cannot_be_looked_at_is_not_received_from_until_it_can(stage: Stage) -> None:
    """A16: without its visibility and its redrive policy nothing can be promised."""
    stage.break_(Status(403, "AccessDenied"), "GetQueueAttributes", queue="*-in", times=1)
    job = stage.ask(stage.photos(1000))
    worker = stage.worker()
    worker.wait_for("worker.paused")
    assert stage.history.of("ReceiveMessage") == []
    stage.wait_deleted(job)
    stage.finish()


def test_a_queue_that_is_gone_at_run_time_is_tried_again(stage: Stage) -> None:
    """A16: it may be back, or the answer may have been wrong."""
    stage.break_(Status(400, "QueueDoesNotExist"), "ReceiveMessage", times=1)
    job = stage.ask(stage.photos(1000))
    worker = stage.worker()
    stage.wait_deleted(job)
    assert next(worker.events("worker.paused"), None) or next(worker.events("worker.receive_failed"), None)
    stage.finish()
