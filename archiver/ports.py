"""
The seams. Each is a Protocol of at most four verbs; each has a whole in-memory twin in `tests/fakes/`,
and one contract test (`tests/contract/`) that runs on the twin and on the real adapter.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from archiver.core.locations import Location
from archiver.core.messages import Link
from archiver.core.plan import ObjectInfo
from archiver.errors import Rejected


@dataclass(frozen=True, slots=True)
class Attribute:
    """A message attribute as SQS has it: *type* is String, Number or Binary, with an optional `.label`."""

    type: str
    value: str | bytes


@dataclass(frozen=True, slots=True)
class Message:
    """
    One received message. *received_at* is the monotonic clock before the call that brought it, in seconds:
    its invisibility can't have begun earlier. *receive_count* counts this receive too.
    """

    id: str
    body: str
    receipt: str = field(repr=False)
    received_at: float
    receive_count: int
    sent_at: datetime
    first_received: str = ""
    group: str | None = None
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """What the source queue says of itself. *visibility* in seconds; *max_receives* None without a redrive policy."""

    arn: str
    visibility: int
    max_receives: int | None = None
    dead_letter_arn: str | None = None


class MessageSource(Protocol):
    """The queue that jobs come from."""

    async def receive(self, limit: int) -> list[Message]:
        """Wait for up to *limit* (1 to 10) messages; an empty list after the wait. Raises TransientError."""

    async def hide(self, message: Message, seconds: int) -> None:
        """
        Keep *message* invisible for *seconds* from now (0: give it back). Raises TransientError; LeaseLost on a stale
        receipt.
        """

    async def delete(self, message: Message) -> None:
        """End *message*. Raises TransientError; LeaseLost on a stale receipt."""

    async def reject(self, message: Message, rejection: "Rejection") -> None:
        """
        Send the untouched body to the dead-letter queue, with the reason. Raises TransientError; Undeliverable where
        there is none that takes it.
        """


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a message goes to the dead-letter queue, and the ids that a FIFO queue wants."""

    code: str
    message: str
    group: str
    deduplication_id: str


class ObjectReader(Protocol):
    """Reads objects, wherever they are. One attempt a call: patience is the caller's."""

    async def head(self, location: Location) -> ObjectInfo:
        """Raises SourceUnavailable (missing, denied, archived), TransferInterrupted, CredentialsRefused."""

    async def read(self, location: Location, etag: str, start: int, into: Sequence[memoryview]) -> None:
        """
        Fill the views of *into*, one after the other, with the object's bytes from *start* on.

        Raises TransferInterrupted with the number of good bytes received so far; SourceChanged where the object is gone
        or has another ETag; SourceUnavailable where it may not be read, whatever HEAD says; CredentialsRefused.
        """


@dataclass(frozen=True, slots=True)
class Target:
    """
    Where an archive goes and what stands beside it. *metadata* is ASCII; *disposition* a Content-Disposition. All
    parts but the last are of *part_size* bytes; an archive that is not longer is put at once. *message_id* is that of
    the message which asks for it ("": nobody's, as from the command line).
    """

    key: str
    disposition: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    part_size: int = 0
    message_id: str = ""


@dataclass(frozen=True, slots=True)
class StoredArchive:
    """A finished archive as the store tells it."""

    size: int
    etag: str
    crc32: int | None
    metadata: Mapping[str, str]


class MultipartUpload(Protocol):
    """An archive on its way. Nobody sees it before `complete`."""

    async def upload_part(self, number: int, body: memoryview, crc32: int) -> None:
        """
        Send part *number* (from 1). *body* must not change until this returns. Raises ArchiveExists where the upload
        is gone. Raises TransientError, ConfigurationError.
        """

    async def complete(self, size: int, crc32: int) -> StoredArchive:
        """
        Make the archive appear, *size* bytes, whole; say what stands there now. Raises ArchiveExists, TransientError
        (outcome unknown), ConfigurationError.
        """

    async def abort(self) -> None:
        """Leave nothing behind. Raises TransientError."""


class ObjectStore(Protocol):
    """The bucket that archives go to."""

    async def find(self, key: str) -> StoredArchive | None:
        """
        What stands at *key*, None where nothing does (or where we may not know). Raises TransientError,
        ConfigurationError.
        """

    async def put(self, target: Target, body: memoryview, crc32: int) -> StoredArchive:
        """
        Write a whole archive at once, unless the key is taken; say what stands there now. Raises ArchiveExists,
        TransientError (unknown), ConfigurationError.
        """

    async def create_upload(self, target: Target) -> MultipartUpload:
        """Begin a multipart upload. Raises TransientError, ConfigurationError."""

    async def abort_uploads(self, key: str, before: datetime | None = None) -> None:
        """Abort every multipart upload of *key*, or only those begun *before* a moment. Raises TransientError."""


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """One answer to send. *group* and *id* serve FIFO queues (group id, deduplication id)."""

    body: str
    id: str
    group: str
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


class Links(Protocol):
    """How archives are linked to."""

    async def link(self, key: str) -> Link:
        """
        The link to the archive at *key*. Raises TransientError, ConfigurationError where there is none to be had now.
        """


class Notifier(Protocol):
    """Where answers go."""

    def max_body_bytes(self, attributes: Mapping[str, Attribute]) -> int:
        """Bytes of UTF-8 that a body may have beside *attributes*."""

    async def send(self, note: OutgoingMessage) -> None:
        """Return once the answer was accepted. Raises TransientError, ConfigurationError."""


@dataclass(frozen=True, slots=True)
class JobSuccess:
    """How a job ended well."""

    status: str
    files: int
    size: int
    key: str
    reused: bool


JobOutcome = Literal["done", "rejected", "retried", "returned", "lease_lost"]


@dataclass(frozen=True, slots=True)
class JobResult:
    """
    How a job ended. *code* says why it was rejected or retried. *seconds* from its receipt on, *queued* before that.
    *margin*: the smallest fraction of the visibility that was left of its lease, 0 to 1.
    """

    outcome: JobOutcome
    seconds: float
    queued: float
    margin: float
    code: str = ""
    files: int = 0
    bytes: int = 0


class Observer(Protocol):
    """Whoever counts jobs. It must neither wait nor raise."""

    def ended(self, job: JobResult) -> None:
        """One job ended, or its message was given up."""


class Job(Protocol):
    """What is done for a message. The worker knows no more of it than this."""

    def read_job_id(self, message: Message) -> str | None:
        """The request's `job_id`, where its body can be read."""

    async def run(self, message: Message, confirm: Callable[[], None]) -> JobSuccess:
        """Do the job and answer. Raises any ArchiverError."""

    async def reject(self, message: Message, rejection: Rejected, confirm: Callable[[], None]) -> None:
        """
        Send *message* to the dead-letter queue. Raises TransientError (Undeliverable: there is none that takes it),
        LeaseLost.
        """

    async def send_failure(self, message: Message, rejection: Rejected, confirm: Callable[[], None]) -> None:
        """
        Tell whoever wants to know that the job was rejected. Raises TransientError, ConfigurationError, LeaseLost.
        """
