"""
Records of unfinished uploads: what the next worker needs to go on, in the object `build-{token}.json.gz` beside the
archive's key.

A record is written before the first part is sent, and again every few seconds. It has the form of the receipt that it
becomes, and in its first line

    "build":{"upload":…,"part_size":…,"digest":…,"source":…,"message":…,"copies":null,"known":[[0,417],…],
    "parts":["0a1b2c3d",null,…]}

*digest* is that of the pinned members and of the options of the upload: another digest is another archive. *copies*:
the limits that decided what the store copies by itself. *known*: the members whose CRC-32 is true. Without the record,
a worker that goes on could not tell a member of which one half is older than the other.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from archiver.core.kept import Checksums, known_members, ranges, unroll
from archiver.core.layout import MAX_PART_SIZE, MAX_PARTS
from archiver.core.ledger import Ledger
from archiver.core.plan import Member, ObjectVersion
from archiver.core.receipt import Contents, Receipt, encode_receipt
from archiver.core.receipt_parser import ReceiptParser, UnreadableReceiptError, parse_crc32

if TYPE_CHECKING:
    from archiver.core.copies import CopyLimits, CopyPlan

VERSION = b"archiver build 1\n"
"""Of the archive's bytes: a release that lays out or writes archives differently has to have another one."""


@dataclass(frozen=True, slots=True)
class BuildRecord:
    """
    One unfinished upload. *receipt*: what its receipt will begin with. *upload*: its id. *source*: hash of the source
    whose *message* (id) was worked on last. *crcs* of members by index, and of *parts* by number from 0, as far as they
    are known. *copies*: what decided which parts are copied, None if none are; then *part_size* is that of the largest
    filled part.
    """

    receipt: Receipt
    upload: str
    part_size: int
    digest: str
    source: str
    message: str
    crcs: Mapping[int, int] = field(default_factory=dict)
    parts: Mapping[int, int] = field(default_factory=dict)
    copies: "CopyLimits | None" = None


def digest_of(
    members: Sequence[Member],
    request: str,
    part_size: int,
    options: Iterable[tuple[str, str]],
    copied: "CopyPlan | None" = None,
) -> str:
    """
    Return the digest of an archive: all that decides its bytes, and how its upload was begun. *request*: hash of the
    request; *options*: headers that the upload was begun with; *copied*: the parts, if the store copies some of them.
    Takes 2 µs for each member.
    """
    digest = hashlib.sha256(VERSION)
    digest.update(repr((request, part_size, sorted(options))).encode())
    if copied is not None:
        digest.update(repr((list(copied.begins), copied.copies)).encode())
    for member in members:
        content = member.content
        if isinstance(content, ObjectVersion):
            what: object = (content.location.bucket, content.location.key, content.etag)
        else:
            what = hashlib.sha256(content).hexdigest()
        pinned = (member.path, member.size, int(member.modified.timestamp()), what)
        digest.update(repr(pinned).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def source_hash(source_id: str) -> str:
    """Return the hash of a source of messages, by which its workers know their own records."""
    return hashlib.sha256(source_id.encode()).hexdigest()


def encode_record(record: BuildRecord, layout: Ledger, sums: Checksums) -> bytes:
    """Return the object of *record*, with *sums* added to what it knows. Takes 4 µs for each member."""
    crcs = {**record.crcs, **dict(known_members(layout, sums))}
    parts = {**record.parts, **sums.parts}
    count = len(layout.members)
    build = {
        "upload": record.upload,
        "part_size": record.part_size,
        "digest": record.digest,
        "source": record.source,
        "message": record.message,
        "copies": None
        if record.copies is None
        else asdict(record.copies) | {"unreachable": [*record.copies.unreachable]},
        "known": ranges(index for index in range(count) if index in crcs),
        "parts": [f"{parts[number]:08x}" if number in parts else None for number in range(max(parts, default=-1) + 1)],
    }
    contents = Contents(layout.members, [crcs.get(index, 0) for index in range(count)], layout.header_offsets)
    return encode_receipt(record.receipt, contents, build)


def decode_record(parser: ReceiptParser, crcs: Sequence[int] | None) -> BuildRecord:
    """
    Return the record that *parser* has read, with the *crcs* of its members; None: only its first line was read, and it
    has the CRC-32 of no member. Raises UnreadableReceiptError.
    """
    try:
        return _decode(parser, crcs)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        raise UnreadableReceiptError(f"it is not a record of an upload: {error!r}") from None


def _decode(parser: ReceiptParser, crcs: Sequence[int] | None) -> BuildRecord:
    build: dict[str, Any] = parser.build
    if parser.receipt is None:
        raise ValueError("empty")
    if not build["upload"] or len(build["parts"]) > MAX_PARTS:  # to abort the upload "" would delete the archive
        raise ValueError("no upload, or too many parts")
    part_size = int(build["part_size"])
    if not 0 < part_size <= MAX_PART_SIZE:
        raise ValueError(part_size)
    return BuildRecord(
        receipt=parser.receipt,
        upload=str(build["upload"]),
        part_size=part_size,
        digest=str(build["digest"]),
        source=str(build["source"]),
        message=str(build["message"]),
        crcs={} if crcs is None else {at: crcs[at] for at in unroll(build["known"], len(crcs))},
        parts={number: parse_crc32(crc) for number, crc in enumerate(build["parts"]) if crc is not None},
        copies=None if build["copies"] is None else _limits(build["copies"]),
    )


def _limits(found: Mapping[str, Any]) -> "CopyLimits":
    from archiver.core.copies import MIN_BUFFER_SIZE, CopyLimits  # noqa: PLC0415 - nothing of it where it is off

    count = None if found["members"] is None else int(found["members"])
    sizes = {name: int(found[name]) for name in ("cost", "filled", "max_filled", "copied")}
    limits = CopyLimits(**sizes, members=count, unreachable=frozenset(map(str, found["unreachable"])))
    if limits.cost < 0 or not MIN_BUFFER_SIZE <= limits.filled <= limits.max_filled <= MAX_PART_SIZE:
        raise ValueError(sizes)
    if not MIN_BUFFER_SIZE <= limits.copied <= MAX_PART_SIZE or (count is not None and count < 1):
        raise ValueError(found)
    return limits
