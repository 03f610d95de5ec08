"""
The archiver itself: worker and pipeline as served, with default settings; only the queues are in memory.

    run_archiver.py ENDPOINT LOAD COUNT SIZE JOBS KEY_PREFIX

All messages are in the queue at the start. Time runs from the first receive to the last delete: the CPU time of what
is imported and opened before is start-up, of what a job loads late is work. MEMORY_BUDGET_MIB is taken from the
environment.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from workloads import Workload, request_of

from archiver.app import MAX_CONCURRENT_READS, archive_rules, open_aws
from archiver.aws.clients import ClientLimits
from archiver.aws.s3_store import S3Store
from archiver.doors.destination import open_receipts
from archiver.doors.links import build_links
from archiver.jobs.answers import Answers, Fanout
from archiver.jobs.archive import ArchiveWork
from archiver.jobs.pipeline import Pipeline
from archiver.ports import Attribute, JobResult, Message, OutgoingMessage, QueueFacts, Rejection
from archiver.settings import load_settings
from archiver.stages.budget import BufferPool
from archiver.stages.fetch import Fetcher
from archiver.stages.limiter import AdaptiveLimiter
from archiver.telemetry.logs import configure_logs
from archiver.worker.collector import collect_rarely
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


@dataclass(frozen=True, slots=True)
class Measured:
    """A worker's *keys*, job by job; *started* and *ended* in seconds of the machine's monotonic clock."""

    keys: list[str]
    started: float
    ended: float
    cpu_s: float


async def run(load: Workload, prefix: str, jobs: Sequence[int], wait_for_start: Callable[[], object] = int) -> Measured:
    """Work off the *jobs* of the load, by number, as soon as *wait_for_start* returns. Exits where one fails."""
    settings = load_settings(
        {
            "SQS_SOURCE_QUEUE": "bench",
            "S3_SOURCE_BUCKET": "bench-source",
            "S3_DESTINATION_BUCKET": "bench-archives",
            "MEMORY_BUDGET_MIB": os.environ.get("MEMORY_BUDGET_MIB", ""),
        }
    )
    request, numbers = request_of(load.name), load.split()
    requests = {f"{prefix}-{job}": request(load.name, numbers[job]) for job in jobs}
    queues = Queues([json.dumps({"job_id": job, **fields}) for job, fields in requests.items()])
    gate = ReceiveGate()
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
        collect_rarely()
        wait_for_start()
        started, cpu = time.monotonic(), time.process_time()
        await worker.run(queues.done)
        ended, cpu = time.monotonic(), time.process_time() - cpu
    if queues.failure:
        sys.exit(queues.failure)
    return Measured([queues.keys[job] for job in requests], started, ended, cpu)


def read_arguments(arguments: Sequence[str]) -> tuple[Workload, str]:
    """The load and the prefix of a command line."""
    _endpoint, name, count, size, jobs, prefix = arguments
    return Workload(name, "", int(count), int(size), 0, int(jobs)), prefix


def start_logs() -> None:
    """To standard error: the figures go to standard output."""
    configure_logs(stream=sys.stderr)


def main() -> None:
    load, prefix = read_arguments(sys.argv[1:])
    start_logs()
    done = asyncio.run(run(load, prefix, range(load.jobs)))
    print(json.dumps({"wall_s": done.ended - done.started, "cpu_s": done.cpu_s, "keys": done.keys}))


if __name__ == "__main__":
    main()
