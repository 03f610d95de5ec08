"""What answers nobody is waited for by all, and what answers somebody is nobody's excuse."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from fakes.faults import HandClock
from structlog.testing import capture_logs

from archiver.errors import (
    Answered,
    ArchiveExists,
    ArchiverError,
    ConfigurationFault,
    Interrupted,
    LeaseLost,
    SourceUnavailable,
    Temporary,
    Undeliverable,
)
from archiver.worker import breaker as module
from archiver.worker.breaker import FAILURES, PATIENCE, Health, Place
from archiver.worker.gate import Gate
from archiver.worker.lease import CONFIRM

BUCKET = Place("S3_DESTINATION_BUCKET", "put")
OTHER = Place("SQS_DESTINATION_QUEUE", "send")
DOWN = Temporary("503")


@dataclass
class Scene:
    """A place that answers `reply`, and a probe of it that answers `probing`; each of them an error or nothing."""

    reply: ArchiverError | None = None
    probing: ArchiverError | None = None
    calls: int = 0
    probes: int = 0
    at_once: int = 0
    most: int = 0
    clock: HandClock = field(default_factory=HandClock)
    gate: Gate = field(default_factory=Gate)

    def __post_init__(self) -> None:
        self.health = Health(self.gate, clock=self.clock)

    async def attempt(self) -> str:
        self.calls += 1
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await asyncio.sleep(0)
        finally:
            self.at_once -= 1
        if self.reply is not None:
            raise self.reply
        return "done"

    async def probe(self) -> None:
        self.probes += 1
        await asyncio.sleep(0)
        if self.probing is not None:
            raise self.probing

    async def fail(self, times: int, place: Place = BUCKET) -> None:
        """So many failures that are told to who called."""
        for _ in range(times):
            with pytest.raises(ArchiverError):
                await self.health.call(place, self.attempt)

    async def break_down(self) -> "asyncio.Task[str]":
        """The place answers nobody any more; a call that waits for it."""
        self.reply = DOWN
        await self.fail(FAILURES - 1)
        self.clock.now += PATIENCE
        waiting = asyncio.create_task(self.health.call(BUCKET, self.attempt))
        await until(lambda: self.gate.held == 1)
        return waiting


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, object]]]:
    monkeypatch.setattr(module, "pause", lambda attempt: 0.001 * attempt)
    monkeypatch.setattr(module, "full_jitter", lambda *_: 0.0)
    with capture_logs() as captured:
        yield captured  # type: ignore[misc]


async def test_what_answers_is_passed_through() -> None:
    scene = Scene()

    assert await scene.health.call(BUCKET, scene.attempt, scene.probe) == "done"
    assert (scene.probes, scene.gate.held) == (0, 0)


async def test_a_place_that_answers_nobody_is_waited_for_and_nothing_is_received(
    logs: list[dict[str, object]],
) -> None:
    scene = Scene()
    waiting = await scene.break_down()
    await until(lambda: scene.calls > FAILURES + 2)
    shut_for = [scene.gate.shut_for]

    scene.reply = None

    assert await waiting == "done"
    assert [*shut_for, scene.gate.shut_for] == [None, 0]
    assert logs[0]["event"] == "worker.paused"
    assert logs[0]["reason"] == "S3_DESTINATION_BUCKET: 503"
    assert logs[-1]["event"] == "worker.resumed"


async def test_a_few_failures_are_the_callers_affair_however_long_they_take() -> None:
    scene = Scene(reply=DOWN)
    await scene.fail(FAILURES - 2)
    scene.clock.now += 100

    await scene.fail(1)

    assert scene.gate.held == 0


async def test_many_failures_in_a_moment_are_the_callers_affair() -> None:
    scene = Scene(reply=DOWN)

    await scene.fail(FAILURES * 10)

    assert scene.gate.held == 0


@pytest.mark.parametrize("verdict", [None, SourceUnavailable("source_missing", "x"), ArchiveExists("x")])
async def test_an_answer_of_whatever_kind_shows_that_the_place_is_up(verdict: ArchiverError | None) -> None:
    scene = Scene(reply=DOWN)
    await scene.fail(FAILURES)
    scene.clock.now += PATIENCE
    scene.reply = verdict
    if verdict is None:
        await scene.health.call(BUCKET, scene.attempt)
    else:
        await scene.fail(1)
    scene.reply = DOWN

    await scene.fail(FAILURES)

    assert scene.gate.held == 0


@pytest.mark.parametrize("error", [Interrupted("cut", received=1), ConfigurationFault("denied"), Undeliverable("no")])
async def test_bytes_refusals_and_messages_that_are_not_taken_say_nothing_of_an_outage(error: ArchiverError) -> None:
    scene = Scene(reply=error)
    await scene.fail(FAILURES)
    scene.clock.now += PATIENCE

    await scene.fail(FAILURES)

    assert scene.gate.held == 0


async def test_each_place_and_each_kind_of_call_stands_for_itself() -> None:
    scene = Scene()
    waiting = await scene.break_down()
    scene.reply = None

    assert await scene.health.call(OTHER, scene.attempt) == "done"
    assert await scene.health.call(Place(BUCKET.name, "find"), scene.attempt) == "done"
    assert await waiting == "done"


async def test_a_probe_that_answers_puts_the_blame_on_the_call() -> None:
    """One object that nobody can read, among healthy ones."""
    scene = Scene(reply=DOWN)
    for _ in range(20):
        scene.clock.now += PATIENCE
        with pytest.raises(Temporary):
            await scene.health.call(BUCKET, scene.attempt, scene.probe)

    assert scene.gate.held == 0
    assert scene.probes > 0


@pytest.mark.parametrize("answer", [None, SourceUnavailable("source_missing", "no such key")])
async def test_a_probe_asks_while_the_place_is_down_and_calls_go_on_when_it_is_answered(
    answer: ArchiverError | None,
) -> None:
    scene = Scene(reply=DOWN, probing=DOWN)
    waiting = []
    for _ in range(FAILURES + 3):
        scene.clock.now += PATIENCE
        waiting.append(asyncio.create_task(scene.health.call(BUCKET, scene.attempt, scene.probe)))
        await asyncio.sleep(0.01)
    asked = scene.calls
    await until(lambda: scene.probes > 5)
    assert scene.calls == asked  # the probe asks for all

    scene.reply, scene.probing = None, answer

    told = await asyncio.gather(*waiting, return_exceptions=True)
    assert told.count("done") >= 4
    assert scene.gate.held == 0


async def test_while_a_place_is_down_one_asks_at_a_time_and_the_first_answer_lets_all_go_on() -> None:
    scene = Scene()
    first = await scene.break_down()
    others = [asyncio.create_task(scene.health.call(BUCKET, scene.attempt)) for _ in range(20)]
    scene.most = 0
    await until(lambda: scene.calls > FAILURES + 5)
    assert scene.most == 1

    scene.reply = None

    assert await asyncio.gather(first, *others) == ["done"] * 21
    assert scene.gate.held == 0


async def test_a_verdict_that_a_waiting_call_gets_is_its_own_and_opens_the_gate() -> None:
    scene = Scene()
    waiting = await scene.break_down()
    other = asyncio.create_task(scene.health.call(BUCKET, scene.attempt))

    scene.reply = ArchiveExists("taken")

    with pytest.raises(ArchiveExists):
        await waiting
    with pytest.raises(ArchiveExists):
        await other
    assert scene.gate.held == 0


async def test_when_all_who_wait_are_cancelled_the_gate_opens_and_the_next_failure_shuts_it_again() -> None:
    """With nobody there to ask, it would stay shut for ever."""
    scene = Scene()
    waiting = await scene.break_down()
    waiting.cancel()
    await asyncio.wait([waiting])
    assert scene.gate.shut_for == 0

    again = asyncio.create_task(scene.health.call(BUCKET, scene.attempt))
    await until(lambda: scene.gate.held == 1)
    scene.reply = None
    assert await again == "done"


async def test_a_call_that_waited_is_tried_some_times_before_its_failure_is_told() -> None:
    """Who called has lost patience meanwhile: the wait was none of the call's."""
    scene = Scene()
    waiting = await scene.break_down()
    answers = iter([None, DOWN, DOWN, None])

    async def flaky() -> str:
        error = next(answers)
        if error is not None:
            raise error
        return "late"

    second = asyncio.create_task(scene.health.call(BUCKET, flaky))
    await asyncio.sleep(0)
    scene.reply = None
    next(answers)

    assert await waiting == "done"
    assert await second == "late"


async def test_nothing_is_tried_again_once_the_lease_is_lost() -> None:
    """Who asked had looked at the lease before a wait that can take hours."""
    scene = Scene()

    def lost() -> None:
        raise LeaseLost("late")

    async def job() -> str:
        CONFIRM.set(lost)
        return await scene.health.call(BUCKET, scene.attempt)

    scene.reply = DOWN
    await scene.fail(FAILURES - 1)
    scene.clock.now += PATIENCE
    with pytest.raises(LeaseLost):
        await job()

    assert scene.calls == FAILURES
    assert scene.gate.held == 0


@pytest.mark.parametrize("verdict", [Answered("BadDigest"), Undeliverable("too long")])
async def test_what_is_not_taken_for_its_own_sake_waits_for_nothing(verdict: Temporary) -> None:
    """Asked again for ever, with nothing received meanwhile, it would be taken by nobody either."""
    scene = Scene()
    waiting = await scene.break_down()
    other = asyncio.create_task(scene.health.call(BUCKET, scene.attempt))
    await asyncio.sleep(0)

    scene.reply = verdict

    async with asyncio.timeout(5):
        told = await asyncio.gather(waiting, other, return_exceptions=True)
    assert list(told) == [verdict, verdict]
    assert scene.gate.held == 0


async def test_a_call_that_goes_on_failing_alone_is_told_so() -> None:
    scene = Scene()
    waiting = await scene.break_down()

    async def poisoned() -> str:
        raise DOWN

    second = asyncio.create_task(scene.health.call(BUCKET, poisoned))
    await asyncio.sleep(0)
    scene.reply = None

    assert await waiting == "done"
    with pytest.raises(Temporary) as caught:
        await second
    assert caught.value.waited
    assert scene.gate.held == 0
