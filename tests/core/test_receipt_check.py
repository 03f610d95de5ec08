"""A receipt is held against the archive and against the sources, and each difference is a sentence."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from archiver.core.locations import Location
from archiver.core.objects import ObjectInfo
from archiver.core.plan import ArchiveSummary
from archiver.core.receipt import Receipt
from archiver.core.receipt_check import WholeReceipt, archive_problems, source_problems
from archiver.core.receipt_parser import ReceiptMember
from archiver.core.zip_parser import Entry
from archiver.errors import SourceUnavailable

WHEN = datetime(2024, 2, 29, 12, 34, 56, tzinfo=UTC)
RECEIPT = Receipt("archives", "3f/a.zip", "ab" * 16, "r", ArchiveSummary("succeeded", 1, (), ()), 500, 0xC0FFEE, WHEN)
MEMBER = ReceiptMember("a.jpg", "s3://photos/p/a.jpg", None, '"e1"', 5, 7, 0, WHEN)
MADE = ReceiptMember("_MISSING.txt", None, None, None, 9, 8, 50, WHEN)
WHOLE = WholeReceipt(RECEIPT, [MEMBER, MADE])
ENTRY = Entry("a.jpg", b"a.jpg", 0, 0, 7, 5, 5, 0, WHEN)
ENTRY_MADE = Entry("_MISSING.txt", b"_MISSING.txt", 0, 0, 8, 9, 9, 50, WHEN)
PHOTO = Location("photos", "p/a.jpg")
INFO = ObjectInfo(5, '"e1"', WHEN)


@pytest.mark.parametrize("crc32", [None, 0xC0FFEE])
def test_an_archive_as_in_its_receipt_has_no_problem(crc32: int | None) -> None:
    assert archive_problems(WHOLE, [ENTRY, ENTRY_MADE], 500, crc32) == []
    compressed = WholeReceipt(RECEIPT, [replace(one, offset=None) for one in WHOLE.members])
    assert archive_problems(compressed, [ENTRY, ENTRY_MADE], 500, crc32) == []


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (replace(ENTRY, size=6), "a.jpg: has 6 bytes; in the receipt it has 5"),
        (replace(ENTRY, crc32=1), "a.jpg: has the CRC-32 00000001; in the receipt it has 00000007"),
        (replace(ENTRY, offset=1), "a.jpg: begins at 1; in the receipt it begins at 0"),
    ],
)
def test_a_member_that_differs_is_a_problem(entry: Entry, problem: str) -> None:
    assert archive_problems(WHOLE, [entry, ENTRY_MADE], 500, None) == [problem]


def test_members_that_only_one_has_and_another_archive_are_problems() -> None:
    assert archive_problems(WHOLE, [ENTRY_MADE, replace(ENTRY, path="b.jpg")], 501, 1) == [
        "the archive has 501 bytes; in the receipt it has 500",
        "the archive has the CRC-32 00000001; in the receipt it has 00c0ffee",
        "a.jpg: is in the receipt, and not in the archive",
        "b.jpg: is in the archive, and not in the receipt",
    ]


def test_sources_are_compared_by_their_etags_and_each_is_told_once() -> None:
    twice = WholeReceipt(RECEIPT, [MEMBER, MADE, replace(MEMBER, path="a (2).jpg")])
    assert source_problems(twice, {PHOTO: INFO}) == []
    changed = INFO._replace(etag='"e2"')
    assert source_problems(twice, {PHOTO: changed}) == ['s3://photos/p/a.jpg: has the ETag "e2" now; "e1" was archived']
    gone = SourceUnavailable("source_missing", "no such key or bucket")
    assert source_problems(WHOLE, {PHOTO: gone}) == ["s3://photos/p/a.jpg: source_missing (no such key or bucket)"]
