"""Protection follows the jobs: asked for, renewed, given up; and nobody waits for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from archiver import protection as module
from archiver.errors import Temporary
from archiver.protection import Protection, ProtectionRefused, Terms

QUICK = Terms(minutes=10, idle=0.02, minute=0.004)  # a period of 40 ms


class Orchestrator:
    """Answers as *answers* has it, one after the other, and then well."""

    def __init__(self, *answers: Exception) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.told = asyncio.Condition()

    async def protect(self, minutes: int) -> None:
        await self._note(f"protect for {minutes}")

    async def release(self) -> None:
        await self._note("release")

    async def _note(self, what: str) -> None:
        async with self.told:
            self.asked.append(what)
            self.told.notify_all()
        if self.answers:
            raise self.answers.pop(0)

    async def until(self, *asked: str) -> None:
        async with asyncio.timeout(10), self.told:
            await self.told.wait_for(lambda: self.asked == list(asked))

    async def until_asked(self, times: int) -> None:
        async with asyncio.timeout(10), self.told:
            await self.told.wait_for(lambda: len(self.asked) >= times)


@asynccontextmanager
async def keeping(orchestrator: Orchestrator, terms: Terms = QUICK) -> AsyncIterator[tuple[Protection, asyncio.Event]]:
    refused = asyncio.Event()
    protection = Protection(orchestrator, refused.set, terms)
    task = asyncio.create_task(protection.keep())
    try:
        yield protection, refused
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_nothing_is_asked_while_nothing_runs() -> None:
    orchestrator = Orchestrator()
    async with keeping(orchestrator) as (protection, _):
        protection.busy(0)
        await asyncio.sleep(0.05)

    assert orchestrator.asked == []


async def test_a_job_is_protected_and_the_task_released_after_the_last_one() -> None:
    orchestrator, slow = Orchestrator(), Terms(minutes=10, idle=0.02)
    async with keeping(orchestrator, slow) as (protection, _):
        protection.busy(1)
        await orchestrator.until("protect for 10")
        protection.busy(2)
        protection.busy(1)
        await asyncio.sleep(0.05)
        assert orchestrator.asked == ["protect for 10"]
        protection.busy(0)
        await orchestrator.until("protect for 10", "release")
        protection.busy(1)
        await orchestrator.until("protect for 10", "release", "protect for 10")


async def test_a_long_job_is_protected_again_and_again() -> None:
    """G7"""
    orchestrator = Orchestrator()
    async with keeping(orchestrator) as (protection, _):
        protection.busy(1)
        await orchestrator.until_asked(4)

    assert set(orchestrator.asked) == {"protect for 10"}


def test_protection_is_renewed_before_four_fifths_of_it_are_over() -> None:
    """G7"""
    assert 0 < Terms().renewal <= 0.8 * Terms().minutes * 60


async def test_short_jobs_one_after_the_other_share_one_protection() -> None:
    orchestrator, patient = Orchestrator(), Terms(minutes=10, idle=30)
    async with keeping(orchestrator, patient) as (protection, _):
        for _ in range(5):
            protection.busy(1)
            await asyncio.sleep(0.01)
            protection.busy(0)
            await asyncio.sleep(0.01)

    assert orchestrator.asked == ["protect for 10"]


async def test_a_refusal_is_told_once_and_nothing_more_is_asked() -> None:
    orchestrator = Orchestrator(ProtectionRefused("DEPLOYMENT_BLOCKED"))
    with capture_logs() as logs:
        async with keeping(orchestrator) as (protection, refused):
            protection.busy(1)
            await asyncio.wait_for(refused.wait(), 10)
            protection.busy(0)
            protection.busy(1)
            await asyncio.sleep(0.05)

    assert orchestrator.asked == ["protect for 10"]
    assert [line["event"] for line in logs] == ["protection.refused"]


async def test_a_renewal_can_be_refused_too() -> None:
    """G6"""
    orchestrator = Orchestrator()
    async with keeping(orchestrator) as (protection, refused):
        protection.busy(1)
        await orchestrator.until_asked(1)
        orchestrator.answers = [ProtectionRefused("DEPLOYMENT_BLOCKED")]
        await asyncio.wait_for(refused.wait(), 10)


async def test_a_failure_is_told_once_and_tried_again() -> None:
    orchestrator = Orchestrator(Temporary("no answer"))
    with capture_logs() as logs:
        async with keeping(orchestrator) as (protection, refused):
            protection.busy(1)
            await orchestrator.until_asked(2)  # after the first pause
            assert not refused.is_set()
            await asyncio.sleep(0)

    assert [line["event"] for line in logs] == ["protection.failed", "protection.works"]


async def test_a_failure_is_tried_again_after_a_pause_and_not_after_a_whole_period(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "pause", lambda _: 0.01)
    orchestrator = Orchestrator(Temporary("no answer"))
    async with keeping(orchestrator, Terms(minutes=10)) as (protection, _):
        protection.busy(1)
        await orchestrator.until_asked(2)


async def test_a_task_that_was_never_protected_is_not_released() -> None:
    orchestrator = Orchestrator(Temporary("no answer"))
    async with keeping(orchestrator) as (protection, _):
        protection.busy(1)
        await orchestrator.until_asked(1)
        protection.busy(0)
        await asyncio.sleep(0.1)

    assert orchestrator.asked == ["protect for 10"]


async def test_a_release_that_fails_is_no_trouble() -> None:
    orchestrator, terms = Orchestrator(), Terms(idle=0.01)
    async with keeping(orchestrator, terms) as (protection, refused):
        protection.busy(1)
        await orchestrator.until_asked(1)
        orchestrator.answers = [Temporary("no answer")]
        protection.busy(0)
        await orchestrator.until("protect for 10", "release")
        protection.busy(1)
        await orchestrator.until_asked(3)

    assert not refused.is_set()
