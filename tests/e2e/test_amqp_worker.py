"""A worker on RabbitMQ: what is asked, answered and rejected, and what stops and goes on."""

import json
from collections.abc import Iterator

import pytest
from emulator import EmulatedAws
from faults.worker_process import wait_until

from .amqp_env import COMPLETED, ERROR, PROGRESSION, QUEUE, AmqpEnv
from .rabbit import Broker


@pytest.fixture
def env(aws: EmulatedAws, broker: Broker) -> Iterator[AmqpEnv]:
    with AmqpEnv(aws, broker) as opened:
        yield opened


@pytest.fixture(scope="module")
def served(_emulator: EmulatedAws, broker: Broker) -> Iterator[AmqpEnv]:
    """One worker for all tests that only send it requests, and take its replies."""
    with AmqpEnv(_emulator, broker) as opened:
        opened.worker(CANCELLATION="1")
        yield opened


def test_a_request_is_answered_as_the_backend_takes_it(served: AmqpEnv) -> None:
    env = served
    env.put("a.jpg", b"a")
    body = json.dumps({"files": [{"source": "a.jpg"}], "job_id": "one", "metadata": {"user": 42}})
    env.client.publish(body, QUEUE, "job_submit", {"traceparent": "00-ab"}, correlation_id="c-1")

    reply = env.raw_reply(COMPLETED)

    answer = json.loads(reply.body)
    assert (answer["status"], answer["job_id"], answer["metadata"]) == ("succeeded", "one", {"user": 42})
    assert env.archive(answer["archive"]["key"]) == {"a.jpg": b"a"}
    told = reply.properties
    assert (told.correlation_id, told.content_type, told.delivery_mode) == ("c-1", "application/json", 2)
    assert (told.message_id, told.routing_key) == (answer["notification_id"], COMPLETED)
    assert dict(reply.headers) == {"traceparent": "00-ab"}
    assert env.reply(PROGRESSION)["status"] == "accepted"
    env.wait_until_empty()
    assert env.client.take(ERROR) is None


@pytest.mark.parametrize(
    ("body", "code", "told"),
    [
        (b"not JSON", "invalid_json", "not JSON"),
        (b'{"job_id": "b", "files": []}', "invalid_request", "$.files"),
        (b'{"job_id": "\xff"}', "invalid_request", "not UTF-8: byte 12"),
        (b"[" + b" " * (1 << 20) + b"]", "invalid_request", "a request may have 1,048,576"),
        (b'{"job_id": "b", "files": [{"source": "gone.jpg"}]}', "source_missing", "gone.jpg"),
    ],
    ids=["no JSON", "no request", "not UTF-8", "too long", "missing source"],
)
def test_a_rejected_message_ends_with_its_reply(served: AmqpEnv, body: bytes, code: str, told: str) -> None:
    """As B1 and B3: there is no dead-letter queue, so the reply is the record."""
    served.client.publish(body, QUEUE)

    error = served.reply(ERROR)["error"]

    assert error["code"] == code
    assert told in error["message"]
    served.wait_until_empty()


def test_a_rejected_message_is_kept_byte_for_byte_where_a_queue_is_set(env: AmqpEnv) -> None:
    env.worker(AMQP_DEAD_LETTER_QUEUE="dead")
    body = b'{"job_id": "\xff\x00"}'
    env.client.publish(body, QUEUE, headers={"n": 3}, expiration=3600, message_id="m-1", priority=9)

    env.reply(ERROR)

    async def raw() -> None:
        channel = await env.client._channel()
        message = await (await channel.get_queue("dead")).get()
        await message.ack()
        assert message.body == body
        assert message.expiration is None, "it would end there, too"
        headers = dict(message.headers)
        assert str(headers.pop("ErrorMessage")).startswith("the message is not UTF-8")
        assert headers == {"n": 3, "ErrorCode": "invalid_request", "MessageId": "m-1"}
        assert message.delivery_mode == 2

    env.client._run(raw())


def test_a_rejected_message_comes_to_no_other_queue_whatever_its_sender_wants(env: AmqpEnv) -> None:
    """The broker sends copies to the queues in `CC`: one to the queue of requests would come back for ever."""
    env.client.declare("others")
    env.worker(AMQP_DEAD_LETTER_QUEUE="dead")
    env.client.publish(b"no json", QUEUE, headers={"CC": ["others", QUEUE]})

    env.reply(ERROR)
    env.wait_until_empty()

    assert (env.client.depth("dead"), env.client.depth("others")) == (1, 1)  # the sender's own copy


def test_properties_that_no_client_decodes_cost_nobody_the_connection(served: AmqpEnv) -> None:
    """Else the message would end every connection that it is delivered on, for ever."""
    env = served
    env.put("a.jpg")
    [worker] = env.workers
    bad = b'{"job_id": "bad", "files": [{"source": "a.jpg"}]}'
    env.client.publish_raw(bad, QUEUE, message_id=b"\xff\xfe", headers=b"\x01\xfeT" + b"\xff" * 8, time=b"\xff" * 8)

    assert env.reply()["job_id"] == "bad"
    assert not list(worker.events("worker.receive_failed"))


def test_a_reply_that_no_queue_takes_holds_the_job_until_one_does(aws: EmulatedAws, broker: Broker) -> None:
    """As F3: a fault of the set-up. The job is done once, and nothing else is received meanwhile."""
    with AmqpEnv(aws, broker, backend=False) as env:
        env.put("a.jpg")
        worker = env.worker(MAX_CONCURRENT_JOBS="1")
        env.request("a.jpg", job_id="held")
        paused = worker.wait_for("worker.paused")
        assert "job_response/job_completed: no queue takes it" in paused["reason"]
        env.request("a.jpg", job_id="second")

        env.client.declare_backend()

        assert [env.reply()["job_id"] for _ in range(2)] == ["held", "second"]
        assert [one["job_id"] for one in worker.events("job.received")] == ["held", "second"]


def test_a_worker_that_stops_gives_its_waiting_job_to_another(env: AmqpEnv) -> None:
    """As G1: SIGTERM; the message goes through the delay queue, which counts it."""
    first = env.worker()
    env.request("late.jpg", job_id="late", wait_for={"timeout": 60})
    first.wait_for("job.received")
    wait_until(lambda: first.events("job.parked") or env.client.take(PROGRESSION), "the job to wait")
    first.terminate()
    assert first.exit_code() == 0
    env.put("late.jpg")

    second = env.worker()

    assert env.reply()["job_id"] == "late"
    assert second.wait_for("job.received")["receive_count"] == 2


def test_a_cancelled_job_ends_with_its_reply(served: AmqpEnv) -> None:
    env = served
    env.client.take_all(PROGRESSION)
    env.request("never.jpg", job_id="to cancel", wait_for={"timeout": 600})
    wait_until(lambda: env.client.take(PROGRESSION), "the job to begin")
    env.client.publish('{"cancel": "to cancel"}', QUEUE, "job_submit")

    assert env.reply(COMPLETED)["cancel"]["accepted"] is True
    assert env.reply(ERROR)["status"] == "cancelled"
    env.wait_until_empty()


def test_the_queue_of_others_is_used_as_it_is(env: AmqpEnv) -> None:
    """AMQP_DECLARE=0: nothing is declared, and a released message is requeued: there is nowhere else to send it."""
    env.client.declare("theirs")
    worker = env.worker(AMQP_DECLARE="0", AMQP_QUEUE="theirs")
    env.client.publish('{"job_id": "b", "files": [{"source": "late.jpg"}], "wait_for": {"timeout": 60}}', "theirs")
    worker.wait_for("job.received")
    worker.terminate()
    assert worker.exit_code() == 0
    env.put("late.jpg")

    second = env.worker(AMQP_DECLARE="0", AMQP_QUEUE="theirs")

    assert env.reply()["job_id"] == "b"
    assert second.wait_for("job.received")["receive_count"] == 2
    assert second.wait_for("worker.ready")["max_receives"] is None


def test_a_forged_x_death_is_refused(env: AmqpEnv) -> None:
    """RabbitMQ 3.10 would end the process of the queue where such a message is rejected to another."""
    env.put("a.jpg")
    env.worker()
    env.client.publish('{"files": [{"source": "a.jpg"}]}', QUEUE, headers={"x-death": [1]})

    assert "the header x-death is not as RabbitMQ writes it" in env.reply(ERROR)["error"]["message"]
    env.wait_until_empty()


def test_headers_that_no_client_decodes_or_encodes_come_back_with_nobodys_connection(env: AmqpEnv) -> None:
    env.put("a.jpg")
    worker = env.worker()
    nested = b""
    for _ in range(15_000):
        nested = b"\0F" + len(nested).to_bytes(4, "big") + nested
    body = b'{"job_id": "nested", "files": [{"source": "a.jpg"}]}'
    env.client.publish_raw(body, QUEUE, message_id=b"m", headers=nested, time=bytes(8))
    assert env.reply()["job_id"] == "nested"
    env.client.publish('{"files": [{"source": "a.jpg"}]}', QUEUE, headers={"raw": bytearray(b"\xff")})
    assert env.raw_reply().headers["raw"] == b"\xff"
    assert not list(worker.events("worker.receive_failed"))
