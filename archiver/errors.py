"""
What can go wrong, sorted by what the worker does about it.

    ArchiverError
    ├── Rejected             trying again can't help: dead-letter queue, failure answer, delete
    ├── TransientError            may pass: the message goes back for a while
    │   ├── TransferInterrupted      one read or call broke off; says how far it came and whether we were throttled
    │   └── Answered         the other side is well, and does not take this one thing as it is
    │       └── Undeliverable  no queue takes the message: it stays, and the redrive policy has it in the end
    ├── ConfigurationError   ours to mend: keep the message, pause, try again in place
    │   └── CredentialsRefused  by a source: ours to mend only where the destination refuses them, too
    ├── LeaseLost            the message may be someone else's by now: write nothing more
    ├── SourceUnavailable    one object can't be had (missing, denied, archived): the plan collects these
    ├── SourceChanged        an object is no longer what was planned: plan again
    └── ArchiveExists        someone finished this archive first: answer from what is there

Nothing above `archiver.aws` ever sees an error of a library.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Code = Literal[
    "invalid_json",
    "invalid_request",
    "source_missing",
    "source_denied",
    "source_archived",
    "source_not_allowed",
    "source_changed",
    "name_unsafe",
    "name_conflict",
    "job_conflict",
    "time_limit",
    "too_large",
    "retries_exhausted",
    "internal",
]


@dataclass(frozen=True, slots=True)
class SourceProblem:
    """Why one object of a request is not in the archive. *source* is the request's own text."""

    source: str
    code: Code
    detail: str = ""


class ArchiverError(Exception):
    """The root of every error that this service raises on purpose."""


class Rejected(ArchiverError):
    """A request that can never succeed as it stands."""

    def __init__(self, code: Code, message: str, sources: Sequence[SourceProblem] = ()) -> None:
        super().__init__(f"{code}: {message}")
        self.code: Code = code
        self.message = message
        self.sources = tuple(sources)


class TransientError(ArchiverError):
    """
    Something failed that may work later. *rejection*: what to say where no later is left (else `retries_exhausted`);
    *receive_pause*: seconds for which nothing should be received. *was_paused*: the call had been held, as its place
    was down: what had failed before, and how long ago, says nothing of it.
    """

    def __init__(self, reason: str, *, rejection: Rejected | None = None, receive_pause: float = 0.0) -> None:
        super().__init__(reason)
        self.rejection = rejection
        self.receive_pause = receive_pause
        self.was_paused = False


class TransferInterrupted(TransientError):
    """
    One call broke off. *received* bytes of what was asked had arrived, in order, and are good.
    *throttled*: the other side asked us to slow down.
    """

    def __init__(self, reason: str, *, received: int = 0, throttled: bool = False) -> None:
        super().__init__(reason)
        self.received = received
        self.throttled = throttled


class RequestRefused(TransientError):
    """What was asked is refused for its own sake (its bytes, its size): no outage, however often it comes."""


class Undeliverable(RequestRefused):
    """A queue does not take this message; or there is no dead-letter queue, or it is gone or refuses us."""


class ConfigurationError(ArchiverError):
    """Credentials, the destination bucket or an answer queue are refused or gone: no message's fault."""


class CredentialsRefused(ConfigurationError):
    """
    A source refuses our credentials, clock or region; *code* is the store's own. *location*: the object that was asked
    for, as soon as it is known.
    """

    def __init__(self, reason: str, code: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.location: object = None


class LeaseLost(ArchiverError):
    """The message's invisibility could not be kept."""


class SourceUnavailable(ArchiverError):
    """One object can't be had; *code* says why. *location*: the object, as soon as it is known."""

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code: Code = code
        self.detail = detail
        self.location: object = None


class SourceChanged(ArchiverError):
    """
    An object is not the one that was planned any more. *gone*: it was not found. *location*: the object, as soon as it
    is known.
    """

    def __init__(self, detail: str, *, gone: bool = False) -> None:
        super().__init__(detail)
        self.detail = detail
        self.gone = gone
        self.location: object = None

    def __str__(self) -> str:
        return self.detail if self.location is None else f"{self.location}: {self.detail}"


class ArchiveExists(ArchiverError):
    """The archive's key is taken: a finished archive is never overwritten."""


def root_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first cause of a group: one failure ends a job, and the others are what its cancellations brought about."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
