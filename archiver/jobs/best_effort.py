"""
Answers to receivers that no job waits for: they are sent in the background, a few times, and then given up.

Such a receiver can hang, fail or be gone: it holds up no job, no message and no shutdown.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import structlog

from archiver.errors import ArchiverError, RequestRefused, TransientError
from archiver.ports import Attribute, Notifier, OutgoingMessage

log = structlog.get_logger(__name__)

MAX_PENDING = 64  # answers at once; more are not sent
MAX_PENDING_OF_ONE = 32  # of one receiver: one that hangs must not be in the way of others
TRY_AFTER = (0.0, 1.0, 4.0, 10.0, 20.0)  # seconds before each try
MAX_SECONDS = 60.0  # for all tries of one answer
DRAIN_SECONDS = 5.0  # for those that are pending at shutdown


class ReceiverGone(RequestRefused):
    """The receiver wants nothing more, which was logged before."""


class BackgroundSends:
    """
    Owns the tasks that send. `async with` it around the worker: at its end, pending answers have `DRAIN_SECONDS`.

    Memory: at most `MAX_PENDING` bodies.
    """

    def __init__(self, pauses: tuple[float, ...] = TRY_AFTER, drain_seconds: float = DRAIN_SECONDS) -> None:
        self._pauses = pauses
        self._drain_seconds = drain_seconds
        self._tasks: dict[asyncio.Task[None], str] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.drain(self._drain_seconds)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def drain(self, seconds: float) -> None:
        """Wait at most *seconds* for the answers that are pending now."""
        if tasks := list(self._tasks):
            await asyncio.wait(tasks, timeout=seconds)

    def start(self, name: str, notifier: Notifier, note: OutgoingMessage) -> None:
        """Send *note* to *notifier*, called *name* in the log, in the background."""
        pending = list(self._tasks.values())
        if len(pending) >= MAX_PENDING or pending.count(name) >= MAX_PENDING_OF_ONE:
            _log_unsent(name, note, f"{len(pending)} answers are pending", 0)
            return
        task = asyncio.create_task(self._send(name, notifier, note), name=f"notify-{name}")
        self._tasks[task] = name
        task.add_done_callback(self._tasks.pop)

    async def _send(self, name: str, notifier: Notifier, note: OutgoingMessage) -> None:
        tries, reason = 0, "it did not answer in time"
        try:
            async with asyncio.timeout(MAX_SECONDS):
                for pause in self._pauses:
                    await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                    tries += 1
                    try:
                        await notifier.send(note)
                    except RequestRefused:
                        raise
                    except TransientError as error:
                        reason = str(error)
                    else:
                        log.info("notify.sent", receiver=name, tries=tries, status=note.status)
                        return
        except ReceiverGone:
            return
        except ArchiverError as error:  # trying again can't help
            reason = str(error)
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            _log_unsent(name, note, f"the worker stopped; {reason}", tries)
            raise
        except Exception as error:
            log.exception("notify.defect", receiver=name)
            reason = f"a defect: {type(error).__name__}"
        _log_unsent(name, note, reason, tries)


def _log_unsent(name: str, note: OutgoingMessage, reason: str, tries: int) -> None:
    log.warning("notify.unsent", receiver=name, reason=reason, tries=tries, status=note.status, notification_id=note.id)


class BestEffortNotifier:
    """A Notifier that takes every answer at once, and sends it to *inner* in the background."""

    def __init__(self, inner: Notifier, name: str, sends: BackgroundSends) -> None:
        self._inner = inner
        self._name = name
        self._sends = sends
        self.max_body_bytes: Callable[[Mapping[str, Attribute]], int] = inner.max_body_bytes

    async def send(self, note: OutgoingMessage) -> None:
        self._sends.start(self._name, self._inner, note)
