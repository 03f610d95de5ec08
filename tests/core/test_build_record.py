"""Records of unfinished uploads: written, read back, and of no use for any other archive."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from archiver.core.build_record import BuildRecord, decode_record, digest_of, encode_record, source_hash
from archiver.core.copies import CopyLimits, plan_copies
from archiver.core.kept import Checksums
from archiver.core.layout import MAX_PART_SIZE, MIB, Layout
from archiver.core.locations import Location
from archiver.core.plan import ArchiveSummary, Member, ObjectVersion
from archiver.core.receipt import Contents as ReceiptContents
from archiver.core.receipt import Receipt, encode_receipt
from archiver.core.receipt_parser import ReceiptParser, UnreadableReceiptError

AT = datetime(2024, 2, 29, 12, 34, 56, tzinfo=UTC)
MEMBERS = (
    Member("a.jpg", 700, AT, ObjectVersion(Location("source", "a"), '"1"')),
    Member("b.jpg", 2500, AT, ObjectVersion(Location("source", "b"), '"2"')),
    Member("_MISSING.txt", 5, AT, b"hello"),
)
LAYOUT = Layout(MEMBERS, 1000)
RECEIPT = Receipt("archives", "3f/download.zip", "ab" * 16, "cd" * 32, ArchiveSummary("succeeded", 2, (), ()))
RECORD = BuildRecord(RECEIPT, "upload/1+2", 1000, "ef" * 32, source_hash("arn"), "message-1")


def decoded(body: bytes) -> BuildRecord:
    parser = ReceiptParser()
    crcs = [member.crc32 for member in parser.feed(body)]
    parser.end()
    return decode_record(parser, crcs)


def sums_of(parts: dict[int, int], *members: int) -> Checksums:
    sums = Checksums(parts=parts)
    sums.members.extend(members)
    return sums


def test_a_record_is_read_back_as_it_was_written() -> None:
    body = encode_record(RECORD, LAYOUT, sums_of({0: 0xABCD, 2: 7}, 11, 22))
    read = decoded(body)
    assert (read.upload, read.part_size, read.digest) == ("upload/1+2", 1000, "ef" * 32)
    assert (read.source, read.message) == (source_hash("arn"), "message-1")
    assert (read.crcs, read.parts) == ({0: 11, 1: 22}, {0: 0xABCD, 2: 7})
    assert replace(read.receipt, created=RECEIPT.created) == RECEIPT


def test_a_record_adds_to_what_an_earlier_one_knew() -> None:
    before = replace(RECORD, crcs={2: 33}, parts={3: 4})
    read = decoded(encode_record(before, LAYOUT, sums_of({0: 1}, 11)))
    assert (read.crcs, read.parts) == ({0: 11, 2: 33}, {0: 1, 3: 4})


def test_the_first_record_knows_nothing() -> None:
    read = decoded(encode_record(RECORD, LAYOUT, Checksums()))
    assert (read.crcs, read.parts) == ({}, {})


def test_a_receipt_is_no_record() -> None:
    with pytest.raises(UnreadableReceiptError):
        decoded(encode_receipt(RECEIPT, ReceiptContents(MEMBERS, [1, 2, 3])))


def test_what_was_not_read_is_no_record() -> None:
    with pytest.raises(UnreadableReceiptError):
        decode_record(ReceiptParser(), [])


@pytest.mark.parametrize("size", [0, -1, MAX_PART_SIZE + 1])
def test_parts_that_no_store_takes_are_no_record(size: int) -> None:
    with pytest.raises(UnreadableReceiptError):
        decoded(encode_record(replace(RECORD, part_size=size), LAYOUT, Checksums()))


LIMITS = CopyLimits(7 * MIB, 10 * MIB, 20 * MIB, 64 * MIB, 9, frozenset({"far"}))


@pytest.mark.parametrize("limits", [LIMITS, CopyLimits()])
def test_the_limits_of_copies_are_read_back(limits: CopyLimits) -> None:
    assert decoded(encode_record(replace(RECORD, copies=limits), LAYOUT, Checksums())).copies == limits


@pytest.mark.parametrize(
    "false",
    [
        {"cost": -1},
        {"filled": 0},
        {"filled": 21 * MIB},
        {"max_filled": 1 << 40},
        {"copied": 1},
        {"copied": 1 << 40},
        {"members": 0},
    ],
    ids=str,
)
def test_limits_that_no_plan_has_are_no_record(false: dict[str, Any]) -> None:
    with pytest.raises(UnreadableReceiptError):
        decoded(encode_record(replace(RECORD, copies=replace(LIMITS, **false)), LAYOUT, Checksums()))


def test_the_digest_is_another_one_for_other_copies() -> None:
    large = (MEMBERS[0]._replace(size=40 * MIB), MEMBERS[1])
    plans = [plan_copies(large, limits) for limits in (CopyLimits(), CopyLimits(copied=10 * MIB))]
    assert len({digest_of(large, "r", 1, (), plan) for plan in (None, *plans)}) == 3


def digest(members: tuple[Member, ...] = MEMBERS, request: str = "r", part: int = 1000, acl: str = "private") -> str:
    return digest_of(members, request, part, [("x-amz-acl", acl)])


def test_the_digest_is_the_same_for_the_same_pins_however_they_were_learned() -> None:
    """A listing tells neither the CRC-32 nor the version of an object, and a role is only how it is read."""
    first = MEMBERS[0]
    pinned = ObjectVersion(Location("source", "a", "role"), '"1"', 5, "version")
    listed = first._replace(content=pinned, modified=AT + timedelta(milliseconds=500))
    assert digest((listed, *MEMBERS[1:])) == digest()


@pytest.mark.parametrize(
    "other",
    [
        digest((MEMBERS[0]._replace(path="b/a.jpg"), *MEMBERS[1:])),
        digest((MEMBERS[0]._replace(size=701), *MEMBERS[1:])),
        digest((MEMBERS[0]._replace(modified=AT + timedelta(seconds=1)), *MEMBERS[1:])),
        digest((MEMBERS[0]._replace(content=ObjectVersion(Location("source", "a"), '"9"')), *MEMBERS[1:])),
        digest((MEMBERS[0]._replace(content=ObjectVersion(Location("source", "z"), '"1"')), *MEMBERS[1:])),
        digest((*MEMBERS[:2], MEMBERS[2]._replace(content=b"other"))),
        digest((MEMBERS[1], MEMBERS[0], MEMBERS[2])),
        digest(MEMBERS[:2]),
        digest(request="s"),
        digest(part=2000),
        digest(acl="public-read"),
    ],
    ids=["path", "size", "time", "version", "object", "text", "order", "fewer", "request", "parts", "options"],
)
def test_the_digest_is_another_one_for_another_archive(other: str) -> None:
    assert other != digest()
