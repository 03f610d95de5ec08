"""A receipt says exactly what is in an archive, and is read back whatever keys look like."""

import gzip
import json
from array import array
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.core import receipt_parser
from archiver.core.locations import Location
from archiver.core.messages import Renamed
from archiver.core.plan import ArchiveSummary, Member, ObjectVersion
from archiver.core.receipt import Contents, ListedObject, Receipt, encode_receipt, leftover_receipts, receipt_key
from archiver.core.receipt_parser import ReceiptMember, ReceiptParser, UnreadableReceiptError
from archiver.errors import SourceProblem

WHEN = datetime(2024, 2, 29, 12, 34, 56, tzinfo=UTC)
TOKEN, OTHER = "ab" * 16, "cd" * 16
KEY = "3f/download.zip"
MADE = Receipt("archives", KEY, TOKEN, "77" * 32, ArchiveSummary("succeeded", 2, (), ()), 4711, 0xC0FFEE, WHEN)
PHOTO = Member("album/a.jpg", 5, WHEN, ObjectVersion(Location("photos", "p/a.jpg"), '"e1"', 7, "v1"))
TEXT = Member("_MISSING.txt", 4, WHEN, b"text")
BOTH = Contents((PHOTO, TEXT), array("I", [7, 8]), array("Q", [0, 100]))


def read(data: bytes, size: int = 1 << 20) -> tuple[Receipt | None, list[ReceiptMember]]:
    """Parse *data* in pieces of *size* bytes."""
    parser, members = ReceiptParser(), list[ReceiptMember]()
    for start in range(0, len(data), size):
        members += parser.feed(data[start : start + size])
    parser.end()
    return parser.receipt, members


def packed(*lines: str) -> bytes:
    return gzip.compress("\n".join((*lines, "")).encode(), mtime=0)


def test_a_receipt_is_one_json_document_with_a_member_on_each_line() -> None:
    text = gzip.decompress(encode_receipt(MADE, BOTH)).decode()
    assert json.loads(text) == {
        "format": 1,
        "bucket": "archives",
        "key": KEY,
        "token": TOKEN,
        "request": "77" * 32,
        "created": "2024-02-29T12:34:56Z",
        "status": "succeeded",
        "files": 2,
        "size": 4711,
        "crc32": "00c0ffee",
        "missing": [],
        "renamed": [],
        "members": [
            {
                "path": "album/a.jpg",
                "source": "s3://photos/p/a.jpg",
                "version": "v1",
                "etag": '"e1"',
                "size": 5,
                "crc32": "00000007",
                "offset": 0,
                "modified": 1709210096,
            },
            {
                "path": "_MISSING.txt",
                "source": None,
                "version": None,
                "etag": None,
                "size": 4,
                "crc32": "00000008",
                "offset": 100,
                "modified": 1709210096,
            },
        ],
    }
    assert [len(json.loads(line.strip(","))) for line in text.split("\n")[1:-2]] == [8, 8]


ODD = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(
    st.lists(st.tuples(ODD, ODD, st.one_of(st.none(), ODD), st.integers(0, 2**32 - 1)), min_size=1, max_size=600),
    st.lists(st.tuples(ODD, ODD, ODD), max_size=3),
    st.booleans(),
    st.integers(1, 40),
)
def test_what_is_written_is_read_back_whatever_keys_and_paths_look_like(
    members: list[tuple[str, str, str | None, int]], others: list[tuple[str, str, str]], addressed: bool, size: int
) -> None:
    missing = tuple(SourceProblem(source, "source_missing") for source, _, _ in others)
    renamed = tuple(Renamed(*other) for other in others)
    made = Receipt("b", KEY, TOKEN, "r", ArchiveSummary("partial", 1, missing, renamed), 1, 2, WHEN)
    planned = [
        Member(path, crc, WHEN, ObjectVersion(Location("photos", key), f'"{key}"', None, version))
        for path, key, version, crc in members
    ]
    crcs = array("I", [crc for *_, crc in members])
    offsets = array("Q", range(len(members))) if addressed else None

    head, told = read(encode_receipt(made, Contents(planned, crcs, offsets)), size)

    assert head == made
    assert told == [
        ReceiptMember(path, f"s3://photos/{key}", version, f'"{key}"', crc, crc, index if addressed else None, WHEN)
        for index, (path, key, version, crc) in enumerate(members)
    ]


def test_a_first_line_that_inflates_to_megabytes_is_read_in_pieces() -> None:
    missing = tuple(SourceProblem("x" * 1000, "source_missing") for _ in range(3000))
    made = Receipt("b", KEY, TOKEN, "r", ArchiveSummary("partial", 1, missing, ()), 1, 2, WHEN)
    head, members = read(encode_receipt(made, BOTH))
    assert (head, len(members)) == (made, 2)


def test_as_many_members_as_there_are_are_written() -> None:
    """They are encoded in blocks."""
    for count in (255, 256, 257, 600):
        members = [PHOTO._replace(path=str(number)) for number in range(count)]
        told = read(encode_receipt(MADE, Contents(members, array("I", bytes(4 * count)))))[1]
        assert [one.path for one in told] == [str(number) for number in range(count)]


HEAD = gzip.decompress(encode_receipt(MADE, BOTH)).decode().split("\n")[0]
LINE = gzip.decompress(encode_receipt(MADE, BOTH)).decode().split("\n")[1]


@pytest.mark.parametrize(
    "data",
    [
        b"PK",
        b"",
        encode_receipt(MADE, BOTH)[:-9],
        packed(HEAD, LINE),
        packed("{", "]}"),
        packed(HEAD.replace('"format":1', '"format":2'), "]}"),
        packed(HEAD.replace('"archives"', "7"), "]}"),
        packed(HEAD.replace('"missing":[]', '"missing":[{"source":"a","code":"unheard_of"}]'), "]}"),
        packed(HEAD, LINE.replace('"source"', '"sauce"'), "]}"),
        packed(HEAD, LINE.replace("1709210096", "1e99"), "]}"),
        packed(HEAD, "[1]", "]}"),
        packed(HEAD, "[" * 100_000, "]}"),
        packed(HEAD, LINE, "]}", LINE),
        packed(HEAD, LINE, "]}") + b"x",
        packed(HEAD, LINE, "]}", "x"),
        packed(HEAD, LINE.replace('"crc32":"', '"crc32":"-'), "]}"),
    ],
    ids=[
        "no gzip",
        "empty",
        "cut in gzip",
        "no end",
        "no head",
        "another format",
        "a number as bucket",
        "unknown code",
        "no source",
        "year 10^92",
        "a list",
        "deep",
        "a member behind the end",
        "bytes behind gzip's end",
        "bytes behind the end",
        "a negative CRC-32",
    ],
)
def test_what_is_no_complete_receipt_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableReceiptError):
        read(data)


def test_a_line_without_an_end_is_not_collected_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipt_parser, "MAX_LINE_BYTES", 1000)
    with pytest.raises(UnreadableReceiptError, match="more than 1,000 bytes"):
        read(gzip.compress(b"x" * 5000))


def test_the_line_of_a_member_is_not_collected_for_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipt_parser, "MAX_MEMBER_BYTES", 1000)
    with pytest.raises(UnreadableReceiptError, match="more than 1,000 bytes"):
        read(gzip.compress(f"{HEAD}\n".encode() + b"x" * 5000))


def test_a_receipt_lies_beside_its_archive() -> None:
    assert receipt_key(KEY, TOKEN) == f"3f/receipt-{TOKEN}.json.gz"


def listed(*keys: str, age: int = 0) -> list[ListedObject]:
    return [ListedObject(key, WHEN - timedelta(seconds=age)) for key in keys]


ONE, TWO = receipt_key(KEY, TOKEN), receipt_key(KEY, OTHER)


@pytest.mark.parametrize(
    ("found", "before", "left"),
    [
        ([], None, []),
        (listed(KEY, ONE, TWO), None, [ONE, TWO]),
        (listed(ONE), None, [ONE]),
        (listed(ONE, age=60) + listed(TWO, age=62), WHEN - timedelta(seconds=61), [TWO]),
        (listed(KEY, ONE, TWO, "3f/bundle.zip"), None, []),
        (listed(KEY, ONE, "3f/receipt-x.json.gz"), None, []),
    ],
    ids=["nothing", "all", "no archive", "only older ones", "another archive", "a stranger"],
)
def test_receipts_are_left_over_unless_another_archive_may_have_them(
    found: list[ListedObject], before: Any, left: list[str]
) -> None:
    assert leftover_receipts(KEY, found, before) == left
