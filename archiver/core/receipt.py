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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from json.encoder import encode_basestring as quoted

from isal import isal_zlib

from archiver.core.plan import ArchiveSummary, Member, ObjectVersion

FORMAT = 1
BLOCK_MEMBERS = 256  # members that are encoded at once: 64 KiB of text

_RECEIPT_NAME = re.compile(r"receipt-([0-9a-f]{32})\.json\.gz")
_RECORD_NAME = re.compile(r"build-([0-9a-f]{32})\.json\.gz")
_ANSWER_NAME = re.compile(r"answer-[0-9a-f]{64}\.json")
_MARK_NAME = "cancelled.json.gz"
END = b"]}"  # the last line, which closes the list of members
_UNWRITTEN = datetime(1970, 1, 1, tzinfo=UTC)


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


def receipt_key(archive_key: str, token: str) -> str:
    """Return the key of the receipt for the archive that the upload *token* writes to *archive_key*."""
    return f"{folder_of(archive_key)}receipt-{token}.json.gz"


def record_key(archive_key: str, token: str) -> str:
    """Return the key of the record of the unfinished upload *token* of *archive_key*; see `core.build_record`."""
    return f"{folder_of(archive_key)}build-{token}.json.gz"


def answer_key(archive_key: str, notification_id: str) -> str:
    """Return the key of an answer that is too long to be sent, beside the archive at *archive_key*."""
    return f"{folder_of(archive_key)}answer-{notification_id}.json"


def folder_of(archive_key: str) -> str:
    """Return the prefix of the keys that belong to one job, with its `/`."""
    return archive_key[: archive_key.rfind("/") + 1]


def _is_answer(key: str) -> bool:
    return _ANSWER_NAME.fullmatch(key.rpartition("/")[2]) is not None


def mark_key(archive_key: str) -> str:
    """Return the key of the mark that cancels the job of *archive_key*."""
    return f"{folder_of(archive_key)}{_MARK_NAME}"


def is_receipt(key: str) -> bool:
    return _RECEIPT_NAME.fullmatch(key.rpartition("/")[2]) is not None


def is_record(key: str) -> bool:
    return _RECORD_NAME.fullmatch(key.rpartition("/")[2]) is not None


def _is_swept(key: str) -> bool:
    return is_receipt(key) or is_record(key)


@dataclass(frozen=True, slots=True)
class ListedObject:
    """One object of a listing, and when it was written."""

    key: str
    modified: datetime


def leftover_receipts(archive_key: str, listed: Iterable[ListedObject], before: datetime | None = None) -> list[str]:
    """
    Return the keys of the receipts and records among *listed*, the job's folder, that may be left over from earlier
    uploads: all, or those written *before* a time. The caller excludes the one of the finished archive.

    Empty if another object is in the folder, such as an archive made under another S3_FILE_PREFIX: its receipt can't be
    told from the others.
    """
    found = [one for one in listed if one.key != mark_key(archive_key)]
    if any(one.key != archive_key and not _is_swept(one.key) and not _is_answer(one.key) for one in found):
        return []
    return [one.key for one in found if _is_swept(one.key) and (before is None or one.modified < before)]


def encode_receipt(receipt: Receipt, contents: Contents, build: Mapping[str, object] | None = None) -> bytes:
    """Return the receipt's object. *build*: what makes it a record. Takes 3 µs for each member."""
    compressor = isal_zlib.compressobj(level=1, wbits=31)
    blocks = [compressor.compress(f"{_first_line(receipt, build)}\n".encode())]
    blocks += [compressor.compress(text.encode()) for text in _member_lines(contents)]
    return b"".join((*blocks, compressor.compress(END + b"\n"), compressor.flush()))


def _first_line(receipt: Receipt, build: Mapping[str, object] | None) -> str:
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
        **({} if build is None else {"build": build}),
        "members": [],
    }
    return json.dumps(head, ensure_ascii=False, separators=(",", ":"))[: -len(END)]


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
