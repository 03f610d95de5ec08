"""Scale-in protection is requested, renewed and released as jobs run. No job waits for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from instant_loop import run_instantly
from structlog.testing import capture_logs

from archiver.errors import TransientError
from archiver.worker import protection as module
from archiver.worker.protection import Protection, ProtectionConfig, ProtectionRefused

QUICK = ProtectionConfig(minutes=10, max_minutes=10, idle_seconds=0.02, minute_seconds=0.004)  # a period of 40 ms


class Orchestrator:
    """Raises *answers* one after the other, then accepts every call. `asked` records the calls."""

    def __init__(self, *answers: Exception) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.changed = asyncio.Condition()
        self.seen: list[bool | Exception] = []

    async def protect(self, minutes: int) -> None:
        await self._note(f"protect for {minutes}")

    async def release(self) -> None:
        await self._note("release")

    async def replaced(self) -> bool:
        seen = self.seen.pop(0) if self.seen else False
        if isinstance(seen, Exception):
            raise seen
        return seen

    async def _note(self, what: str) -> None:
        async with self.changed:
            self.asked.append(what)
            self.changed.notify_all()
        if self.answers:
            raise self.answers.pop(0)

    async def until(self, *asked: str) -> None:
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(lambda: self.asked == list(asked))

    async def until_asked(self, times: int) -> None:
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(lambda: len(self.asked) >= times)


@asynccontextmanager
async def keeping(
    orchestrator: Orchestrator, terms: ProtectionConfig = QUICK
) -> AsyncIterator[tuple[Protection, asyncio.Event]]:
    refused = asyncio.Event()
    protection = Protection(orchestrator, refused.set, terms)
    task = asyncio.create_task(protection.run())
    try:
        yield protection, refused
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_no_protection_is_requested_while_no_job_runs() -> None:
    orchestrator = Orchestrator()
    async with keeping(orchestrator) as (protection, _):
        protection.on_running_changed(0)
        await asyncio.sleep(0.05)

    assert orchestrator.asked == []


async def test_protection_begins_with_the_first_job_and_is_released_after_the_last() -> None:
    orchestrator, slow = Orchestrator(), ProtectionConfig(minutes=10, idle_seconds=0.02)
    async with keeping(orchestrator, slow) as (protection, _):
        protection.on_running_changed(1)
        await orchestrator.until("protect for 10")
        protection.on_running_changed(2)
        protection.on_running_changed(1)
        await asyncio.sleep(0.05)
        assert orchestrator.asked == ["protect for 10"]
        protection.on_running_changed(0)
        await orchestrator.until("protect for 10", "release")
        protection.on_running_changed(1)
        await orchestrator.until("protect for 10", "release", "protect for 10")


async def test_protection_is_renewed_repeatedly_during_a_long_job() -> None:
    """G7: each period while the job runs."""
    orchestrator = Orchestrator()
    async with keeping(orchestrator) as (protection, _):
        protection.on_running_changed(1)
        await orchestrator.until_asked(4)

    assert set(orchestrator.asked) == {"protect for 10"}


def test_protection_is_renewed_well_before_it_expires() -> None:
    """G7: after at most a fifth of its period."""
    assert 0 < ProtectionConfig().renewal_seconds <= ProtectionConfig().minutes * 60 / 5


@pytest.mark.parametrize(
    ("worked", "minutes"), [(0, 60), (30, 60), (31, 62), (300, 600), (24 * 60, 2880), (90_000, 2880)]
)
def test_the_protection_period_grows_with_the_duration_of_the_job(worked: float, minutes: int) -> None:
    """G7: twice the time that the job has taken so far. ECS accepts at most 2,880 minutes."""
    assert ProtectionConfig().minutes_for(worked * 60) == minutes


async def test_consecutive_short_jobs_share_one_protection() -> None:
    orchestrator, config = Orchestrator(), ProtectionConfig(minutes=10, idle_seconds=30)
    async with keeping(orchestrator, config) as (protection, _):
        for _ in range(5):
            protection.on_running_changed(1)
            await asyncio.sleep(0.01)
            protection.on_running_changed(0)
            await asyncio.sleep(0.01)

    assert orchestrator.asked == ["protect for 10"]


BLOCKED = ProtectionRefused("DEPLOYMENT_BLOCKED")


async def test_a_protection_refusal_is_logged_once_and_retried_while_jobs_continue() -> None:
    """G6: DEPLOYMENT_BLOCKED three times, then accepted."""
    orchestrator = Orchestrator(BLOCKED, BLOCKED, BLOCKED)
    with capture_logs() as logs:
        async with keeping(orchestrator) as (protection, drained):
            protection.on_running_changed(1)
            await orchestrator.until_asked(5)
            assert not drained.is_set()

    assert [line["event"] for line in logs] == ["protection.refused", "protection.works"]


async def test_a_refused_renewal_keeps_the_current_protection_until_no_job_is_running() -> None:
    """G6: releasing it lets scale-in continue. Otherwise short jobs would renew it indefinitely."""
    orchestrator, config = (
        Orchestrator(),
        ProtectionConfig(renew_every_minutes=1, idle_seconds=3600, minute_seconds=0.01),
    )
    async with keeping(orchestrator, config) as (protection, drained):
        protection.on_running_changed(1)
        await orchestrator.until_asked(1)
        orchestrator.answers = [BLOCKED] * 1000
        await orchestrator.until_asked(3)
        assert "release" not in orchestrator.asked
        orchestrator.answers = []
        orchestrator.answers = [BLOCKED]
        await orchestrator.until_asked(len(orchestrator.asked) + 1)
        protection.on_running_changed(0)
        async with asyncio.timeout(10), orchestrator.changed:
            await orchestrator.changed.wait_for(lambda: orchestrator.asked[-1] == "release")

    assert not drained.is_set()


async def test_a_replaced_task_drains_once_and_stays_protected_until_its_jobs_end() -> None:
    """G6: the replacement must be seen twice, so that a revision that fails soon drains no task."""
    orchestrator = Orchestrator()
    orchestrator.seen = [True, False, TransientError("no answer"), True, True, True]
    with capture_logs() as logs:
        async with keeping(orchestrator) as (protection, drained):
            protection.on_running_changed(1)
            await asyncio.wait_for(drained.wait(), 10)
            asked = len(orchestrator.asked)
            await orchestrator.until_asked(asked + 3)

    assert asked == 6, "the first request does not check for a replacement"
    assert [line["event"] for line in logs] == ["protection.unseen", "protection.replaced"]
    assert set(orchestrator.asked) == {"protect for 10"}


async def test_a_failed_protection_request_is_logged_once_and_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "configuration_retry_delay", lambda _: 0.01)
    orchestrator = Orchestrator(TransientError("no answer"))
    with capture_logs() as logs:
        async with keeping(orchestrator) as (protection, refused):
            protection.on_running_changed(1)
            await orchestrator.until_asked(2)  # after the first pause
            assert not refused.is_set()
            await asyncio.sleep(0)

    assert [line["event"] for line in logs] == ["protection.failed", "protection.works"]


async def test_a_failed_protection_request_is_retried_before_the_next_renewal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "configuration_retry_delay", lambda _: 0.01)
    orchestrator = Orchestrator(TransientError("no answer"))
    async with keeping(orchestrator, ProtectionConfig(minutes=10)) as (protection, _):
        protection.on_running_changed(1)
        await orchestrator.until_asked(2)


async def test_a_task_that_was_never_protected_is_not_released() -> None:
    orchestrator = Orchestrator(TransientError("no answer"))
    async with keeping(orchestrator) as (protection, _):
        protection.on_running_changed(1)
        await orchestrator.until_asked(1)
        protection.on_running_changed(0)
        await asyncio.sleep(0.1)

    assert orchestrator.asked == ["protect for 10"]


async def test_a_failed_release_does_not_drain_the_task() -> None:
    orchestrator, terms = Orchestrator(), ProtectionConfig(minutes=10, idle_seconds=0.01)
    async with keeping(orchestrator, terms) as (protection, refused):
        protection.on_running_changed(1)
        await orchestrator.until_asked(1)
        orchestrator.answers = [TransientError("no answer")]
        protection.on_running_changed(0)
        await orchestrator.until("protect for 10", "release")
        protection.on_running_changed(1)
        await orchestrator.until_asked(3)

    assert not refused.is_set()


def test_a_failed_release_is_retried_until_it_succeeds() -> None:
    """Protection may last two days. An idle task that keeps it could not be stopped by scale-in."""

    async def day() -> None:
        orchestrator = Orchestrator()
        async with keeping(orchestrator, ProtectionConfig()) as (protection, _):
            protection.on_running_changed(1)
            await asyncio.sleep(60)
            orchestrator.answers = [TransientError("no answer"), BLOCKED]
            protection.on_running_changed(0)
            await asyncio.sleep(60)

        assert orchestrator.asked == ["protect for 60", "release", "release", "release"]

    run_instantly(day())
