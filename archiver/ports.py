"""
The ports: what the worker needs of the world outside.

Each is a Protocol of at most four verbs. Each has a complete in-memory fake in `tests/fakes/`, and one contract test in
`tests/contract/` that runs on the fake and on the real adapter.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from archiver.core.locations import Location
from archiver.core.messages import Link, Tier
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
    One received message. *received_at* is the monotonic clock, in seconds, before the call that returned the message:
    its visibility timeout can't have started earlier. *receive_count* includes this receive. *gone* is set by sources
    that learn at once that a message belongs to another consumer (a closed connection); None if a source can't.
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
    gone: asyncio.Event | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """
    Properties of a source. *id* is stable text that becomes part of archive keys (for SQS, the queue's ARN).
    *visibility*: seconds that one receive or extension holds a message. *longest*: seconds that a message can be held
    in total, `math.inf` if there is no limit. *max_receives*: None if the source does not limit them.
    """

    id: str
    visibility: int
    longest: float
    max_receives: int | None = None


class MessageSource(Protocol):
    """
    Where jobs come from. A message that was neither extended for `facts.visibility` seconds nor deleted is redelivered.
    A source without such a timer keeps one itself: the worker forgets messages that it could not release.
    """

    @property
    def facts(self) -> QueueFacts:
        """Properties of the source, read when it was opened."""

    async def receive(self, limit: int) -> list[Message]:
        """
        Wait for up to *limit* (1 to 10) messages; an empty list after the wait. Raises TransientError,
        ConfigurationError.
        """

    async def extend(self, message: Message, seconds: int) -> None:
        """
        Hold *message* for *seconds* from now. Raises TransientError; ConfigurationError if the source refuses the call;
        LeaseLost on a stale receipt.
        """

    async def release(self, message: Message, delay: int) -> None:
        """
        Return *message* to the source, for redelivery after *delay* seconds or as near to that as the source can.
        Raises as `extend` does.
        """

    async def delete(self, message: Message) -> None:
        """Remove *message* for good. Raises as `extend` does."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a message is dead-lettered, and the ids that a FIFO queue requires."""

    code: str
    message: str
    group: str
    deduplication_id: str


class DeadLetters(Protocol):
    """Where rejected messages are kept, with the reason."""

    async def put(self, message: Message, rejection: Rejection) -> None:
        """
        Store the unchanged body of *message* and the reason. Raises TransientError; Undeliverable if no dead-letter
        queue accepts it.
        """


class ObjectReader(Protocol):
    """Reads objects. Each call is one attempt; retries are the caller's."""

    async def head(self, location: Location) -> ObjectInfo:
        """
        Return the object's size, ETag and times. Raises SourceUnavailable (missing, denied, archived),
        TransferInterrupted, CredentialsRefused.
        """

    async def read(self, location: Location, etag: str, start: int, into: Sequence[memoryview]) -> None:
        """
        Fill the views of *into*, in order, with the object's bytes from offset *start* on.
        Raises TransferInterrupted with the number of valid bytes received; SourceChanged if the object is gone or has
        another ETag; SourceUnavailable if it may not be read, even though HEAD succeeded; CredentialsRefused.
        """


class ObjectRestorer(Protocol):
    """Makes archived objects readable."""

    async def restore(self, location: Location, tier: Tier, days: int | None) -> None:
        """Ask for a copy for *days* (None: for good); repeating it is no error. Raises as `ObjectReader.head` does."""


@dataclass(frozen=True, slots=True)
class Target:
    """
    Where an archive is stored, and its object metadata. *metadata* is ASCII, *disposition* a Content-Disposition
    header. Every part but the last has *part_size* bytes; a shorter archive is one PutObject. *message_id*: the message
    that asks for the archive; "" if none does (command line).
    """

    key: str
    disposition: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    part_size: int = 0
    message_id: str = ""


@dataclass(frozen=True, slots=True)
class StoredArchive:
    """A finished archive, as the store describes it."""

    size: int
    etag: str
    crc32: int | None
    metadata: Mapping[str, str]


class MultipartUpload(Protocol):
    """An archive being uploaded. It is visible only after `complete`."""

    async def upload_part(self, number: int, body: memoryview, crc32: int) -> None:
        """
        Send part *number* (from 1). *body* must not change until this returns. Raises ArchiveExists if the upload no
        longer exists; TransientError, ConfigurationError.
        """

    async def complete(self, size: int, crc32: int) -> StoredArchive:
        """
        Publish the archive of *size* bytes and return the stored object. Raises ArchiveExists, TransientError (the
        outcome is unknown), ConfigurationError.
        """

    async def abort(self) -> None:
        """Abort the upload and delete its parts. Raises TransientError."""


class ObjectStore(Protocol):
    """The bucket that archives are stored in."""

    async def find(self, key: str) -> StoredArchive | None:
        """
        Return the object at *key*; None if there is none, or if its existence may not be known. Raises TransientError,
        ConfigurationError.
        """

    async def put(self, target: Target, body: memoryview, crc32: int) -> StoredArchive:
        """
        Store a complete archive in one request, unless the key exists, and return the stored object. Raises
        ArchiveExists, TransientError (the outcome is unknown), ConfigurationError.
        """

    async def create_upload(self, target: Target) -> MultipartUpload:
        """Begin a multipart upload. Raises TransientError, ConfigurationError."""

    async def abort_uploads(self, key: str, before: datetime | None = None) -> None:
        """Abort all multipart uploads of *key*, or those begun *before* a time. Raises TransientError."""


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """
    One answer or event to send. *group* and *id* are the group id and deduplication id of FIFO queues. *status* is that
    of the answer or event, as in its body.
    """

    body: str
    id: str
    group: str
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    status: str = ""


class Links(Protocol):
    """Makes download links."""

    async def link(self, key: str) -> Link:
        """Return the link to the archive at *key*. Raises TransientError, ConfigurationError."""


class Notifier(Protocol):
    """One receiver of answers."""

    def max_body_bytes(self, attributes: Mapping[str, Attribute]) -> int:
        """Return the maximum size of a body, in bytes of UTF-8, if *attributes* are sent with it."""

    async def send(self, note: OutgoingMessage) -> None:
        """Send *note*; return once it was accepted. Raises TransientError, ConfigurationError."""


@dataclass(frozen=True, slots=True)
class JobSuccess:
    """What a successful job made. *size* in bytes; *reused*: the archive existed before."""

    status: str
    files: int
    size: int
    key: str
    reused: bool


JobOutcome = Literal["done", "rejected", "retried", "returned", "lease_lost"]


@dataclass(frozen=True, slots=True)
class JobResult:
    """
    How a job ended. *code*: why it was rejected or retried. *seconds*: since its receive; *queued*: seconds before it.
    *margin*: the smallest fraction of the visibility timeout that its lease ever had left, 0 to 1.
    """

    outcome: JobOutcome
    seconds: float
    queued: float
    margin: float
    code: str = ""
    files: int = 0
    bytes: int = 0


class Observer(Protocol):
    """Counts jobs. It must neither wait nor raise."""

    def ended(self, job: JobResult) -> None:
        """Record that a job ended."""


class Hold(Protocol):
    """A job's claim on its message, and on one of the worker's slots."""

    def confirm(self) -> None:
        """Raise LeaseLost unless the message is certainly still held. Called before every externally visible write."""

    def parked(self) -> AbstractAsyncContextManager[None]:
        """
        Wait without a slot: in the block, the lease is renewed and another job may use the slot. Leaving the block
        waits for a slot. On shutdown, a parked job is cancelled at once.
        """


class Job(Protocol):
    """What is done for a message. The worker depends on nothing else of it."""

    def read_job_id(self, message: Message) -> str | None:
        """The request's `job_id`; None if its body can't be read."""

    async def run(self, message: Message, hold: Hold) -> JobSuccess:
        """Do the job and send the answer. Raises any ArchiverError."""

    async def reject(self, message: Message, rejection: Rejected, hold: Hold) -> None:
        """Dead-letter *message*. Raises TransientError (Undeliverable: no queue accepts it), LeaseLost."""

    async def send_failure(self, message: Message, rejection: Rejected, hold: Hold) -> None:
        """Send the failure answer. Raises TransientError, ConfigurationError, LeaseLost."""
