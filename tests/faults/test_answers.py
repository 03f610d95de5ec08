"""Group F: an answer is sent before its message is deleted, is the same when it is sent again, and always fits."""

import json

import pytest

from .evidence import carried_out
from .rules import Do, DropAnswer, Status
from .stage import Stage
from .worker import until


@pytest.mark.slow
def test_an_answer_that_cannot_be_sent_keeps_the_message_and_the_archive(stage: Stage) -> None:
    """F1: the answer waits for its queue, in its place: one archive, one receive."""
    stage.break_(Status(500, "InternalError"), "SendMessage", queue="*-out", times=None)
    job = stage.ask(stage.photos(1000))
    worker = stage.worker()
    worker.wait_for("worker.paused")
    assert stage.history.of("DeleteMessage") == []
    stage.mend()
    stage.wait_deleted(job)
    assert len(stage.view.writes(job.key)) == 1 and len(stage.history.of("GetObject")) == 1
    assert len(list(worker.events("job.received"))) == 1
    stage.finish()


def test_an_answer_that_was_not_acknowledged_is_sent_again_under_the_same_id(stage: Stage) -> None:
    """F2"""
    stage.break_(DropAnswer(), "SendMessage", queue="*-out")
    job = stage.ask(stage.photos(1000))
    stage.worker()
    stage.wait_deleted(job)
    one, other = stage.answers(job)
    assert one == other
    stage.finish()


def test_a_crash_between_answer_and_delete_is_answered_again_and_builds_nothing(stage: Stage) -> None:
    """F3"""
    job = stage.ask(stage.photos(1000))
    worker = stage.worker()
    stage.break_(Do(after_it=worker.kill), "SendMessage", queue="*-out")
    until(lambda: not worker.running, "the crash")
    stage.show(job)
    stage.worker("clean")
    stage.wait_deleted(job)
    one, other = stage.answers(job)
    assert one == other and len(stage.history.of("GetObject")) == 1
    stage.finish()


def test_metadata_that_sqs_would_refuse_is_escaped_and_comes_back_as_it_was(stage: Stage) -> None:
    """F4: control characters and noncharacters are lawful in JSON and not in a message."""
    odd = {"control": "a\x01b", "last": "\uffff", "emoji": "\U0001f600", "tab": "\t"}
    (source,) = stage.photos(1000)
    job = stage.send([{"source": source.key}], {"1.jpg": source}, metadata=odd)
    stage.worker()
    stage.wait_deleted(job)
    (answer,) = stage.answers(job)
    assert answer["metadata"] == odd
    stage.finish()


def test_an_answer_that_would_not_fit_gives_up_its_metadata_and_says_so(stage: Stage) -> None:
    """F4: a request of nearly 1 MiB can't be repeated whole beside the link."""
    (source,) = stage.photos(1000)
    metadata = {"note": "x" * 1_048_200}
    job = stage.send([{"source": source.key}], {"1.jpg": source}, metadata=metadata)
    stage.worker()
    stage.wait_deleted(job)
    (answer,) = stage.answers(job)
    assert answer["metadata"] is None and "metadata" in answer["truncated"]
    assert answer["substitutions"]["archiver_URL"].startswith("https://archives.example/")
    stage.finish()


def test_a_request_of_the_greatest_size_is_rejected_word_for_word(stage: Stage) -> None:
    """F4: with its reason as far as there is room."""
    body = json.dumps({"metadata": {"note": ""}})
    body = body.replace('""', json.dumps("x" * (1_048_576 - len(body) - 52)))
    job = stage.send_text(body, None)
    stage.worker()
    stage.wait_deleted(job)
    (letter,) = carried_out(stage.view.rejections(job))
    assert letter.facts["body"] == body
    stage.finish()


def test_a_rejection_that_cannot_be_sent_keeps_the_message(stage: Stage) -> None:
    """F6: until it can, and in its place: a queue that is away is no fault of the message."""
    stage.break_(Status(500, "InternalError"), "SendMessage", queue="*-in-dlq", times=None)
    job = stage.send_text("no JSON at all", None)
    worker = stage.worker()
    worker.wait_for("worker.paused")
    assert stage.history.of("DeleteMessage") == [] and carried_out(stage.view.failures(job)) == []
    stage.mend()
    stage.wait_deleted(job)
    assert stage.failure(job)["code"] == "invalid_json"
    stage.finish()


@pytest.mark.stage(max_receives=None)
def test_without_a_dead_letter_queue_a_bad_message_stays(stage: Stage) -> None:
    """F6: there is nowhere to put it, and it is not to be lost."""
    job = stage.send_text("no JSON at all", None)
    worker = stage.worker()
    worker.wait_for("job.rejection_failed")
    until(lambda: stage.history.of("ChangeMessageVisibility"), "the message's return")
    assert not stage.ended(job)
    stage.finish()


@pytest.mark.stage(answers=False)
def test_without_a_queue_for_answers_nothing_is_sent_and_the_log_says_so(stage: Stage) -> None:
    job = stage.ask(stage.photos(1000))
    worker = stage.worker()
    stage.wait_deleted(job)
    assert list(worker.events("answer.skipped")) and stage.history.of("SendMessage") == []
    stage.finish()
