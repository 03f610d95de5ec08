"""
The exceptions of the service, classified by what the worker does about them.

    ArchiverError
    ├── Rejected                  permanent: dead-letter queue, failure answer, delete
    ├── TransientError            may pass: release the message with a delay
    │   ├── TransferInterrupted   a read or call broke off; holds the bytes received and whether it was throttled
    │   └── RequestRefused        the server works, but refuses this one request
    │       └── Undeliverable     no queue accepts the message: it stays; finally the redrive policy moves it
    ├── ConfigurationError        the operator must act: keep the message, pause, retry in place
    │   └── CredentialsRefused    by a source: a configuration error only if the destination refuses them too
    ├── LeaseLost                 another consumer may have the message: write nothing more
    ├── JobCancelled              a mark beside its archive's key: answer that, and end
    ├── SourceUnavailable         one object is missing, denied or archived: the plan collects these
    │   └── SourceArchived        it must be restored first, or is being restored
    ├── SourceChanged             an object is no longer the planned version: replan
    ├── CopyRefused               the store does not copy an object by itself: its bytes go through the worker
    └── ArchiveExists             the archive was finished by another attempt: answer from the existing archive

`archiver.aws` maps the errors of libraries to these; no other package sees a library's error.
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
    "role_not_allowed",
    "option_not_allowed",
    "source_changed",
    "name_unsafe",
    "name_conflict",
    "job_conflict",
    "time_limit",
    "too_large",
    "command_not_allowed",
    "command_failed",
    "command_timeout",
    "output_missing",
    "disk_limit",
    "interrupted",
    "retries_exhausted",
    "internal",
]


@dataclass(frozen=True, slots=True)
class SourceProblem:
    """Why one object of a request is not in the archive. *source* is the request's own text."""

    source: str
    code: Code
    detail: str = ""

    @property
    def reason(self) -> str:
        """The code, with what is known beyond it."""
        return f"{self.code} ({self.detail[:300]})" if self.detail else self.code


class ArchiverError(Exception):
    """Base class of all errors that this service raises deliberately."""


class Rejected(ArchiverError):
    """
    The request can never succeed unchanged. *sources* lists the objects that caused it. *result*: how a command ended
    that ran, a `CommandResult`; None: nothing ran.
    """

    result: object = None

    def __init__(self, code: Code, message: str, sources: Sequence[SourceProblem] = ()) -> None:
        super().__init__(f"{code}: {message}")
        self.code: Code = code
        self.message = message
        self.sources = tuple(sources)


class TransientError(ArchiverError):
    """
    A failure that may pass. *rejection*: the rejection to use if no receive is left (default `retries_exhausted`).
    *receive_pause*: seconds for which the worker should not receive. *was_paused*: the call had been paused because
    its endpoint was down, so earlier failures and their age say nothing about it.
    """

    def __init__(self, reason: str, *, rejection: Rejected | None = None, receive_pause: float = 0.0) -> None:
        super().__init__(reason)
        self.rejection = rejection
        self.receive_pause = receive_pause
        self.was_paused = False


class TransferInterrupted(TransientError):
    """
    A read or call broke off. The first *received* bytes of the body arrived in order and are valid.
    *throttled*: the server asked for a lower request rate.
    """

    def __init__(self, reason: str, *, received: int = 0, throttled: bool = False) -> None:
        super().__init__(reason)
        self.received = received
        self.throttled = throttled


class RequestRefused(TransientError):
    """The server refuses this one request for its content or size. Never counted as an outage, however often."""


class Undeliverable(RequestRefused):
    """A queue refuses this message; or the dead-letter queue does not exist or denies access."""


class ConfigurationError(ArchiverError):
    """Credentials, destination bucket or answer queue are refused or missing. No message caused it."""


class CredentialsRefused(ConfigurationError):
    """
    A source refuses our credentials, clock or region. *code*: the store's own error code. *location*: the requested
    object, set once it is known.
    """

    def __init__(self, reason: str, code: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.location: object = None


class LeaseLost(ArchiverError):
    """The message's visibility timeout could not be extended."""


class JobCancelled(ArchiverError):
    """Somebody has cancelled the job, and its archive is not being published yet."""


class SourceUnavailable(ArchiverError):
    """One object can't be read; *code* says why. *location*: the object, set once it is known."""

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code: Code = code
        self.detail = detail
        self.location: object = None


class SourceArchived(SourceUnavailable):
    """
    An object is in an archive storage class. *restoring*: a restore was asked for and runs. *tiered*: it is in an
    archive tier of Intelligent-Tiering, to which a restore moves it back for good.
    """

    def __init__(self, detail: str, *, restoring: bool = False, tiered: bool = False) -> None:
        super().__init__("source_archived", detail)
        self.restoring = restoring
        self.tiered = tiered


class SourceChanged(ArchiverError):
    """
    An object is no longer the planned version. *gone*: it was not found. *location*: the object, set once it is known.
    """

    def __init__(self, detail: str, *, gone: bool = False) -> None:
        super().__init__(detail)
        self.detail = detail
        self.gone = gone
        self.location: object = None

    def __str__(self) -> str:
        return self.detail if self.location is None else f"{self.location}: {self.detail}"


class CopyRefused(ArchiverError):
    """The store does not copy from one object into an archive. *location*: the object."""

    def __init__(self, reason: str, location: object) -> None:
        super().__init__(reason)
        self.location = location


class ArchiveExists(ArchiverError):
    """The archive's key already exists. A finished archive is never overwritten."""


def root_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first leaf of *group*: one failure ends a job; the others result from the cancellations it causes."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
