"""
One body, handled as the worker handles it, in a process of its own: what it costs.

    cd tests; python -m fuzz.measure [SHAPE ...]          a table; without names, of all shapes
    cd tests; python -m fuzz.measure --one SHAPE SIZE     one of them, as JSON
"""

import asyncio
import json
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog
from fakes.objects import FakeReader, FakeS3
from fakes.queues import FakeDeadLetters, FakeNotifier, FakeQueue
from fakes.receipts import FakeReceipts
from fakes.store import FakeStore

from archiver.core.archive_rules import ArchiveRules
from archiver.core.locations import AllowList, PlainLinks
from archiver.jobs.answers import Answers, Fanout
from archiver.jobs.archive import ArchiveWork
from archiver.jobs.pipeline import Pipeline
from archiver.ports import JobResult, QueueFacts
from archiver.stages.budget import BufferPool
from archiver.stages.fetch import Fetcher
from archiver.stages.limiter import AdaptiveLimiter
from archiver.worker.gate import ReceiveGate
from archiver.worker.settle import Settler
from archiver.worker.slots import Slots
from fuzz.shapes import SHAPES

TESTS = Path(__file__).resolve().parents[1]
MIB = 1024 * 1024
BEAT = 0.005  # seconds

LONGEST = 1.0
"""Seconds without a turn of the event loop that one body may cost."""

LARGEST = 100.0
"""MiB that one body may cost."""


@dataclass(frozen=True, slots=True)
class Cost:
    """
    What one body cost. *outcome* is the code of its rejection, or how its job ended; *lag* the longest time without a
    turn of the event loop, *cpu* all there was, both in seconds of the processor, so that a busy machine counts for
    nothing; *memory* by how many MiB the process grew at most; *told* the longest of what was said about it, in
    characters: log lines, attributes, answers without their lists and metadata.
    """

    shape: str
    size: int
    outcome: str
    lag: float
    cpu: float
    memory: float
    told: int


class _Last:
    """An Observer that remembers the last ending."""

    ended_as = ""

    def ended(self, ended: JobResult) -> None:
        self.ended_as = ended.code or ended.outcome


class _Longest:
    """The longest line that was logged."""

    length = 0

    def __call__(self, _: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        self.length = max(self.length, *(len(str(value)) for value in event.values()))
        raise structlog.DropEvent


async def _lag(until: asyncio.Event) -> float:
    worst, last = 0.0, time.process_time()
    while not until.is_set():
        await asyncio.sleep(BEAT)
        now = time.process_time()
        worst, last = max(worst, now - last), now
    return worst


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def measure(shape: str, size: int) -> Cost:
    """Handle that body in this process, whose memory may have grown before."""
    longest, last = _Longest(), _Last()
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, longest])
    s3 = FakeS3()
    s3.put("source", "a", b"")
    store, dead, answers = FakeStore(s3), FakeQueue(), FakeNotifier()
    queue = FakeQueue(QueueFacts("arn", 3600, 43_200, 1), dead_letters=dead)
    rules = ArchiveRules("source", "archives", AllowList("archives"))
    receipts = FakeReceipts(s3)
    work = ArchiveWork(
        rules,
        fetcher=Fetcher(FakeReader(s3), AdaptiveLimiter(128)),
        store=store,
        receipts=receipts,
        budget=BufferPool(64 * MIB),
    )
    pipeline = Pipeline(
        rules,
        {"archive": work},
        facts=queue.facts,
        store=store,
        receipts=receipts,
        dead_letters=FakeDeadLetters(dead),
        answers=Answers(Fanout(answers), Fanout(answers)),
        links=PlainLinks(None, "archives"),
    )
    settler = Settler(queue, pipeline, ReceiveGate(), last)

    async def handle(body: str) -> None:
        queue.put(body)
        (message,) = await queue.receive(1)
        await settler.handle(message, Slots(1, lambda _: None).claim())

    await handle('{"files":[{"source":"a"}]}')  # whatever is loaded late is loaded now
    await handle('{"files":[{"source":"b"}]}')
    body = SHAPES[shape](size)
    if len(body.encode(errors="surrogatepass")) > size:
        raise SystemExit(f"{shape}: larger than {size} bytes")
    over, before, cpu = asyncio.Event(), _peak(), time.process_time()
    beating = asyncio.create_task(_lag(over))
    await asyncio.sleep(0.05)
    await handle(body)
    over.set()
    lag = await beating
    reasons = [attribute.value for message in dead.messages for attribute in message.attributes.values()]
    answer = {**json.loads(answers.sent[-1].body), "metadata": None, "missing": None, "renamed": None}
    if "error" in answer:
        answer["error"]["sources"] = None
    told = max(longest.length, len(json.dumps(answer, ensure_ascii=False)), *(len(value) for value in reasons))
    return Cost(shape, size, last.ended_as, lag, time.process_time() - cpu, _peak() - before, told)


def cost_of(shape: str, size: int) -> Cost:
    """Handle that body in a process of its own."""
    command = [sys.executable, "-m", "fuzz.measure", "--one", shape, str(size)]
    ran = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, timeout=600, check=False)
    if ran.returncode:
        raise RuntimeError(f"{shape}: {ran.stderr[-2000:]}")
    return Cost(**json.loads(ran.stdout))


def line_of(cost: Cost) -> str:
    """One line of the table."""
    return (
        f"{cost.shape:42} {cost.outcome:18} lag {cost.lag:7.3f} s   CPU {cost.cpu:7.3f} s   "
        f"{cost.memory:6.1f} MiB   told {cost.told:>9,}"
    )


def main(arguments: list[str]) -> int:
    """Print one cost as JSON, or a table. The exit code is 1 where something costs too much."""
    if arguments[:1] == ["--one"]:
        print(json.dumps(asdict(asyncio.run(measure(arguments[1], int(arguments[2]))))))
        return 0
    shapes = arguments or list(SHAPES)
    print(f"{len(shapes)} shapes of {MIB:,} bytes, {datetime.now(UTC):%Y-%m-%d}, Python {sys.version.split()[0]}")
    dear = 0
    for shape in shapes:
        cost = cost_of(shape, MIB)
        dear += cost.lag > LONGEST or cost.memory > LARGEST
        print(line_of(cost), flush=True)
    return 1 if dear else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
