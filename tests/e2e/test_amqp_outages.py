"""RabbitMQ fails, or ends a job, in the middle: every job is answered, and a repeated answer is the same."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from emulator import EmulatedAws
from faults.worker_process import wait_until
from processes.test_production import get

from .amqp_env import ERROR, PROGRESSION, QUEUE, AmqpEnv
from .rabbit import Broker

WAITING = {"timeout": 120}


@pytest.fixture
def env(aws: EmulatedAws, broker: Broker) -> Iterator[AmqpEnv]:
    with AmqpEnv(aws, broker) as opened:
        yield opened


@contextmanager
def ack_timeout(broker: Broker, seconds: int) -> Iterator[None]:
    """Have the broker end jobs after *seconds*, and look each second rather than each minute."""
    told = "application:set_env(rabbit, consumer_timeout, {}), application:set_env(rabbit, channel_tick_interval, {})."
    broker.eval(told.format(seconds * 1000, 1000))
    try:
        yield
    finally:
        broker.eval(told.format(1_800_000, 60_000))


def test_a_job_beyond_the_brokers_own_limit_loses_its_message_at_once_and_costs_no_other_job(env: AmqpEnv) -> None:
    """AMQP_ACK_TIMEOUT is more than the broker allows: its channel is closed, and that of no other job."""
    with ack_timeout(env.broker, 4):
        worker = env.worker()
        env.request("late.jpg", job_id="late", wait_for=WAITING)
        worker.wait_for("job.lease_lost")
        env.put("other.jpg")
        env.request("other.jpg", job_id="other")
        assert env.reply()["job_id"] == "other"
        env.put("late.jpg")

        assert env.reply()["job_id"] == "late"
        received = [one["receive_count"] for one in worker.events("job.received") if one["job_id"] == "late"]
        assert received == [1, 2]
        assert not list(worker.events("worker.receive_failed")), "the connection is the same"


def test_a_job_ends_before_the_brokers_limit_that_the_settings_tell(env: AmqpEnv) -> None:
    """4 s is the least. There is no second receive: the rejection comes in time."""
    with ack_timeout(env.broker, 4):
        env.worker(AMQP_ACK_TIMEOUT="4")
        env.request("never.jpg", job_id="slow", wait_for=WAITING)

        error = env.reply(ERROR)

    assert (error["job_id"], error["error"]["code"]) == ("slow", "time_limit")
    env.wait_until_empty()


def test_a_message_that_kills_its_workers_is_rejected_and_the_others_are_done(env: AmqpEnv) -> None:
    """Each delivery is counted by way of the delay queue; the one after AMQP_MAX_RECEIVES is rejected unbegun."""
    settings = {"AMQP_MAX_RECEIVES": "2"}
    workers = [env.worker(**settings) for _ in range(2)]
    env.client.publish(poison(), QUEUE, delivery_mode=2)
    deaths = 0

    def kill_the_poisoned() -> bool:
        nonlocal deaths
        for index, worker in enumerate(workers):
            if any(one["job_id"] == "poison" and one["receive_count"] <= 2 for one in worker.events("job.received")):
                worker.kill()
                deaths += 1
                workers[index] = env.worker(**settings)
        return deaths >= 2

    wait_until(kill_the_poisoned, "the poison to kill two workers")
    others = {env.request("a.jpg") for _ in range(3)}
    env.put("a.jpg")

    error = env.reply(ERROR)

    assert (error["job_id"], error["error"]["code"]) == ("poison", "retries_exhausted")
    assert deaths == 2
    assert {env.reply()["job_id"] for _ in others} == others
    env.wait_until_empty()


def poison() -> str:
    """A request whose job lasts until its worker is killed."""
    return json.dumps({"job_id": "poison", "files": [{"source": "never.jpg"}], "wait_for": WAITING})


def test_jobs_are_held_while_the_broker_is_short_of_memory(env: AmqpEnv) -> None:
    """As F1. The broker stops reading from whoever publishes; leases are renewed on another connection."""
    worker = env.worker()
    env.request("late.jpg", job_id="late", wait_for=WAITING)
    wait_until(lambda: env.client.take(PROGRESSION), "the job to begin")
    env.broker.control("set_vm_memory_high_watermark", "0.00001")
    try:
        wait_until(lambda: "memory" in env.broker.eval("rabbit_alarm:get_alarms()."), "the alarm")
        env.put("late.jpg")
        paused = worker.wait_for("worker.paused")
        assert paused["reason"].startswith("job_completed: publishing to job_response/job_completed: the broker takes")
    finally:
        env.broker.control("set_vm_memory_high_watermark", "0.4")

    assert env.reply()["job_id"] == "late"
    assert not list(worker.events("job.lease_lost"))
    assert [one["receive_count"] for one in worker.events("job.received")] == [1]


def test_a_queue_that_is_deleted_and_made_again_is_read_again(env: AmqpEnv) -> None:
    """As A16. Health and metrics tell of it, before, meanwhile and afterwards."""
    worker = env.worker(HEALTH_PORT="0")
    assert get(worker, "/health/ready") == (200, "ok\n")
    env.client.delete(QUEUE)
    paused = worker.wait_for("worker.paused")
    assert "no queue 'job_archiver'" in paused["reason"]
    assert get(worker, "/health/ready") == (503, "receiving fails: see worker.receive_failed in the log\n")
    assert get(worker, "/health/live") == (200, "ok\n")
    assert 'archiver_paused{service="archiver"} 1.0' in get(worker, "/metrics")[1]
    arguments = {"x-dead-letter-exchange": "job_delayed", "x-dead-letter-routing-key": QUEUE, "x-max-priority": 100}
    env.client.declare(QUEUE, arguments, ("job_submit", QUEUE))
    env.put("a.jpg")
    env.request("a.jpg", job_id="after")

    assert env.reply()["job_id"] == "after"
    assert get(worker, "/health/ready") == (200, "ok\n")
    counted = 'outcome="done",service="archiver"} 1.0'
    wait_until(lambda: counted in get(worker, "/metrics")[1], "the job to be counted")
    assert 'archiver_paused{service="archiver"} 0.0' in get(worker, "/metrics")[1]
