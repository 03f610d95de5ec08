"""Objects: how they are read, and where archives are stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

from archiver.core.attributes import NO_ATTRIBUTES, Attributes
from archiver.core.locations import Location
from archiver.core.messages import Tier
from archiver.core.objects import ListPage, ObjectInfo
from archiver.core.plan import ObjectVersion
from archiver.core.select import Prefix


class WholeRead(NamedTuple):
    """
    One request of a `ReadQueue`: HEAD or GET the whole object at *location*; only the version *etag*, unless None.
    *number* means something to the queue alone.
    """

    number: int
    location: Location
    method: Literal["HEAD", "GET"]
    etag: str | None = None


class Unanswered(NamedTuple):
    """A request of a `ReadQueue` without a plain response. *throttled*: the store asked for fewer requests."""

    read: WholeRead
    reason: str
    throttled: bool = False


class ReadQueue(Protocol):
    """Asks for one object after another. No call waits, and none raises."""

    def next(self) -> WholeRead | None:
        """Return the next request; None: there is none now."""

    def space(self, read: WholeRead, length: int) -> memoryview | None:
        """Return where *length* bytes of a body can be received; None: the body is not wanted."""

    def arrived(self, read: WholeRead, info: ObjectInfo, body: memoryview | None) -> None:
        """
        Take a response. *body*: all its bytes, valid during the call; None if `space` did not want them. Empty for
        HEAD.
        """


class ObjectReader(Protocol):
    """Reads objects. Each call is one attempt; retries are the caller's."""

    async def head(self, location: Location) -> ObjectInfo:
        """
        Return the object's size, ETag and times. Raises SourceUnavailable (missing, denied, archived),
        TransferInterrupted, CredentialsRefused.
        """

    async def list(self, prefix: Prefix, token: str = "") -> ListPage:
        """
        Return the first page of the objects under *prefix*, or that after the page with *token*. Raises as `head` does.
        """

    async def read(self, location: Location, etag: str, start: int, into: Sequence[memoryview]) -> None:
        """
        Fill the views of *into*, in order, with the object's bytes from offset *start* on.

        Raises TransferInterrupted with the number of valid bytes received; SourceChanged if the object is gone or has
        another ETag; SourceUnavailable if it may not be read, even though HEAD succeeded; CredentialsRefused.
        """

    async def serve(self, queue: ReadQueue) -> Unanswered | None:
        """
        Answer the requests of *queue* one after another, without retries, until it has none (None), or until one has no
        plain response: that one is returned. Bodies are not checked. Raises nothing.
        """


class Roles(Protocol):
    """The roles that objects are read with, instead of the worker's own."""

    async def assume(self, role: str) -> None:
        """
        Have credentials of the role with the ARN *role*. Raises SourceUnavailable if it can't be assumed;
        TransientError; CredentialsRefused if the worker's own credentials are refused.
        """


class ObjectRestorer(Protocol):
    """Makes archived objects readable."""

    async def restore(self, location: Location, tier: Tier, days: int | None) -> None:
        """
        Ask for a copy of the object for *days* (None: for good). Repeating it is no error. Raises as
        `ObjectReader.head` does.
        """


@dataclass(frozen=True, slots=True)
class Target:
    """
    Where an archive is stored, and its object metadata. *metadata* is ASCII, *disposition* a Content-Disposition
    header, "" for none. Every part but the last has *part_size* bytes; a shorter archive is one PutObject.
    *message_id*: the message that asks for the archive; "" if none does (command line). *overwrites*: the ETag of the
    object that may be replaced, `*`: any. An archive replaces none.
    """

    key: str
    disposition: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    part_size: int = 0
    message_id: str = ""
    attributes: Attributes = NO_ATTRIBUTES
    content_type: str = "application/zip"
    overwrites: str = ""


@dataclass(frozen=True, slots=True)
class StoredArchive:
    """A finished archive, as the store describes it."""

    size: int
    etag: str
    crc32: int | None
    metadata: Mapping[str, str]


class MultipartUpload(Protocol):
    """An archive being uploaded. It is visible only after `complete`."""

    @property
    def id(self) -> str:
        """What the store calls it."""

    async def upload_part(self, number: int, body: memoryview, crc32: int) -> None:
        """
        Send part *number* (from 1). *body* must not change until this returns. Raises ArchiveExists if the upload no
        longer exists; TransientError, ConfigurationError.
        """

    async def copy(self, number: int, source: ObjectVersion, start: int, length: int) -> int:
        """
        Copy *length* bytes of *source*, from *start*, as part *number*, within the store; return their CRC-32. The
        object must have more than 5 MiB. One attempt.

        Raises CopyRefused if that is not possible; SourceChanged if the object is gone or has another ETag;
        ArchiveExists if the upload no longer exists; TransientError.
        """

    async def complete(self, size: int, crc32: int) -> StoredArchive:
        """
        Publish the archive of *size* bytes and return the stored object. Raises ArchiveExists, TransientError (the
        outcome is unknown), ConfigurationError.
        """

    async def abort(self) -> None:
        """Abort the upload and delete its parts. Raises TransientError."""


class CopyCapability(Protocol):
    """What the store of the archives is known to copy by itself."""

    async def proved(self) -> bool:
        """Whether the store has shown that it copies as archives need it. The first use tests it. Raises nothing."""

    def refuted(self) -> bool:
        """Whether the store has shown a while ago that it does not, so that it is not asked at present."""

    def reaches(self, bucket: str) -> bool:
        """Whether the objects of *bucket* are in that store and its region, as far as is known."""


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
