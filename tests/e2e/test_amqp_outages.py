"""RabbitMQ fails, or ends a job, in the middle: every job is answered, and a repeated answer is the same."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import pytest
from emulator import EmulatedAws
from faults.worker_process import wait_until
from processes.archiver_process import Worker

from .amqp_env import COMPLETED, ERROR, PROGRESSION, QUEUE, AmqpEnv
from .rabbit import CHANNELS, Broker

WAITING = {"timeout": 120}


@pytest.fixture
def env(aws: EmulatedAws, broker: Broker) -> Iterator[AmqpEnv]:
    with AmqpEnv(aws, broker) as opened:
        yield opened


def test_a_broker_that_is_killed_in_the_middle_of_jobs_loses_none(env: AmqpEnv) -> None:
    """As A4: the leases are lost at once. The worker connects again, and the jobs are done once more."""
    worker = env.worker()
    jobs = {env.request(f"{number}.jpg", wait_for=WAITING) for number in range(3)}
    wait_until(lambda: len(env.client.take_all(PROGRESSION)) or len(list(worker.events("job.received"))) == 3, "jobs")

    killed_at = monotonic()
    env.broker.kill()
    wait_until(lambda: len(list(worker.events("job.lease_lost"))) == 3, "the jobs to lose their leases")
    lost_after = monotonic() - killed_at
    env.broker.start()
    env.client.connect()
    for number in range(3):
        env.put(f"{number}.jpg")

    assert lost_after < 24, "the lease's own end would be no news"
    assert {env.reply(seconds=60)["job_id"] for _ in jobs} == jobs
    assert [one["receive_count"] for one in worker.events("job.received")] == [1, 1, 1, 2, 2, 2]
    env.wait_until_empty()
    assert env.client.take(ERROR) is None


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
    with ack_timeout(env.broker, 12):
        env.worker(AMQP_ACK_TIMEOUT="12")
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
    """As A16."""
    worker = env.worker()
    env.client.delete(QUEUE)
    paused = worker.wait_for("worker.paused")
    assert "no queue 'job_archiver'" in paused["reason"]
    arguments = {"x-dead-letter-exchange": "job_delayed", "x-dead-letter-routing-key": QUEUE, "x-max-priority": 100}
    env.client.declare(QUEUE, arguments, ("job_submit", QUEUE))
    env.put("a.jpg")
    env.request("a.jpg", job_id="after")

    assert env.reply()["job_id"] == "after"


def test_jobs_that_have_all_channels_keep_their_connection(env: AmqpEnv) -> None:
    """The round trip that renews leases has a channel of its own; the rest of the messages wait in the queue."""
    worker = env.worker()
    jobs = {env.request("late.jpg", wait_for=WAITING) for _ in range(CHANNELS + 4)}
    assert "all 64 channels of the connection are in use" in worker.wait_for("worker.receive_failed")["reason"]
    env.put("late.jpg")

    assert {env.reply()["job_id"] for _ in jobs} == jobs
    assert not list(worker.events("job.lease_lost"))


def test_a_thousand_messages_survive_workers_that_are_killed(env: AmqpEnv) -> None:
    """
    Every job is answered, none is lost, and what is answered twice is answered with the same id. The oldest of three
    workers is killed every two seconds. One job in ten makes an archive, the others are pings that look for an object.
    """
    total, interval = 1000, 2.0
    settings = {"MAX_CONCURRENT_JOBS": "8", "AMQP_MAX_RECEIVES": "50"}
    workers: list[Worker] = [env.worker(**settings) for _ in range(3)]
    env.put("a.jpg")
    files = [{"source": "a.jpg"}]
    bodies = [
        json.dumps({"job_id": f"j{n}", "files": files, **({} if n % 10 == 0 else {"test": True, "wait_for": WAITING})})
        for n in range(total)
    ]
    answered: dict[str, set[str]] = {}
    replies = kills = 0

    def collect() -> bool:
        nonlocal replies
        for reply in env.client.take_all(COMPLETED):
            answer: dict[str, Any] = json.loads(reply.body)
            assert answer["status"] in ("alive", "succeeded")
            assert answer["notification_id"] == reply.properties.message_id
            answered.setdefault(answer["job_id"], set()).add(answer["notification_id"])
            replies += 1
        return len(answered) == total

    next_kill = monotonic() + interval
    env.client.publish_all(bodies, QUEUE)
    deadline = monotonic() + 90
    while not collect():
        assert monotonic() < deadline, f"{len(answered)} of {total} answered after {kills} kills"
        if monotonic() >= next_kill:
            workers.pop(0).kill()
            kills += 1
            workers.append(env.worker(**settings))
            next_kill = monotonic() + interval

    env.wait_until_empty()
    collect()
    assert all(len(ids) == 1 for ids in answered.values())
    assert kills >= 2
    assert env.client.take(ERROR) is None
    print(f"{total} jobs, {replies} replies, {kills} kills")
