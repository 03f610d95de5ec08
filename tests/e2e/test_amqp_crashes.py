"""The broker and workers are killed in the middle of many jobs: all are answered, and repeated answers are equal."""

import json
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest
from emulator import EmulatedAws
from faults.worker_process import wait_until
from processes.archiver_process import Worker

from .amqp_env import COMPLETED, ERROR, PROGRESSION, QUEUE, AmqpEnv
from .rabbit import Broker

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


def test_a_thousand_messages_survive_workers_that_are_killed(env: AmqpEnv) -> None:
    """
    Every job is answered, none is lost, and what is answered twice is answered with the same id. The oldest of three
    workers is killed every two seconds. One job in twenty makes an archive, the others are pings that look
    for an object.
    """
    total, interval = 1000, 2.0
    settings = {"MAX_CONCURRENT_JOBS": "8", "AMQP_MAX_RECEIVES": "50"}
    workers: list[Worker] = [env.worker(**settings) for _ in range(3)]
    env.put("a.jpg")
    files = [{"source": "a.jpg"}]
    ping = {"test": True, "wait_for": WAITING}
    bodies = [json.dumps({"job_id": f"j{n}", "files": files, **({} if n % 20 == 0 else ping)}) for n in range(total)]
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
    deadline = monotonic() + 180
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
