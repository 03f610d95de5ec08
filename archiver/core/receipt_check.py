"""Compare a receipt with its archive, and with the sources as they are now. Problems are sentences."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from archiver.core.locations import Location, parse_source
from archiver.core.objects import ObjectInfo
from archiver.core.receipt import Receipt
from archiver.core.receipt_parser import ReceiptMember
from archiver.core.zip_parser import Entry
from archiver.errors import SourceUnavailable


@dataclass(frozen=True, slots=True)
class WholeReceipt:
    """A receipt with all of its members."""

    receipt: Receipt
    members: Sequence[ReceiptMember]

    def sources(self) -> dict[ReceiptMember, Location]:
        """Return the objects that the members were made of. Raises Rejected if a name is not one of S3's."""
        return {one: parse_source(one.source, None) for one in self.members if one.source is not None}


def archive_problems(whole: WholeReceipt, found: Sequence[Entry], size: int, crc32: int | None) -> list[str]:
    """
    Return how an archive differs from its receipt. *found*: the members in its directory; *size* in bytes; *crc32*: the
    store's, or None.
    """
    receipt, problems = whole.receipt, list[str]()
    if receipt.size != size:
        problems.append(f"the archive has {size:,} bytes; in the receipt it has {receipt.size:,}")
    if crc32 not in (None, receipt.crc32):
        problems.append(f"the archive has the CRC-32 {crc32:08x}; in the receipt it has {receipt.crc32:08x}")
    entries = {entry.path: entry for entry in found}
    for member in whole.members:
        entry = entries.pop(member.path, None)
        if entry is None:
            problems.append(f"{member.path}: is in the receipt, and not in the archive")
        else:
            problems += _member_problems(member, entry)
    return problems + [f"{path}: is in the archive, and not in the receipt" for path in entries]


def _member_problems(member: ReceiptMember, entry: Entry) -> Iterator[str]:
    if entry.size != member.size:
        yield f"{member.path}: has {entry.size:,} bytes; in the receipt it has {member.size:,}"
    if entry.crc32 != member.crc32:
        yield f"{member.path}: has the CRC-32 {entry.crc32:08x}; in the receipt it has {member.crc32:08x}"
    if member.offset not in (None, entry.offset):
        yield f"{member.path}: begins at {entry.offset:,}; in the receipt it begins at {member.offset:,}"


def source_problems(whole: WholeReceipt, now: Mapping[Location, ObjectInfo | SourceUnavailable]) -> list[str]:
    """Return which sources are not as they were archived. *now*: the result of HEAD for each of them."""
    problems = dict[str, None]()  # two members may have one source
    for member, location in whole.sources().items():
        info = now[location]
        if isinstance(info, SourceUnavailable):
            problems[f"{location}: {info.code} ({info.detail})"] = None
        elif info.etag != member.etag:
            problems[f"{location}: has the ETag {info.etag} now; {member.etag} was archived"] = None
    return list(problems)
