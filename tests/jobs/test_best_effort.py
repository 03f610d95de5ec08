"""Answers that nobody waits for: sent in the background, a few times, never in anybody's way."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from fakes import FakeHold, FakeNotifier
from structlog.testing import capture_logs

from archiver.errors import ConfigurationError, RequestRefused, TransientError
from archiver.jobs.answers import Fanout
from archiver.jobs.best_effort import MAX_PENDING, MAX_PENDING_OF_ONE, TRY_AFTER, BackgroundSends, BestEffortNotifier
from archiver.ports import OutgoingMessage

NOTE = OutgoingMessage("{}", "id-1", "group", status="succeeded")
AT_ONCE = (0.0,) * len(TRY_AFTER)


class HangingNotifier(FakeNotifier):
    """Never answers."""

    async def send(self, note: OutgoingMessage) -> None:
        self.sent.append(note)
        await asyncio.Event().wait()


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


async def test_an_answer_is_sent_and_sent_again_until_it_is_accepted(logged: list[Any]) -> None:
    receiver = FakeNotifier()
    receiver.faults.plan("send", TransientError("503"), times=4)

    async with BackgroundSends(AT_ONCE) as sends:
        await BestEffortNotifier(receiver, "NOTIFY_WEBHOOK_URL", sends).send(NOTE)

    assert receiver.sent == [NOTE]
    assert [(line["event"], line["receiver"], line["tries"]) for line in logged] == [
        ("notify.sent", "NOTIFY_WEBHOOK_URL", 5)
    ]


async def test_after_five_tries_it_is_given_up_and_logged_without_its_body(logged: list[Any]) -> None:
    receiver = FakeNotifier()
    receiver.faults.plan("send", TransientError("503"), times=0)

    async with BackgroundSends(AT_ONCE) as sends:
        await BestEffortNotifier(receiver, "NOTIFY_WEBHOOK_URL", sends).send(NOTE)

    assert receiver.faults.calls["send"] == 5
    (line,) = logged
    assert (line["event"], line["log_level"], line["reason"]) == ("notify.unsent", "warning", "503")
    assert (line["tries"], line["notification_id"], NOTE.body in line.values()) == (5, "id-1", False)


@pytest.mark.parametrize("error", [RequestRefused("410"), ConfigurationError("denied"), ValueError("a bug")])
async def test_what_trying_again_can_not_help_is_not_tried_again(error: Exception, logged: list[Any]) -> None:
    receiver = FakeNotifier()
    receiver.faults.plan("send", error, times=0)

    async with BackgroundSends(AT_ONCE) as sends:
        await BestEffortNotifier(receiver, "NOTIFY_LAMBDA", sends).send(NOTE)

    assert receiver.faults.calls["send"] == 1
    assert [line["event"] for line in logged][-1] == "notify.unsent"


async def test_a_receiver_that_hangs_holds_up_neither_the_others_nor_the_job_nor_a_shutdown(logged: list[Any]) -> None:
    hanging, queue = HangingNotifier(), FakeNotifier()

    async with BackgroundSends(AT_ONCE, drain_seconds=0.01) as sends:
        fanout = Fanout(queue, BestEffortNotifier(hanging, "NOTIFY_WEBHOOK_URL", sends))
        await fanout.send(lambda _: NOTE, FakeHold())
        assert queue.sent == [NOTE]
        await asyncio.sleep(0.001)

    assert hanging.sent == [NOTE]
    assert [(line["event"], line["reason"].partition(";")[0]) for line in logged] == [
        ("notify.unsent", "the worker stopped")
    ]


async def test_no_more_are_pending_than_memory_is_meant_for(logged: list[Any]) -> None:
    hanging = HangingNotifier()

    async with BackgroundSends(AT_ONCE, drain_seconds=0) as sends:
        for name in ("a", "b", "c"):
            notifier = BestEffortNotifier(hanging, name, sends)
            for _ in range(MAX_PENDING_OF_ONE + 1):
                await notifier.send(NOTE)
        unsent = [line["receiver"] for line in logged]

    assert MAX_PENDING == 2 * MAX_PENDING_OF_ONE
    assert unsent == ["a", "b", *["c"] * (MAX_PENDING_OF_ONE + 1)]


async def test_an_answer_that_was_taken_is_not_sent_again_when_the_job_is_retried_in_place() -> None:
    receiver, queue, hold = FakeNotifier(), FakeNotifier(), FakeHold()
    queue.faults.plan("send", ConfigurationError("denied"))

    async with BackgroundSends(AT_ONCE) as sends:
        fanout = Fanout(queue, BestEffortNotifier(receiver, "NOTIFY_WEBHOOK_URL", sends))
        with pytest.raises(ConfigurationError):
            await fanout.send(lambda _: NOTE, hold)
        await fanout.send(lambda _: NOTE, hold)

    assert (len(queue.sent), len(receiver.sent)) == (1, 1)
