"""Reads receipts (`archiver.core.receipt`) in pieces."""

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast, get_args

from archiver.core.messages import Renamed
from archiver.core.plan import ArchiveSummary
from archiver.core.receipt import END, FORMAT, Receipt
from archiver.errors import Code, SourceProblem

MAX_LINE_BYTES = 64 * 1024 * 1024  # the first line lists what is missing and renamed
MAX_MEMBER_BYTES = 64 * 1024  # a path has at most 4,096 bytes, a key 1,024
INFLATE_BYTES = 1024 * 1024  # inflated at once

_CODES = frozenset(get_args(Code))


class UnreadableReceiptError(Exception):
    """The bytes are no receipt of this service. The message says why."""


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


class ReceiptParser:
    """
    Parses a receipt in pieces. *receipt* is set once the first line was complete, and *build*, of a record, too.
    Memory: one line, and what is inflated at once.
    """

    def __init__(self) -> None:
        self.receipt: Receipt | None = None
        self.build: dict[str, Any] = {}
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
            for line in lines:
                if self.ended:
                    raise UnreadableReceiptError("it goes on behind its end")
                yield from self._members(line)
            longest = MAX_LINE_BYTES if self.receipt is None else MAX_MEMBER_BYTES
            if len(self._rest) > longest:
                raise UnreadableReceiptError(f"a line has more than {longest:,} bytes")
            if self._inflate.unused_data or (self.ended and self._rest):
                raise UnreadableReceiptError("it goes on behind its end")

    def end(self) -> None:
        """Raise UnreadableReceiptError unless the document was complete."""
        if not (self.ended and self._inflate.eof):
            raise UnreadableReceiptError("it ends too early")

    def _members(self, line: bytes) -> Iterator[ReceiptMember]:
        try:
            if self.receipt is None:
                head = json.loads(line + END)
                self.receipt, self.build = _parse_first_line(head), head.get("build", {})
            elif line == END:
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
        crc32=parse_crc32(head["crc32"]),
        created=datetime.strptime(head["created"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC),
    )


def _parse_member(data: dict[str, Any]) -> ReceiptMember:
    return ReceiptMember(
        path=_text(data["path"]),
        source=data["source"] if data["source"] is None else _text(data["source"]),
        version=data["version"] if data["version"] is None else _text(data["version"]),
        etag=data["etag"] if data["etag"] is None else _text(data["etag"]),
        size=int(data["size"]),
        crc32=parse_crc32(data["crc32"]),
        offset=data["offset"] if data["offset"] is None else int(data["offset"]),
        modified=datetime.fromtimestamp(data["modified"], UTC),
    )


def parse_crc32(text: str) -> int:
    """Return the CRC-32 of *text*. Raises ValueError, TypeError."""
    crc = int(text, 16)
    if not 0 <= crc < 1 << 32:
        raise ValueError(f"{text:.20} is no CRC-32")
    return crc


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.80} is not text")
    return value


def _code(value: object) -> Code:
    if value not in _CODES:
        raise ValueError(f"{value!r:.80} is not a code")
    return cast("Code", value)
