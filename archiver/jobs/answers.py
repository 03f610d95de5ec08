"""Sending answers: to every notifier of a kind, each with its own body and its own retries."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import structlog

from archiver.errors import ConfigurationError, LeaseLost, TransientError
from archiver.ports import Hold, Notifier, OutgoingMessage
from archiver.stages.retry import retry_transient

log = structlog.get_logger(__name__)

_PRECEDENCE = (LeaseLost, ConfigurationError, TransientError)


class Fanout:
    """Several notifiers that get the same answers; false if there is none."""

    def __init__(self, *notifiers: Notifier) -> None:
        self.notifiers = notifiers
        # What was accepted under a hold: (index of the notifier, id of the message).
        self._accepted: WeakKeyDictionary[Hold, set[tuple[int, str]]] = WeakKeyDictionary()

    def __bool__(self) -> bool:
        return bool(self.notifiers)

    async def send(
        self, write: Callable[[Notifier], OutgoingMessage], hold: Hold, also: Sequence[Notifier] = ()
    ) -> None:
        """
        Send what *write* makes for each notifier, and for those in *also*, concurrently. Each send is retried by
        itself, and *hold* is confirmed before each attempt. A notifier that has accepted a message under *hold* is not
        sent it again, even if the job is retried in place.

        Returns once all have accepted. Otherwise raises after the last one has ended: LeaseLost, else
        ConfigurationError (the message is held), else TransientError. An unexpected error comes before all of these.
        """
        every = enumerate((*self.notifiers, *also))
        sends = [self._send_to(index, notifier, write, hold) for index, notifier in every]
        if len(sends) == 1:
            await sends[0]
            return
        results = await asyncio.gather(*sends, return_exceptions=True)
        errors = sorted((error for error in results if error is not None), key=_precedence)
        for error in errors[1:]:
            log.warning("answer.unsent", reason=str(error))
        if errors:
            raise errors[0]

    async def _send_to(
        self, index: int, notifier: Notifier, write: Callable[[Notifier], OutgoingMessage], hold: Hold
    ) -> None:
        note = write(notifier)
        accepted = self._accepted.setdefault(hold, set())
        if (index, note.id) in accepted:
            return

        async def attempt() -> None:
            hold.confirm()
            await notifier.send(note)

        await retry_transient(attempt)
        accepted.add((index, note.id))


def _precedence(error: BaseException) -> int:
    return next((rank for rank, kind in enumerate(_PRECEDENCE, 1) if isinstance(error, kind)), 0)


@dataclass(frozen=True, slots=True)
class Answers:
    """
    Where answers are sent. *success* and *failure* must accept them before the message is deleted. *progress* gets
    progress events and answers, as far as possible; `OutgoingMessage.status` tells them apart. *requested*: without it,
    gets the progress events of jobs whose requests ask for them. *callbacks*: makes the notifier of a request's
    `callback_url`, or raises Rejected; None: no request may have one. *by_reference*: answers that are too long for a
    notifier are stored whole, and named in what is sent.
    """

    success: Fanout = field(default_factory=Fanout)
    failure: Fanout = field(default_factory=Fanout)
    progress: Notifier | None = None
    requested: Notifier | None = None
    callbacks: Callable[[str], Notifier] | None = None
    by_reference: bool = False
