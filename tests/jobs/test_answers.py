"""A fanout: each notifier by itself."""

import asyncio
from collections.abc import Mapping

import pytest
from fakes import FakeHold, FakeNotifier

from archiver.errors import ConfigurationError, LeaseLost, TransientError
from archiver.jobs.answers import Fanout
from archiver.ports import Attribute, Notifier, OutgoingMessage


def write(notifier: Notifier) -> OutgoingMessage:
    """A body of as many characters as fit."""
    return OutgoingMessage("x" * notifier.max_body_bytes({}), "id", "group")


async def test_each_notifier_gets_a_body_of_its_own_size() -> None:
    small, large = FakeNotifier(limit=100), FakeNotifier(limit=200)
    await Fanout(small, large).send(write, FakeHold())
    assert [len(notifier.sent[0].body) for notifier in (small, large)] == [100, 200]


async def test_a_notifier_that_has_accepted_is_not_sent_the_same_again() -> None:
    good, flaky = FakeNotifier(), FakeNotifier()
    flaky.faults.plan("send", TransientError("503"), times=2)
    await Fanout(good, flaky).send(write, FakeHold())
    assert (good.faults.calls["send"], flaky.faults.calls["send"]) == (1, 3)
    assert len(good.sent) == len(flaky.sent) == 1


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([TransientError("503"), ConfigurationError("denied")], ConfigurationError),
        ([ConfigurationError("denied"), LeaseLost("late")], LeaseLost),
        ([TransientError("503"), ValueError("a bug")], ValueError),
    ],
)
async def test_all_are_tried_to_their_end_and_the_gravest_error_is_raised(
    errors: list[Exception], expected: type[Exception]
) -> None:
    good, bad = FakeNotifier(), [FakeNotifier() for _ in errors]
    for notifier, error in zip(bad, errors, strict=True):
        notifier.faults.plan("send", error, times=0)
    good.faults.plan("send", delay=0.02)
    with pytest.raises(expected):
        await Fanout(*bad, good).send(write, FakeHold())
    assert len(good.sent) == 1


async def test_the_lease_is_confirmed_before_every_attempt() -> None:
    notifier, confirms = FakeNotifier(), list[int]()
    notifier.faults.plan("send", TransientError("503"), times=2)
    await Fanout(notifier).send(write, FakeHold(lambda: confirms.append(notifier.faults.calls["send"])))
    assert confirms == [0, 1, 2]


async def test_without_a_notifier_nothing_is_sent() -> None:
    fanout = Fanout()
    await fanout.send(write, FakeHold())
    assert not fanout


async def test_cancelled_no_send_goes_on() -> None:
    class Slow(FakeNotifier):
        def max_body_bytes(self, attributes: Mapping[str, Attribute]) -> int:
            return 1

    slow = Slow(), Slow()
    for notifier in slow:
        notifier.faults.plan("send", delay=0.05)
    sending = asyncio.create_task(Fanout(*slow).send(write, FakeHold()))
    await asyncio.sleep(0.01)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await asyncio.sleep(0.08)
    assert [notifier.sent for notifier in slow] == [[], []]


async def test_a_job_that_is_retried_in_place_sends_no_second_answer_to_who_has_it() -> None:
    """While one queue is misconfigured, a job is retried for hours."""
    good, bad, hold = FakeNotifier(), FakeNotifier(), FakeHold()
    bad.faults.plan("send", ConfigurationError("denied"), times=3)
    fanout = Fanout(good, bad)
    for _ in range(3):
        with pytest.raises(ConfigurationError):
            await fanout.send(write, hold)
    await fanout.send(write, hold)
    assert (len(good.sent), len(bad.sent)) == (1, 1)

    await fanout.send(write, FakeHold())  # the message was redelivered
    assert len(good.sent) == 2
