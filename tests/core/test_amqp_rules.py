"""The rules between the settings of the RabbitMQ door."""

import pytest

from archiver.core.amqp_rules import find_amqp_problems, is_host


def names(**environ: str) -> list[str]:
    return [problem.partition(":")[0] for problem in find_amqp_problems(environ)]


def test_the_settings_of_sqs_alone_have_no_problem() -> None:
    assert names(SQS_SOURCE_QUEUE="in", SQS_DESTINATION_QUEUE="out", AMQP_QUEUE=" ") == []


def test_a_complete_door_has_no_problem() -> None:
    assert (
        names(
            AMQP_QUEUE="jobs",
            AMQP_DEAD_LETTER_QUEUE="dead",
            AMQP_TLS="1",
            AMQP_CA_FILE="ca.pem",
            AMQP_CERT_FILE="client.pem",
            AMQP_KEY_FILE="key.pem",
        )
        == []
    )


@pytest.mark.parametrize("name", ["SQS_DESTINATION_QUEUE", "SQS_DESTINATION", "SQS_FAILURE_QUEUE", "PROGRESS_QUEUE"])
def test_queues_for_answers_belong_to_the_other_door(name: str) -> None:
    assert names(AMQP_QUEUE="jobs", **{name: "x"}) == [name]


@pytest.mark.parametrize("queue", ["job_delayed", "job_completed", "job_error", "job_progression", "amq.gen-1"])
def test_a_queue_with_another_use_is_no_queue_of_requests(queue: str) -> None:
    """A worker would read its own replies, for ever."""
    assert names(AMQP_QUEUE=queue) == ["AMQP_QUEUE"]
    assert names(AMQP_QUEUE="jobs", AMQP_DEAD_LETTER_QUEUE=queue) == ["AMQP_DEAD_LETTER_QUEUE"]


def test_rejected_messages_do_not_go_back_to_the_queue_of_requests() -> None:
    assert names(AMQP_QUEUE="jobs", AMQP_DEAD_LETTER_QUEUE=" jobs ") == ["AMQP_DEAD_LETTER_QUEUE"]


@pytest.mark.parametrize("name", ["AMQP_CA_FILE", "AMQP_CERT_FILE"])
def test_certificates_without_tls_would_not_be_used(name: str) -> None:
    assert names(AMQP_TLS="off", **{name: "a.pem"}) == [name]


def test_a_key_needs_its_certificate() -> None:
    assert names(AMQP_KEY_FILE="key.pem") == ["AMQP_KEY_FILE"]


@pytest.mark.parametrize(
    "text", ["localhost", "broker.example.", "a_b-c", "127.0.0.1", "::1", "fe80::1%eth0", "b\xfccher.example"]
)
def test_a_name_or_an_address_is_a_host(text: str) -> None:
    assert is_host(text)


@pytest.mark.parametrize(
    "text",
    [
        "broker:5672",
        "amqp://broker",
        "user@broker",
        "broker/v",
        "a b",
        "a..b",
        ".",
        "",
        "[::1]",
        "%41",
        "a\\b",
        "a?b",
        "a#b",
        "x" * 64,
        "x." * 127,
        "a\n",
    ],
)
def test_whatever_else_is_no_host(text: str) -> None:
    """The client would raise ValueError, or UnicodeError."""
    assert not is_host(text)
