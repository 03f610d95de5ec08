"""Sending answers: to every notifier of a kind, each with its own body and its own retries."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from archiver.errors import ConfigurationError, LeaseLost, TransientError
from archiver.ports import Hold, Notifier, OutgoingMessage
from archiver.stages.retry import retry_transient


class Fanout:
    """Several notifiers that get the same answers; false if there is none."""

    def __init__(self, *notifiers: Notifier) -> None:
        self.notifiers = notifiers

    def __bool__(self) -> bool:
        return bool(self.notifiers)

    async def send(self, write: Callable[[Notifier], OutgoingMessage], hold: Hold) -> None:
        """
        Send what *write* makes for each notifier, concurrently. Each send is retried by itself, and *hold* is confirmed
        before each attempt; a notifier that has accepted its message gets no second one.

        Returns once all have accepted. Otherwise raises after the last one has ended: LeaseLost, ConfigurationError or
        TransientError, the first of these that any raised.
        """
        if len(self.notifiers) == 1:
            await _send_to(self.notifiers[0], write, hold)
            return
        sends = (_send_to(notifier, write, hold) for notifier in self.notifiers)
        errors = [error for error in await asyncio.gather(*sends, return_exceptions=True) if error is not None]
        if errors:
            raise min(errors, key=_precedence)


async def _send_to(notifier: Notifier, write: Callable[[Notifier], OutgoingMessage], hold: Hold) -> None:
    note = write(notifier)

    async def attempt() -> None:
        hold.confirm()
        await notifier.send(note)

    await retry_transient(attempt)


def _precedence(error: BaseException) -> int:
    """An error that nobody expects first; then what keeps the message longest."""
    return next((rank for rank, kind in enumerate(_EXPECTED, 1) if isinstance(error, kind)), 0)


_EXPECTED = (LeaseLost, ConfigurationError, TransientError)


@dataclass(frozen=True, slots=True)
class Answers:
    """
    Where answers are sent. *success* and *failure* must accept them before the message is deleted. *progress* also gets
    progress events, as far as possible.
    """

    success: Fanout = field(default_factory=Fanout)
    failure: Fanout = field(default_factory=Fanout)
    progress: Notifier | None = None
