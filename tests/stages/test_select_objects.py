"""Listing prefixes: interruptions, bounds, and memory."""

import sys
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest
from fakes import FakeReader, FakeS3

from archiver.core import patterns
from archiver.core import select as rules
from archiver.core.entries import Selection
from archiver.core.locations import Location, parse_prefix
from archiver.core.objects import Listed, ListPage
from archiver.core.select import Prefix, Selector
from archiver.errors import Rejected, SourceUnavailable, TransferInterrupted, TransientError
from archiver.stages import select
from archiver.stages.credential_check import CredentialCheck
from archiver.stages.fetch import Fetcher, RetryPolicy
from archiver.stages.limiter import AdaptiveLimiter
from archiver.stages.select import Selected, select_objects

NOW = datetime(2026, 11, 28, tzinfo=UTC)


def selector(prefix: str = "src/", **fields: Any) -> Selector:
    return Selector.of(Selection.model_validate({"prefix": prefix, **fields}), parse_prefix(prefix, "photos"), NOW)


def reader_with(count: int, page_size: int = 10) -> FakeReader:
    s3 = FakeS3()
    for number in range(count):
        s3.put("photos", f"src/{number:04}", b"")
    reader = FakeReader(s3)
    reader.page_size = page_size
    return reader


async def run(reader: Any, *selectors: Selector, max_files: int | None = None) -> Selected:
    fetcher = Fetcher(reader, AdaptiveLimiter(8), RetryPolicy(tries=2, seconds=0, base=0, cap=0))
    return await select_objects(selectors, fetcher, CredentialCheck(None), max_files)


async def test_an_interrupted_listing_goes_on_at_the_page_that_it_broke_off_at() -> None:
    reader = reader_with(35)
    reader.faults.plan("list", TransferInterrupted("cut"), nth=3)

    selected = await run(reader, selector())

    assert [len(one) for one in selected.objects if isinstance(one, list)] == [35]
    assert [token for _, token in reader.lists] == ["", "src/0009", "src/0019", "src/0029"]
    assert (selected.count, selected.pages, reader.faults.calls["list"]) == (35, 4, 5)


async def test_a_page_that_fails_for_good_is_temporary() -> None:
    reader = reader_with(35)
    reader.faults.plan("list", TransferInterrupted("cut"), nth=2, times=0)
    with pytest.raises(TransientError, match="s3://photos/src/: cut"):
        await run(reader, selector())


async def test_a_refused_page_is_about_its_prefix_alone() -> None:
    reader = reader_with(5)
    reader.s3.unlistable["locked"] = "source_denied"
    denied, found = (await run(reader, selector("s3://locked/"), selector())).objects
    assert isinstance(denied, SourceUnavailable)
    assert (denied.code, denied.location) == ("source_denied", Location("locked", ""))
    assert isinstance(found, list)
    assert len(found) == 5


async def test_entries_with_one_prefix_share_its_listing_and_choose_each_for_itself() -> None:
    reader = reader_with(12)
    selected = await run(reader, selector(regex=".*1"), selector(regex=".*2"), selector(recursive=False))
    assert [[one.key[-2:] for one in each] for each in selected.objects if isinstance(each, list)] == [
        ["01", "11"],
        ["02"],
        [f"{number:02}" for number in range(12)],
    ]
    assert sorted(prefix.recursive for prefix, _ in reader.lists) == [False, False, True, True]


async def test_no_more_is_looked_at_than_one_request_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(select, "MAX_LISTED", 25)
    reader = reader_with(35)
    with pytest.raises(Rejected, match=r"too_large.*more than 25 objects to look at"):
        await run(reader, selector(regex="nothing"))
    with pytest.raises(Rejected, match="too_large"):
        await run(reader_with(5), *[selector(regex="nothing")] * 6)  # an object counts for each entry
    assert rules.MAX_LISTED == 10_000_000


async def test_a_pattern_that_would_keep_a_thread_busy_for_long_ends_with_its_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is within RE2's bounds, and takes up to 20 ms for each object."""
    monkeypatch.setattr(patterns, "MAX_STEPS", 1_000_000)  # of 3,605 instructions for 4 bytes: 69 objects
    reader = reader_with(200)

    with pytest.raises(Rejected, match="too_large: the patterns take too long for so many objects"):
        await run(reader, selector(regex="(x?){900}y"))

    assert len(reader.lists) <= 10
    usual = await run(reader_with(200), selector(regex=".*0"))
    assert usual.count == 20


def test_a_thread_gets_no_more_objects_at_once_than_it_can_look_at_in_a_second() -> None:
    objects = [Listed(f"src/{number}", 0, "", NOW) for number in range(1000)]
    assert [len(each) for each in selector(regex="(x?){900}y").slices(objects)] == [27] * 37 + [1]
    assert [len(each) for each in selector(regex=r".*\.jpg").slices(objects)] == [1000]
    assert [len(each) for each in selector().slices(objects)] == [1000]
    assert list(selector().slices([])) == []
    assert selector().steps(objects) == 0


class Endless:
    """A listing of *left* objects, made page by page."""

    def __init__(self, left: int) -> None:
        self.left = left

    async def list(self, prefix: Prefix, token: str = "") -> ListPage:
        self.left -= 1000
        keys = (f"{prefix.location.key}{self.left + number:010}/{'x' * 40}.jpg" for number in range(1000))
        return ListPage(
            [Listed(key, 1, f'"{key[:32]}"', datetime(2026, 1, 1, tzinfo=UTC)) for key in keys], str(self.left or "")
        )


async def test_chosen_objects_take_less_memory_each_than_is_stated_and_others_none() -> None:
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        selected = await run(Endless(6_000), selector())
        after, _ = tracemalloc.get_traced_memory()
        keys = sum(sys.getsizeof(one.key) for each in selected.objects if isinstance(each, list) for one in each)
        assert (after - before - keys) / selected.count < 300
        del selected
        await run(Endless(15_000), selector(where={"size": {"gt": 1}}))
        _, peak = tracemalloc.get_traced_memory()
        assert peak - after < 1 << 20
    finally:
        tracemalloc.stop()
