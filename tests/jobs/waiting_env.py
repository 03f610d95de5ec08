"""A worker on the fakes whose jobs wait, in the event loop's time, which may pass instantly."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from fakes import FakeObserver, FakeQueue, FakeRestorer
from instant_loop import run_instantly
from worker.pipeline_env import ARN, RULES, PipelineEnv

from archiver.core.waiting import WaitRules
from archiver.jobs.archive import ArchiveWork
from archiver.ports import QueueFacts
from archiver.worker.gate import ReceiveGate
from archiver.worker.heartbeat import Heartbeat
from archiver.worker.loop import Worker, WorkerLimits
from archiver.worker.settle import Settler

T = TypeVar("T")
VISIBILITY = 300
WAITS = replace(RULES, waiting=WaitRules(3600, ("Standard", "Bulk"), 7, 21_600))


@dataclass
class WaitEnv(PipelineEnv):
    """A worker with *slots* on the fakes, in the event loop's time, which may pass instantly."""

    rules: Any = WAITS
    slots: int = 1
    max_parked: int = 100
    visibility: int = VISIBILITY
    gate: ReceiveGate = field(default_factory=ReceiveGate)
    observer: FakeObserver = field(default_factory=FakeObserver)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        facts = QueueFacts(ARN, self.visibility, 43_200, 5)
        self.queue = FakeQueue(facts, dead_letters=self.dead, clock=self.now, wait_seconds=20)
        self.restorer = FakeRestorer(self.stage.s3)
        self.pipeline = self.make()

    def work(self, restorer: FakeRestorer | None = None) -> ArchiveWork:
        return super().work(restorer or self.restorer)

    @staticmethod
    def now() -> float:
        return asyncio.get_running_loop().time()

    def start(self) -> asyncio.Task[None]:
        settler = Settler(self.queue, self.pipeline, self.gate, self.observer, clock=self.now)
        limits = WorkerLimits(self.slots, wait=20, grace=30, max_parked=self.max_parked)
        self.worker = Worker(self.queue, settler, self.gate, limits, heartbeat=Heartbeat())
        return asyncio.create_task(self.worker.run(self.stop))

    def order(self, *keys: str, timeout: int | None = 900, **fields: Any) -> str:
        """Send a request that waits."""
        wait = {} if timeout is None else {"wait_for": {"timeout": timeout}}
        files = {"files": [{"source": key} for key in keys]} if keys else {}
        return self.queue.put(json.dumps({**files, **wait, **fields}))

    async def end(self, running: asyncio.Task[None]) -> None:
        self.stop.set()
        await running

    def receives(self) -> set[int]:
        return {message.receive_count for message in self.queue.messages}

    def heads(self) -> int:
        return self.stage.reader.faults.calls["head"]


async def until(condition: Callable[[], object], most: float = 40_000) -> None:
    async with asyncio.timeout(most):
        while not condition():
            await asyncio.sleep(1)


async def soon(work: Coroutine[Any, Any, T]) -> T:
    """Run *work*, which must not wait."""
    async with asyncio.timeout(5):
        return await work


def instantly(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def run() -> None:
        run_instantly(test())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run
