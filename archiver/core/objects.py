"""What S3 tells of objects, by HEAD or in a listing."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple

_NO_METADATA: Mapping[str, str] = MappingProxyType({})  # one for all: a listing may have 100,000 objects


class ObjectInfo(NamedTuple):  # a tuple: one is made for each object, in a third of a dataclass's time
    """
    What HEAD, or a listing, tells of an object. *size* in bytes; *etag* as the store returns it, with quotes;
    *modified* in UTC; *crc32* of the whole object, None if it is not known. *content*: the bytes themselves, of a file
    that is no object. *version*: its id, None if the bucket keeps no versions.
    """

    size: int
    etag: str
    modified: datetime
    content_type: str = ""
    crc32: int | None = None
    metadata: Mapping[str, str] = _NO_METADATA
    content: bytes | None = None
    version: str | None = None


class Listed(NamedTuple):
    """
    One object of a listing. *size* in bytes; *etag* with quotes, as HEAD returns it; *modified* in UTC; *archived*: it
    must be restored before it can be read; *tiered*: that is not known, as its storage class is Intelligent-Tiering.
    """

    key: str
    size: int
    etag: str
    modified: datetime
    archived: bool = False
    tiered: bool = False

    @property
    def info(self) -> ObjectInfo:
        """What HEAD would return, but the content type and the CRC-32, which listings do not have."""
        return ObjectInfo(self.size, self.etag, self.modified)


class ListPage(NamedTuple):
    """A part of a listing. *next*: the token of the next page; "" if this is the last one."""

    objects: Sequence[Listed]
    next: str = ""
