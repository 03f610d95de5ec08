"""Queues as they come: by name, URL or ARN; standard or FIFO; for answers, failures and dead letters, or for none."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from emulator import EmulatedAws
from faults.worker_process import wait_until

from .worker_env import WorkerEnv

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def values(message: dict[str, Any]) -> dict[str, str]:
    """The attributes of *message*, as text."""
    return {name: told["StringValue"] for name, told in message.get("MessageAttributes", {}).items()}


@pytest.fixture(scope="module")
def plain(shared: WorkerEnv) -> WorkerEnv:
    """The usual scene, with a worker and an object."""
    shared.put("p/one.jpg")
    shared.worker()
    return shared


def test_answer_tells_the_link_and_echoes_metadata(plain: WorkerEnv) -> None:
    metadata = {"user_email": "user@example.com", "n": [1, 2.5, None, True, {"ü": "🦊"}]}
    plain.send_request("p/one.jpg", metadata=metadata, job_id="order-4711", user_email="ignored")

    answer = plain.answer()

    archive = answer["archive"]
    assert answer["metadata"] == metadata
    assert answer["substitutions"] == {"archiver_URL": f"https://archives.example/{archive['key']}"}
    assert (answer["job_id"], answer["status"], answer["missing"], answer["renamed"]) == (
        "order-4711",
        "succeeded",
        [],
        [],
    )
    assert (archive["bucket"], archive["files"]) == (plain.archives, 1)
    assert plain.archive(archive["key"]) == {"one.jpg": b"a photo"}


def test_attributes_of_the_request_are_passed_on_but_an_earlier_rejections_reason_is_not(plain: WorkerEnv) -> None:
    """A message that was moved from the dead-letter queue back to the source queue still carries its reason."""
    plain.send_request(
        "p/one.jpg",
        attributes={"traceparent": TRACE, "Correlation-Id": "c-1", "ErrorCode": "internal", "ErrorMessage": "a defect"},
    )

    (answer,) = plain.receive(plain.answers)

    assert values(answer) == {"traceparent": TRACE, "Correlation-Id": "c-1"}


def test_rejection_goes_to_the_dead_letters_and_the_failure_queue_and_to_no_other(plain: WorkerEnv) -> None:
    attributes = {"traceparent": TRACE, "ErrorCode": "internal"}
    body = json.dumps({"files": [{"source": "never-was.jpg"}], "metadata": {"k": "v"}, "job_id": "lost"})
    plain.send(body, attributes)

    (letter,), (failure,) = plain.receive(plain.dead), plain.receive(plain.failures)

    plain.wait_until_empty()
    told = json.loads(failure["Body"])
    assert letter["Body"] == body
    assert values(letter) == {
        "traceparent": TRACE,
        "ErrorCode": "source_missing",
        "ErrorMessage": told["error"]["message"],
        "MessageId": told["message_id"],
    }
    assert values(failure) == {"traceparent": TRACE}
    assert (told["metadata"], told["job_id"], told["status"]) == ({"k": "v"}, "lost", "failed")
    assert told["error"]["sources"] == [{"source": "never-was.jpg", "code": "source_missing"}]
    assert plain.queue_depth(plain.answers) == 0


def test_missing_objects_are_skipped_and_all_listed_where_the_request_says_so(plain: WorkerEnv) -> None:
    plain.send_request("p/one.jpg", "gone/1.jpg", "gone/2.jpg", on_missing="skip")

    answer = plain.answer()

    members = plain.archive(answer["archive"]["key"])
    assert answer["status"] == "partial"
    assert [each["source"] for each in answer["missing"]] == ["gone/1.jpg", "gone/2.jpg"]
    assert answer["archive"]["files"] == 1
    assert members["_MISSING.txt"] == b"gone/1.jpg\tsource_missing\ngone/2.jpg\tsource_missing\n"


@pytest.fixture(scope="module")
def fifo(emulated: EmulatedAws) -> Iterator[WorkerEnv]:
    """FIFO queues, all of them, with a worker."""
    with WorkerEnv(emulated, fifo=True) as worker_env:
        worker_env.put("one.jpg")
        worker_env.worker()
        yield worker_env


def test_fifo_answer_has_the_group_of_its_request_and_its_notification_id_as_deduplication_id(fifo: WorkerEnv) -> None:
    fifo.send_request("one.jpg")

    (answer,) = fifo.receive(fifo.answers)

    system = answer["Attributes"]
    assert system["MessageGroupId"] == "customer-7"
    assert system["MessageDeduplicationId"] == json.loads(answer["Body"])["notification_id"]


def test_fifo_dead_letter_and_failure_answer_have_the_group_of_their_request(fifo: WorkerEnv) -> None:
    fifo.send_request("never-was.jpg")

    (letter,), (failure,) = fifo.receive(fifo.dead), fifo.receive(fifo.failures)

    assert letter["Attributes"]["MessageGroupId"] == failure["Attributes"]["MessageGroupId"] == "customer-7"
    assert letter["Attributes"]["MessageDeduplicationId"] != failure["Attributes"]["MessageDeduplicationId"]


def test_standard_source_with_a_fifo_answer_queue_groups_by_the_archives_digest(worker_env: WorkerEnv) -> None:
    worker_env.put("one.jpg")
    answers = worker_env.aws.queue(fifo=True)
    worker_env.worker(SQS_DESTINATION_QUEUE=answers)
    worker_env.send_request("one.jpg")

    (answer,) = worker_env.receive(answers)

    assert answer["Attributes"]["MessageGroupId"] == json.loads(answer["Body"])["archive"]["key"].partition("/")[0]


@pytest.mark.parametrize("form", ["name", "ARN"])
def test_queues_can_be_given_by_name_and_by_arn(worker_env: WorkerEnv, form: str) -> None:
    """By URL they are given in all the other tests. The older names of two settings are used here."""
    name = (lambda url: url.rpartition("/")[2]) if form == "name" else worker_env.aws.arn
    worker_env.put("one.jpg")
    worker_env.worker(
        SQS_SOURCE_QUEUE="",
        SQS_SOURCE=name(worker_env.source),
        SQS_DESTINATION_QUEUE="",
        SQS_DESTINATION=name(worker_env.answers),
        SQS_FAILURE_QUEUE=name(worker_env.failures),
    )

    worker_env.send_request("one.jpg")
    worker_env.send_request("never-was.jpg")

    assert worker_env.answer()["status"] == "succeeded"
    (failure,) = worker_env.receive(worker_env.failures)
    assert json.loads(failure["Body"])["error"]["code"] == "source_missing"


@pytest.mark.slow
def test_without_an_answer_queue_nothing_is_sent_and_a_log_line_says_so(worker_env: WorkerEnv) -> None:
    worker_env.put("one.jpg")
    worker = worker_env.worker(SQS_DESTINATION_QUEUE="", SQS_FAILURE_QUEUE="")

    message = worker_env.send_request("one.jpg")
    worker_env.send_request("never-was.jpg")
    worker_env.wait_until_empty()

    assert "SQS_DESTINATION_QUEUE" in worker.wait_for("answer.skipped")["reason"]
    assert worker.wait_for("answer.skipped")["message_id"] == message
    assert len(worker_env.archive_keys()) == 1
    assert len(worker_env.receive(worker_env.dead)) == 1
    assert worker_env.queue_depth(worker_env.answers) == worker_env.queue_depth(worker_env.failures) == 0


@pytest.mark.slow
def test_without_a_dead_letter_queue_a_rejected_message_stays_and_other_jobs_go_on(emulated: EmulatedAws) -> None:
    with WorkerEnv(emulated, dead_letters=False) as worker_env:
        worker_env.put("one.jpg")
        worker = worker_env.worker()
        bad = worker_env.send_request("never-was.jpg")
        worker_env.send_request("one.jpg")

        assert worker_env.answer()["status"] == "succeeded"
        told = worker.wait_for("job.rejection_failed")
        assert (told["message_id"], told["code"]) == (bad, "source_missing")
        wait_until(lambda: worker_env.queue_depth(worker_env.source) == 1, "the good message to be deleted")
        assert worker_env.queue_depth(worker_env.failures) == 0
