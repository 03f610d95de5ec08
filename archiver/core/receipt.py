"""
Receipts: what an archive contains, in the object `receipt-{token}.json.gz` beside it.

A receipt is one JSON document, compressed with gzip, in lines, so that it is written and read in pieces:

    {"format":1,"bucket":…,"key":…,"token":…,…,"members":[
    {"path":…,"source":"s3://…","version":…,"etag":…,"size":…,"crc32":…,"offset":…,"modified":…},
    …
    ]}

A receipt is written before its archive appears, and names it by the token in the archive's metadata. So a finished
archive has a receipt; a receipt whose token no archive has is left over.

Memory: the compressed document, about 50 bytes for each member, while it is sent.
"""

import json
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from json.encoder import encode_basestring as quoted
from typing import Any, cast, get_args

from isal import isal_zlib

from archiver.core.messages import Renamed
from archiver.core.plan import ArchiveSummary, Member, ObjectVersion
from archiver.errors import Code, SourceProblem

FORMAT = 1
BLOCK_MEMBERS = 256  # members that are encoded at once: 64 KiB of text
MAX_LINE_BYTES = 64 * 1024 * 1024  # of a receipt that is read; the first line lists what is missing and renamed
INFLATE_BYTES = 1024 * 1024  # inflated at once

_RECEIPT_NAME = re.compile(r"receipt-([0-9a-f]{32})\.json\.gz")
_CODES = frozenset(get_args(Code))
_END = b"]}"
_UNWRITTEN = datetime(1970, 1, 1, tzinfo=UTC)


class UnreadableReceiptError(Exception):
    """The bytes are no receipt of this service. The message says why."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """
    The first line of a receipt. *request*: hash of the request. *size* and *crc32* of the whole archive, and when the
    receipt was *created* (UTC), are not known before the archive is built.
    """

    bucket: str
    key: str
    token: str
    request: str
    outcome: ArchiveSummary
    size: int = 0
    crc32: int = 0
    created: datetime = _UNWRITTEN


@dataclass(frozen=True, slots=True)
class Contents:
    """
    What was written into an archive: its *members* in order, the CRC-32 of each, and the *offsets* of their local
    headers. None: they are not known, as compressed members have no address until they are written.
    """

    members: Sequence[Member]
    crcs: Sequence[int]
    offsets: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class ReceiptMember:
    """
    One member as the receipt has it. *source*: an `s3://` URI, None if the archiver made the member itself. *version*:
    None if the bucket keeps no versions. *etag* as the store returns it, with quotes. *offset* of the local header.
    *modified* as in the archive; in seconds since 1970 in the document, as a text would take 2 µs to make.
    """

    path: str
    source: str | None
    version: str | None
    etag: str | None
    size: int
    crc32: int
    offset: int | None
    modified: datetime


def receipt_key(archive_key: str, token: str) -> str:
    """Return the key of the receipt for the archive that the upload *token* writes to *archive_key*."""
    return f"{folder_of(archive_key)}receipt-{token}.json.gz"


def folder_of(archive_key: str) -> str:
    """Return the prefix of the keys that belong to one job, with its `/`."""
    return archive_key[: archive_key.rfind("/") + 1]


def is_receipt(key: str) -> bool:
    return _RECEIPT_NAME.fullmatch(key.rpartition("/")[2]) is not None


@dataclass(frozen=True, slots=True)
class ListedObject:
    """One object of a listing, and when it was written."""

    key: str
    modified: datetime


def leftover_receipts(archive_key: str, listed: Iterable[ListedObject], before: datetime | None = None) -> list[str]:
    """
    Return the keys of the receipts among *listed*, the job's folder, that may be left over from earlier uploads: all,
    or those written *before* a time. The caller excludes the one of the finished archive.

    Empty if another object is in the folder, such as an archive made under another S3_FILE_PREFIX: its receipt can't be
    told from the others.
    """
    found = list(listed)
    if any(one.key != archive_key and not is_receipt(one.key) for one in found):
        return []
    return [one.key for one in found if is_receipt(one.key) and (before is None or one.modified < before)]


def encode_receipt(receipt: Receipt, contents: Contents) -> bytes:
    """Return the receipt's object. Takes 3 µs for each member."""
    compressor = isal_zlib.compressobj(level=1, wbits=31)
    blocks = [compressor.compress(f"{_first_line(receipt)}\n".encode())]
    blocks += [compressor.compress(text.encode()) for text in _member_lines(contents)]
    return b"".join((*blocks, compressor.compress(_END + b"\n"), compressor.flush()))


def _first_line(receipt: Receipt) -> str:
    outcome = receipt.outcome
    head = {
        "format": FORMAT,
        "bucket": receipt.bucket,
        "key": receipt.key,
        "token": receipt.token,
        "request": receipt.request,
        "created": f"{receipt.created:%Y-%m-%dT%H:%M:%SZ}",
        "status": outcome.status,
        "files": outcome.files,
        "size": receipt.size,
        "crc32": f"{receipt.crc32:08x}",
        "missing": [{"source": one.source, "code": one.code} for one in outcome.missing],
        "renamed": [{"source": one.source, "from": one.from_, "to": one.to} for one in outcome.renamed],
        "members": [],
    }
    return json.dumps(head, ensure_ascii=False, separators=(",", ":"))[: -len(_END)]


def _member_lines(contents: Contents) -> Iterator[str]:
    offsets: Iterable[int | str] = contents.offsets if contents.offsets is not None else ("null",) * len(contents.crcs)
    lines: list[str] = []
    comma = ""
    for member, crc, offset in zip(contents.members, contents.crcs, offsets, strict=True):
        content = member.content
        if isinstance(content, ObjectVersion):
            version = "null" if content.version is None else quoted(content.version)
            at = content.location
            where = f'{quoted(f"s3://{at.bucket}/{at.key}")},"version":{version},"etag":{quoted(content.etag)}'
        else:
            where = 'null,"version":null,"etag":null'
        lines.append(
            f'{comma}{{"path":{quoted(member.path)},"source":{where},"size":{member.size},"crc32":"{crc:08x}",'
            f'"offset":{offset},"modified":{int(member.modified.timestamp())}}}'
        )
        comma = ",\n"
        if len(lines) == BLOCK_MEMBERS:
            yield "".join(lines)
            lines.clear()
    yield "".join(lines) + ("\n" if comma else "")


class ReceiptParser:
    """
    Parses a receipt in pieces. *receipt* is set once the first line was complete. Memory: one line, and what is
    inflated at once.
    """

    def __init__(self) -> None:
        self.receipt: Receipt | None = None
        self.ended = False
        self._inflate = zlib.decompressobj(wbits=31)
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[ReceiptMember]:
        """Yield the members whose lines end in *data*. Raises UnreadableReceiptError."""
        more = bool(data)
        while more:
            try:
                text = self._inflate.decompress(data, INFLATE_BYTES)
            except zlib.error as error:
                raise UnreadableReceiptError(f"it can't be inflated: {error}") from None
            data = self._inflate.unconsumed_tail
            # If as many bytes came out as were requested, more may follow, even if all input was consumed.
            more = bool(data) or (len(text) == INFLATE_BYTES and not self._inflate.eof)
            *lines, self._rest = (self._rest + text).split(b"\n")
            if len(self._rest) > MAX_LINE_BYTES:
                raise UnreadableReceiptError(f"a line has more than {MAX_LINE_BYTES:,} bytes")
            for line in lines:
                yield from self._members(line)

    def end(self) -> None:
        """Raise UnreadableReceiptError unless the document was complete."""
        if not (self.ended and self._inflate.eof):
            raise UnreadableReceiptError("it ends too early")

    def _members(self, line: bytes) -> Iterator[ReceiptMember]:
        try:
            if self.receipt is None:
                self.receipt = _parse_first_line(json.loads(line + _END))
            elif line == _END:
                self.ended = True
            else:
                yield _parse_member(json.loads(line.removesuffix(b",")))
        except (ValueError, KeyError, TypeError, OverflowError, OSError, RecursionError) as error:
            raise UnreadableReceiptError(f"it is not a receipt of the format {FORMAT}: {error!r}") from None


def _parse_first_line(head: dict[str, Any]) -> Receipt:
    if head["format"] != FORMAT:
        raise ValueError(head["format"])
    return Receipt(
        bucket=_text(head["bucket"]),
        key=_text(head["key"]),
        token=_text(head["token"]),
        request=_text(head["request"]),
        outcome=ArchiveSummary(
            status="partial" if head["status"] == "partial" else "succeeded",
            files=int(head["files"]),
            missing=tuple(SourceProblem(_text(one["source"]), _code(one["code"])) for one in head["missing"]),
            renamed=tuple(
                Renamed(_text(one["source"]), _text(one["from"]), _text(one["to"])) for one in head["renamed"]
            ),
        ),
        size=int(head["size"]),
        crc32=int(head["crc32"], 16),
        created=datetime.strptime(head["created"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC),
    )


def _parse_member(data: dict[str, Any]) -> ReceiptMember:
    return ReceiptMember(
        path=_text(data["path"]),
        source=data["source"] if data["source"] is None else _text(data["source"]),
        version=data["version"] if data["version"] is None else _text(data["version"]),
        etag=data["etag"] if data["etag"] is None else _text(data["etag"]),
        size=int(data["size"]),
        crc32=int(data["crc32"], 16),
        offset=data["offset"] if data["offset"] is None else int(data["offset"]),
        modified=datetime.fromtimestamp(data["modified"], UTC),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.80} is not text")
    return value


def _code(value: object) -> Code:
    if value not in _CODES:
        raise ValueError(f"{value!r:.80} is not a code")
    return cast("Code", value)
