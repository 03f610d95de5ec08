"""
The archiver itself: worker and pipeline as served, with default settings; only the queues are in memory.

    run_archiver.py ENDPOINT LOAD COUNT SIZE JOBS KEY_PREFIX

All messages are in the queue at the start. Time runs from the first receive to the last delete.
"""

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime

from workloads import Workload

from archiver.app import MAX_CONCURRENT_READS, archive_rules, build_links, open_aws, open_receipts
from archiver.aws.clients import ClientLimits
from archiver.aws.s3 import S3Store
from archiver.jobs.answers import Answers, Fanout
from archiver.jobs.archive import ArchiveWork
from archiver.jobs.pipeline import Pipeline
from archiver.ports import Attribute, JobResult, Message, OutgoingMessage, QueueFacts, Rejection
from archiver.settings import load_settings
from archiver.stages.budget import BufferPool
from archiver.stages.fetch import Fetcher
from archiver.stages.limiter import AdaptiveLimiter
from archiver.telemetry.logs import configure_logs
from archiver.worker.gate import ReceiveGate
from archiver.worker.heartbeat import Heartbeat
from archiver.worker.loop import Worker, WorkerLimits
from archiver.worker.settle import Settler

FACTS = QueueFacts("arn:aws:sqs:us-east-1:000000000000:bench", visibility=60, longest=43_200)


class Queues:
    """Source, dead letters and answer queue: messages to receive, and the keys of the archives in the answers."""

    facts = FACTS

    def __init__(self, bodies: list[str]) -> None:
        now = datetime.now(UTC)
        self._waiting = [Message(f"m{i}", body, "", 0.0, 1, now) for i, body in enumerate(bodies)]
        self._left = len(bodies)
        self.keys: dict[str, str] = {}
        self.failure = ""
        self.done = asyncio.Event()

    async def receive(self, limit: int) -> list[Message]:
        if not self._waiting:
            await self.done.wait()
        taken, self._waiting = self._waiting[:limit], self._waiting[limit:]
        return [
            Message(one.id, one.body, one.receipt, time.monotonic(), one.receive_count, one.sent_at) for one in taken
        ]

    async def extend(self, message: Message, seconds: int) -> None:
        """No other consumer waits for a message."""

    async def release(self, message: Message, delay: int) -> None:
        self._fail(f"{message.id} was released for {delay} s; the log says why")

    async def delete(self, message: Message) -> None:
        del message
        self._left -= 1
        if not self._left:
            self.done.set()

    async def put(self, message: Message, rejection: Rejection) -> None:
        self._fail(f"{message.id} was rejected: {rejection.code}: {rejection.message}")

    def _fail(self, reason: str) -> None:
        self.failure = reason
        self.done.set()

    def ended(self, job: JobResult) -> None:
        """Jobs are not counted here."""

    def max_body_bytes(self, attributes: Mapping[str, Attribute]) -> int:
        del attributes
        return 1 << 20

    async def send(self, note: OutgoingMessage) -> None:
        answer = json.loads(note.body)
        self.keys[answer["job_id"]] = answer["archive"]["key"]


async def run(load: Workload, prefix: str) -> dict[str, object]:
    settings = load_settings(
        {"SQS_SOURCE_QUEUE": "bench", "S3_SOURCE_BUCKET": "bench-source", "S3_DESTINATION_BUCKET": "bench-archives"}
    )
    jobs = [f"{prefix}-{number}" for number in range(load.jobs)]
    names = [f"{load.name}/{index:06}.jpg" for index in range(load.count)]
    requests = [
        json.dumps(
            {"job_id": job, "files": [{"source": name, "name": name} for name in names[numbers.start : numbers.stop]]}
        )
        for job, numbers in zip(jobs, load.split(), strict=True)
    ]
    queues, gate = Queues(requests), ReceiveGate()
    limits = ClientLimits(
        wait_seconds=settings.wait_seconds,
        jobs=settings.max_concurrent_jobs,
    )
    async with open_aws(limits) as (clients, reader):
        rules, store = archive_rules(settings), S3Store(clients, settings.destination_bucket)
        receipts = open_receipts(clients, settings.destination_bucket)
        work = ArchiveWork(
            rules,
            fetcher=Fetcher(reader, AdaptiveLimiter(MAX_CONCURRENT_READS)),
            store=store,
            receipts=receipts,
            budget=BufferPool(settings.memory_budget),
        )
        pipeline = Pipeline(
            rules,
            {"archive": work},
            facts=FACTS,
            store=store,
            receipts=receipts,
            dead_letters=queues,
            answers=Answers(success=Fanout(queues)),
            links=build_links(settings),
        )
        settler = Settler(queues, pipeline, gate, queues)
        pace = WorkerLimits(settings.max_concurrent_jobs, settings.wait_seconds, 1)
        worker = Worker(queues, settler, gate, pace, heartbeat=Heartbeat())
        wall, cpu = time.perf_counter(), time.process_time()
        await worker.run(queues.done)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if queues.failure:
        sys.exit(queues.failure)
    return {"wall_s": wall, "cpu_s": cpu, "keys": [queues.keys[job] for job in jobs]}


if __name__ == "__main__":
    _endpoint, name, count, size, jobs, prefix = sys.argv[1:]
    configure_logs(stream=sys.stderr)
    print(json.dumps(asyncio.run(run(Workload(name, "", int(count), int(size), 0, int(jobs)), prefix))))
