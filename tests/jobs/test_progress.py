"""How a job goes is told while it goes, and whoever is told delays nothing and fails nothing."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from fakes import FakeHold, FakeNotifier
from structlog.testing import capture_logs

from archiver.core.archive_rules import ArchiveRules
from archiver.core.locations import AllowList
from archiver.errors import ConfigurationError, LeaseLost, TransientError
from archiver.jobs import progress as events
from archiver.jobs.identity import JobIdentity
from archiver.jobs.progress import reporting_progress
from archiver.ports import Message, OutgoingMessage
from archiver.stages.progress import Progress

RULES = ArchiveRules("source", "archives", AllowList("archives"))
BODY = json.dumps({"job_id": "j", "files": [{"source": "a"}], "metadata": {"k": "v"}})


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds are too long for a test."""
    monkeypatch.setattr(events, "EVENT_INTERVAL", 0.01)
    monkeypatch.setattr(events, "SEND_TIMEOUT", 0.02)


def job() -> JobIdentity:
    return JobIdentity.of(Message("m", BODY, "r", 0.0, 1, datetime.now(UTC)), RULES, "arn")


def sent_bodies(notifier: FakeNotifier) -> list[dict[str, Any]]:
    return [json.loads(note.body) for note in notifier.sent]


async def wait_until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_a_job_is_accepted_and_then_building_as_it_moves() -> None:
    notifier, progress = FakeNotifier(), Progress()

    async with reporting_progress(notifier, job(), progress, FakeHold()):
        await wait_until(lambda: len(notifier.sent) == 1)
        progress.files_planned, progress.bytes_planned = 2, 10
        await wait_until(lambda: len(notifier.sent) == 2)
        assert sent_bodies(notifier)[-1]["progress"]["files_planned"] == 2
        progress.files, progress.bytes = 1, 4
        await wait_until(lambda: len(notifier.sent) == 3)

    events = sent_bodies(notifier)
    assert [event["status"] for event in events] == ["accepted", "building", "building"]
    assert {json.dumps([event["job_id"], event["metadata"]]) for event in events} == {'["j", {"k": "v"}]'}
    assert events[-1]["progress"] == {"files": 1, "files_planned": 2, "bytes": 4, "bytes_planned": 10}
    assert len({note.id for note in notifier.sent}) == 3  # a FIFO queue would drop equal ones


async def test_nothing_is_said_twice_while_nothing_moves() -> None:
    notifier, progress = FakeNotifier(), Progress(0, 0, 1, 1)

    async with reporting_progress(notifier, job(), progress, FakeHold()):
        await wait_until(lambda: len(notifier.sent) == 1)
        await asyncio.sleep(0.05)

    assert [event["status"] for event in sent_bodies(notifier)] == ["accepted"]


async def test_events_keep_their_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the pause between them: with an endless one, there is no second event however much moves."""
    monkeypatch.setattr(events, "EVENT_INTERVAL", 3600.0)
    notifier, progress = FakeNotifier(), Progress(0, 0, 100, 100)

    async with reporting_progress(notifier, job(), progress, FakeHold()):
        for n in range(50):
            progress.files = n
            await asyncio.sleep(0.001)

    assert len(notifier.sent) == 1


async def test_nothing_is_said_after_the_block() -> None:
    notifier, progress = FakeNotifier(), Progress(0, 0, 100, 100)

    async with reporting_progress(notifier, job(), progress, FakeHold()):
        await wait_until(lambda: notifier.sent)
    said = len(notifier.sent)
    progress.files = 50
    await asyncio.sleep(0.05)

    assert len(notifier.sent) == said
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("progress.")] == []


async def test_nobody_is_told_where_nobody_asked() -> None:
    async with reporting_progress(None, job(), Progress(), FakeHold()):
        assert not any(task.get_name().startswith("progress.") for task in asyncio.all_tasks())


@pytest.mark.parametrize("error", [TransientError("500"), ConfigurationError("gone")])
async def test_a_queue_that_takes_no_events_is_said_once_and_harms_nobody(error: Exception) -> None:
    notifier, progress = FakeNotifier(), Progress(0, 0, 100, 100)
    notifier.faults.plan("send", error, times=3)

    with capture_logs() as logs:
        async with reporting_progress(notifier, job(), progress, FakeHold()):
            for n in range(1, 50):
                progress.files = n
                await asyncio.sleep(0.002)

    assert [line["event"] for line in logs] == ["progress.unsent"]
    assert notifier.sent  # tried again, and better


class Hanging(FakeNotifier):
    """Takes a message and never answers. *asked* is set once there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    async def send(self, note: OutgoingMessage) -> None:
        self.asked.set()
        await asyncio.Event().wait()


async def test_a_queue_that_hangs_holds_nobody_up() -> None:
    began = False
    async with asyncio.timeout(5):
        async with reporting_progress(Hanging(), job(), Progress(0, 0, 1, 1), FakeHold()):
            await asyncio.sleep(0)
            began = True
    assert began


async def test_with_the_lease_gone_nothing_more_is_said() -> None:
    notifier, progress, lost = FakeNotifier(), Progress(0, 0, 100, 100), False

    def confirm() -> None:
        if lost:
            raise LeaseLost("gone")

    async with reporting_progress(notifier, job(), progress, FakeHold(confirm)):
        await wait_until(lambda: notifier.sent)
        lost = True
        progress.files = 5
        await asyncio.sleep(0.05)

    assert len(notifier.sent) == 1


async def test_a_job_that_fails_or_is_cancelled_leaves_no_task_behind() -> None:
    with pytest.raises(ZeroDivisionError):
        async with reporting_progress(Hanging(), job(), Progress(), FakeHold()):
            await asyncio.sleep(0)
            raise ZeroDivisionError

    hanging = Hanging()

    async def watched() -> None:
        async with reporting_progress(hanging, job(), Progress(), FakeHold()):
            await asyncio.Event().wait()

    task = asyncio.create_task(watched())
    await asyncio.wait_for(hanging.asked.wait(), 5)
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    assert not any(one.get_name().startswith("progress.") for one in asyncio.all_tasks())


async def test_the_last_event_is_over_before_the_block_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it could arrive behind the answer."""
    monkeypatch.setattr(events, "SEND_TIMEOUT", 3600.0)  # the event ends with the block, not by itself
    ended: list[str] = []

    class Slow(Hanging):
        async def send(self, note: OutgoingMessage) -> None:
            try:
                await super().send(note)
            finally:
                await asyncio.sleep(0.01)
                ended.append("event")

    slow = Slow()
    async with reporting_progress(slow, job(), Progress(), FakeHold()):
        await asyncio.wait_for(slow.asked.wait(), 5)
    ended.append("block")

    assert ended == ["event", "block"]
