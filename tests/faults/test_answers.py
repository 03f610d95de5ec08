"""Group F: an answer is sent before its message is deleted, is identical when resent, and never exceeds SQS limits."""

import json

import pytest

from .observations import executed
from .rules import DropResponse, SideEffect, Status
from .scenario import Scenario
from .worker_process import wait_until


@pytest.mark.slow
def test_an_answer_that_cannot_be_sent_keeps_the_message_and_the_archive(scenario: Scenario) -> None:
    """F1: the worker retries the answer within the job: one archive, one receive."""
    scenario.inject(Status(500, "InternalError"), "SendMessage", queue="*-out", times=None)
    job = scenario.send_request(scenario.put_objects(1000))
    worker = scenario.worker()
    worker.wait_for("worker.paused")
    assert scenario.history.select("DeleteMessage") == []
    scenario.clear_faults()
    scenario.wait_deleted(job)
    assert len(scenario.view.writes(job.key)) == 1 and len(scenario.history.select("GetObject")) == 1
    assert len(list(worker.events("job.received"))) == 1
    scenario.finish()


def test_an_unacknowledged_answer_is_sent_again_with_the_same_notification_id(scenario: Scenario) -> None:
    """F2: the response to SendMessage is lost, so the answer is sent twice."""
    scenario.inject(DropResponse(), "SendMessage", queue="*-out")
    job = scenario.send_request(scenario.put_objects(1000))
    scenario.worker()
    scenario.wait_deleted(job)
    one, other = scenario.answers(job)
    assert one == other
    scenario.finish()


def test_a_job_that_crashed_between_answer_and_delete_is_answered_again_without_rebuilding(scenario: Scenario) -> None:
    """F3: sources are read once, and both answers are identical."""
    job = scenario.send_request(scenario.put_objects(1000))
    worker = scenario.worker()
    scenario.inject(SideEffect(after_it=worker.kill), "SendMessage", queue="*-out")
    wait_until(lambda: not worker.running, "the crash")
    scenario.make_visible(job)
    scenario.worker("clean")
    scenario.wait_deleted(job)
    one, other = scenario.answers(job)
    assert one == other and len(scenario.history.select("GetObject")) == 1
    scenario.finish()


def test_metadata_characters_that_sqs_refuses_are_escaped_without_loss(scenario: Scenario) -> None:
    """F4: control characters and noncharacters are valid in JSON but not in an SQS message."""
    unusual = {"control": "a\x01b", "last": "\uffff", "emoji": "\U0001f600", "tab": "\t"}
    (source,) = scenario.put_objects(1000)
    job = scenario.send([{"source": source.key}], {"1.jpg": source}, metadata=unusual)
    scenario.worker()
    scenario.wait_deleted(job)
    (answer,) = scenario.answers(job)
    assert answer["metadata"] == unusual
    scenario.finish()


def test_an_oversized_answer_omits_its_metadata_and_reports_the_omission(scenario: Scenario) -> None:
    """F4: metadata of nearly 1 MiB and the link do not fit into one message."""
    (source,) = scenario.put_objects(1000)
    metadata = {"note": "x" * 1_048_200}
    job = scenario.send([{"source": source.key}], {"1.jpg": source}, metadata=metadata)
    scenario.worker()
    scenario.wait_deleted(job)
    (answer,) = scenario.answers(job)
    assert answer["metadata"] is None and "metadata" in answer["truncated"]
    assert answer["substitutions"]["archiver_URL"].startswith("https://archives.example/")
    scenario.finish()


@pytest.mark.slow
def test_a_request_of_maximum_size_is_dead_lettered_unchanged(scenario: Scenario) -> None:
    """F4: error attributes are shortened to the remaining bytes."""
    body = json.dumps({"metadata": {"note": ""}})
    body = body.replace('""', json.dumps("x" * (1_048_576 - len(body) - 52)))
    job = scenario.send_text(body, None)
    scenario.worker()
    scenario.wait_deleted(job)
    (letter,) = executed(scenario.view.rejections(job))
    assert letter.facts["body"] == body
    scenario.finish()


def test_a_rejection_that_cannot_be_sent_keeps_the_message(scenario: Scenario) -> None:
    """F6: the worker pauses and retries within the job. An unavailable queue is not an error of the message."""
    scenario.inject(Status(500, "InternalError"), "SendMessage", queue="*-in-dlq", times=None)
    job = scenario.send_text("no JSON at all", None)
    worker = scenario.worker()
    worker.wait_for("worker.paused")
    assert scenario.history.select("DeleteMessage") == [] and executed(scenario.view.failures(job)) == []
    scenario.clear_faults()
    scenario.wait_deleted(job)
    assert scenario.failure(job)["code"] == "invalid_json"
    scenario.finish()


@pytest.mark.scenario(max_receives=None)
def test_an_invalid_message_stays_in_the_queue_without_a_dead_letter_queue(scenario: Scenario) -> None:
    """F6: deleting the message would lose it."""
    job = scenario.send_text("no JSON at all", None)
    worker = scenario.worker()
    worker.wait_for("job.rejection_failed")
    wait_until(lambda: scenario.history.select("ChangeMessageVisibility"), "the message's release")
    assert not scenario.ended(job)
    scenario.finish()


@pytest.mark.scenario(answers=False)
def test_without_an_answer_queue_no_answer_is_sent_and_the_log_reports_it(scenario: Scenario) -> None:
    job = scenario.send_request(scenario.put_objects(1000))
    worker = scenario.worker()
    scenario.wait_deleted(job)
    assert list(worker.events("answer.skipped")) and scenario.history.select("SendMessage") == []
    scenario.finish()
