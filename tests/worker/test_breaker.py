"""What answers nobody is waited for by all, and what answers somebody is nobody's excuse."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from fakes.faults import ManualClock
from structlog.testing import capture_logs

from archiver.errors import (
    ArchiveExists,
    ArchiverError,
    ConfigurationError,
    LeaseLost,
    RequestRefused,
    SourceUnavailable,
    TransferInterrupted,
    TransientError,
    Undeliverable,
)
from archiver.worker import breaker as module
from archiver.worker.breaker import MIN_FAILURES, MIN_OUTAGE_SECONDS, CircuitBreakers, Place
from archiver.worker.gate import ReceiveGate
from archiver.worker.lease import CONFIRM

BUCKET = Place("S3_DESTINATION_BUCKET", "put")
OTHER = Place("SQS_DESTINATION_QUEUE", "send")
DOWN = TransientError("503")


@dataclass
class HealthEnv:
    """A place that answers `reply`, and a probe of it that answers `probing`; each of them an error or nothing."""

    reply: ArchiverError | None = None
    probing: ArchiverError | None = None
    calls: int = 0
    probes: int = 0
    at_once: int = 0
    most: int = 0
    clock: ManualClock = field(default_factory=ManualClock)
    gate: ReceiveGate = field(default_factory=ReceiveGate)

    def __post_init__(self) -> None:
        self.health = CircuitBreakers(self.gate, clock=self.clock)

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
        await self.fail(MIN_FAILURES - 1)
        self.clock.now += MIN_OUTAGE_SECONDS
        waiting = asyncio.create_task(self.health.call(BUCKET, self.attempt))
        await until(lambda: self.gate.pause_count == 1)
        return waiting


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, object]]]:
    monkeypatch.setattr(module, "configuration_retry_delay", lambda attempt: 0.001 * attempt)
    monkeypatch.setattr(module, "full_jitter", lambda *_: 0.0)
    with capture_logs() as captured:
        yield captured  # type: ignore[misc]


async def test_what_answers_is_passed_through() -> None:
    env = HealthEnv()

    assert await env.health.call(BUCKET, env.attempt, env.probe) == "done"
    assert (env.probes, env.gate.pause_count) == (0, 0)


async def test_a_place_that_answers_nobody_is_waited_for_and_nothing_is_received(
    logs: list[dict[str, object]],
) -> None:
    env = HealthEnv()
    waiting = await env.break_down()
    await until(lambda: env.calls > MIN_FAILURES + 2)
    reopens_in = [env.gate.reopens_in]

    env.reply = None

    assert await waiting == "done"
    assert [*reopens_in, env.gate.reopens_in] == [None, 0]
    assert logs[0]["event"] == "worker.paused"
    assert logs[0]["reason"] == "S3_DESTINATION_BUCKET: 503"
    assert logs[-1]["event"] == "worker.resumed"


async def test_a_few_failures_are_the_callers_affair_however_long_they_take() -> None:
    env = HealthEnv(reply=DOWN)
    await env.fail(MIN_FAILURES - 2)
    env.clock.now += 100

    await env.fail(1)

    assert env.gate.pause_count == 0


async def test_many_failures_in_a_moment_are_the_callers_affair() -> None:
    env = HealthEnv(reply=DOWN)

    await env.fail(MIN_FAILURES * 10)

    assert env.gate.pause_count == 0


@pytest.mark.parametrize("verdict", [None, SourceUnavailable("source_missing", "x"), ArchiveExists("x")])
async def test_an_answer_of_whatever_kind_shows_that_the_place_is_up(verdict: ArchiverError | None) -> None:
    env = HealthEnv(reply=DOWN)
    await env.fail(MIN_FAILURES)
    env.clock.now += MIN_OUTAGE_SECONDS
    env.reply = verdict
    if verdict is None:
        await env.health.call(BUCKET, env.attempt)
    else:
        await env.fail(1)
    env.reply = DOWN

    await env.fail(MIN_FAILURES)

    assert env.gate.pause_count == 0


@pytest.mark.parametrize(
    "error", [TransferInterrupted("cut", received=1), ConfigurationError("denied"), Undeliverable("no")]
)
async def test_bytes_refusals_and_messages_that_are_not_taken_say_nothing_of_an_outage(error: ArchiverError) -> None:
    env = HealthEnv(reply=error)
    await env.fail(MIN_FAILURES)
    env.clock.now += MIN_OUTAGE_SECONDS

    await env.fail(MIN_FAILURES)

    assert env.gate.pause_count == 0


async def test_each_place_and_each_kind_of_call_stands_for_itself() -> None:
    env = HealthEnv()
    waiting = await env.break_down()
    env.reply = None

    assert await env.health.call(OTHER, env.attempt) == "done"
    assert await env.health.call(Place(BUCKET.name, "find"), env.attempt) == "done"
    assert await waiting == "done"


async def test_a_probe_that_answers_puts_the_blame_on_the_call() -> None:
    """One object that nobody can read, among healthy ones."""
    env = HealthEnv(reply=DOWN)
    for _ in range(20):
        env.clock.now += MIN_OUTAGE_SECONDS
        with pytest.raises(TransientError):
            await env.health.call(BUCKET, env.attempt, env.probe)

    assert env.gate.pause_count == 0
    assert env.probes > 0


@pytest.mark.parametrize("answer", [None, SourceUnavailable("source_missing", "no such key")])
async def test_a_probe_asks_while_the_place_is_down_and_calls_go_on_when_it_is_answered(
    answer: ArchiverError | None,
) -> None:
    env = HealthEnv(reply=DOWN, probing=DOWN)
    waiting = []
    for _ in range(MIN_FAILURES + 3):
        env.clock.now += MIN_OUTAGE_SECONDS
        waiting.append(asyncio.create_task(env.health.call(BUCKET, env.attempt, env.probe)))
        await asyncio.sleep(0.01)
    asked = env.calls
    await until(lambda: env.probes > 5)
    assert env.calls == asked  # the probe asks for all

    env.reply, env.probing = None, answer

    told = await asyncio.gather(*waiting, return_exceptions=True)
    assert told.count("done") >= 4
    assert env.gate.pause_count == 0


async def test_while_a_place_is_down_one_asks_at_a_time_and_the_first_answer_lets_all_go_on() -> None:
    env = HealthEnv()
    first = await env.break_down()
    others = [asyncio.create_task(env.health.call(BUCKET, env.attempt)) for _ in range(20)]
    env.most = 0
    await until(lambda: env.calls > MIN_FAILURES + 5)
    assert env.most == 1

    env.reply = None

    assert await asyncio.gather(first, *others) == ["done"] * 21
    assert env.gate.pause_count == 0


async def test_a_verdict_that_a_waiting_call_gets_is_its_own_and_opens_the_gate() -> None:
    env = HealthEnv()
    waiting = await env.break_down()
    other = asyncio.create_task(env.health.call(BUCKET, env.attempt))

    env.reply = ArchiveExists("taken")

    with pytest.raises(ArchiveExists):
        await waiting
    with pytest.raises(ArchiveExists):
        await other
    assert env.gate.pause_count == 0


async def test_when_all_who_wait_are_cancelled_the_gate_opens_and_the_next_failure_shuts_it_again() -> None:
    """With nobody there to ask, it would stay shut for ever."""
    env = HealthEnv()
    waiting = await env.break_down()
    waiting.cancel()
    await asyncio.wait([waiting])
    assert env.gate.reopens_in == 0

    again = asyncio.create_task(env.health.call(BUCKET, env.attempt))
    await until(lambda: env.gate.pause_count == 1)
    env.reply = None
    assert await again == "done"


async def test_a_call_that_waited_is_tried_some_times_before_its_failure_is_told() -> None:
    """Who called has lost patience meanwhile: the wait was none of the call's."""
    env = HealthEnv()
    waiting = await env.break_down()
    answers = iter([None, DOWN, DOWN, None])

    async def flaky() -> str:
        error = next(answers)
        if error is not None:
            raise error
        return "late"

    second = asyncio.create_task(env.health.call(BUCKET, flaky))
    await asyncio.sleep(0)
    env.reply = None
    next(answers)

    assert await waiting == "done"
    assert await second == "late"


async def test_nothing_is_tried_again_once_the_lease_is_lost() -> None:
    """Who asked had looked at the lease before a wait that can take hours."""
    env = HealthEnv()

    def lost() -> None:
        raise LeaseLost("late")

    async def job() -> str:
        CONFIRM.set(lost)
        return await env.health.call(BUCKET, env.attempt)

    env.reply = DOWN
    await env.fail(MIN_FAILURES - 1)
    env.clock.now += MIN_OUTAGE_SECONDS
    with pytest.raises(LeaseLost):
        await job()

    assert env.calls == MIN_FAILURES
    assert env.gate.pause_count == 0


@pytest.mark.parametrize("verdict", [RequestRefused("BadDigest"), Undeliverable("too long")])
async def test_what_is_not_taken_for_its_own_sake_waits_for_nothing(verdict: TransientError) -> None:
    """Asked again for ever, with nothing received meanwhile, it would be taken by nobody either."""
    env = HealthEnv()
    waiting = await env.break_down()
    other = asyncio.create_task(env.health.call(BUCKET, env.attempt))
    await asyncio.sleep(0)

    env.reply = verdict

    async with asyncio.timeout(5):
        told = await asyncio.gather(waiting, other, return_exceptions=True)
    assert list(told) == [verdict, verdict]
    assert env.gate.pause_count == 0


async def test_a_call_that_goes_on_failing_alone_is_told_so() -> None:
    env = HealthEnv()
    waiting = await env.break_down()

    async def poisoned() -> str:
        raise DOWN

    second = asyncio.create_task(env.health.call(BUCKET, poisoned))
    await asyncio.sleep(0)
    env.reply = None

    assert await waiting == "done"
    with pytest.raises(TransientError) as caught:
        await second
    assert caught.value.was_paused
    assert env.gate.pause_count == 0
