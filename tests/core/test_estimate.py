"""What a job will take follows from its plan. That it is what jobs really take is tested in tests/cli/test_plan.py."""

from datetime import UTC, datetime

import pytest
from core.draft_factory import make_draft
from hypothesis import given
from hypothesis import strategies as st

from archiver import app
from archiver.core import estimate as estimates
from archiver.core.copies import CopyLimits, plan_copies
from archiver.core.estimate import PRICES, Estimate, Lookups, count_requests, estimate
from archiver.core.layout import MIB, Layout
from archiver.core.objects import ObjectInfo
from archiver.core.plan import Plan, plan_archive
from archiver.errors import Code, Rejected, SourceProblem
from archiver.stages import assemble, copying, deflate, gather

WHEN = datetime(2024, 2, 29, tzinfo=UTC)
BUDGET = 64 * MIB
LATENCY = 0.02


def planned(*sizes: int, compression: str = "store", **problems: Code) -> Plan:
    """A plan of objects of these *sizes*, and of others that S3 would not give."""
    names = [*(f"{n}.jpg" for n in range(len(sizes))), *problems]
    draft = make_draft(*names, compression=compression, on_missing="skip")
    found = [ObjectInfo(size, f'"{n}"', WHEN) for n, size in enumerate(sizes)]
    return plan_archive(draft, [*found, *(SourceProblem(name, code) for name, code in problems.items())])


def estimated(
    plan: Plan, objects: int, budget: int = BUDGET, latency: float = LATENCY, *, one_pass: bool = False
) -> Estimate:
    return estimate(plan, Lookups(objects), budget, latency, one_pass=one_pass)


def estimated_copies(plan: Plan) -> Estimate:
    copies = plan_copies(plan.members, CopyLimits())
    return estimate(plan, Lookups(plan.heads), BUDGET, LATENCY, copies=copies)


def test_small_archive_is_one_part_and_is_put_at_once() -> None:
    told = estimated(planned(1000, 2000, 0), 3)

    assert (told.parts, told.exact) == (1, True)
    assert told.calls == {
        "ReceiveMessage": 1,
        "HeadObject": 4,
        "GetObject": 2,
        "PutObject": 2,
        "SendMessage": 1,
        "ListMultipartUploads": 1,
        "ListObjectsV2": 1,
        "DeleteMessage": 1,
    }


def test_large_object_is_read_in_ranges_that_end_where_parts_do() -> None:
    told = estimated(planned(20 * MIB, 100), 2)

    assert (told.parts, told.part_size) == (3, 8 * MIB)
    assert told.calls["GetObject"] == 3 + 1
    assert {name: told.calls[name] for name in told.calls if "Part" in name or "Multipart" in name} == {
        "CreateMultipartUpload": 1,
        "UploadPart": 3,
        "CompleteMultipartUpload": 1,
        "ListMultipartUploads": 1,
    }


def test_object_that_is_named_twice_is_asked_for_once_and_read_twice() -> None:
    draft = make_draft("a.jpg", "a.jpg")
    told = estimated(plan_archive(draft, [ObjectInfo(5, '"e"', WHEN)] * 2), 1)

    assert (told.calls["HeadObject"], told.calls["GetObject"]) == (2, 2)


def test_denied_object_takes_a_read_that_says_why_and_a_missing_one_does_not() -> None:
    missing = estimated(planned(5, a="source_missing"), 2)
    assert (missing.calls["HeadObject"], missing.calls["GetObject"]) == (4, 1)
    assert estimated(planned(5, a="source_denied", b="source_denied"), 3).calls["GetObject"] == 3


def test_one_pass_reads_small_objects_at_once_and_learns_the_size_of_large_ones_by_a_read() -> None:
    told = estimated(planned(20 * MIB, 100, 0), 3, one_pass=True)

    assert (told.calls["HeadObject"], told.calls["GetObject"]) == (1, 3 + 3)


def test_archive_of_empty_files_reads_nothing() -> None:
    assert "GetObject" not in estimated(planned(0, 0), 2).calls


@given(st.lists(st.integers(0, 30 * MIB), min_size=1, max_size=8))
def test_stored_archives_are_told_to_the_byte(sizes: list[int]) -> None:
    plan = planned(*sizes)
    told, layout = estimated(plan, len(sizes)), Layout.for_max_part(plan.members, BUDGET // 3)

    assert (told.size, told.parts, told.part_size) == (layout.length, layout.parts, layout.part_size)


@given(st.lists(st.integers(0, 30 * MIB), min_size=1, max_size=8))
def test_compressed_archives_are_told_as_bounds_that_stored_ones_are_within(sizes: list[int]) -> None:
    bound, stored = (estimated(planned(*sizes, compression=how), len(sizes)) for how in ("deflate", "store"))

    assert not bound.exact
    assert bound.size >= stored.size
    assert bound.calls.get("UploadPart", 1) >= stored.calls.get("UploadPart", 1)


def test_archive_that_no_memory_budget_holds_is_too_large() -> None:
    with pytest.raises(Rejected, match="MEMORY_BUDGET_MIB"):
        estimated(planned(100_000 * MIB), 1, budget=15 * MIB)


def test_every_call_has_its_price_and_they_add_up() -> None:
    one, many = estimated(planned(1000), 1), estimated(planned(20 * MIB), 1)

    listing = estimate(planned(1000), Lookups(0, 7), 64 * MIB, 0.02)

    copied = estimated_copies(planned(20 * MIB))
    assert set(PRICES) == set(one.calls) | set(many.calls) | set(listing.calls) | set(copied.calls)
    assert (listing.calls["HeadObject"], listing.calls["ListObjectsV2"]) == (1, 8)  # one is for receipts
    # 2 HEAD, 1 GET; 2 PUT, 2 LIST; 3 calls of SQS
    assert one.dollars == pytest.approx(3 * 0.0004 / 1000 + 4 * 0.005 / 1000 + 3 * 0.40 / 1_000_000)
    # 2 HEAD, 3 GET; begin, 3 parts, the receipt, complete, 2 LIST; 3 calls of SQS
    assert many.dollars == pytest.approx(5 * 0.0004 / 1000 + 8 * 0.005 / 1000 + 3 * 0.40 / 1_000_000)


def test_time_is_what_the_performance_page_measured() -> None:
    """Of its table, within a third: 10,000 × 20 KB, without and with 20 ms before each answer; one object of 4 GiB."""
    small, large = planned(*[20_000] * 10_000), planned(4096 * MIB)

    assert estimated(small, 10_000, latency=0).seconds == pytest.approx(3.62, rel=0.33)
    assert estimated(small, 10_000, latency=0.02).seconds == pytest.approx(4.0, rel=0.33)
    assert estimated(large, 1, latency=0).seconds == pytest.approx(4.37, rel=0.33)


def test_time_grows_with_latency_and_with_compression() -> None:
    sizes = [10 * MIB] * 10
    stored, slow = (estimated(planned(*sizes), 10, latency=latency).seconds for latency in (0, 1))

    assert slow > 10 * stored
    assert estimated(planned(*sizes, compression="deflate"), 10, latency=0).seconds > 3 * stored


def test_little_memory_means_few_reads_at_once() -> None:
    plan = planned(*[5 * MIB] * 100)

    assert estimated(plan, 100, 15 * MIB, 1.0).seconds > 1.5 * estimated(plan, 100, 600 * MIB, 1.0).seconds


def test_what_the_store_copies_costs_little_time_and_no_reads() -> None:
    plan = planned(*[1024 * MIB] * 4)
    copied, streamed = estimated_copies(plan), estimated(plan, 4)

    assert (copied.calls["UploadPartCopy"], copied.calls["UploadPart"], copied.calls["GetObject"]) == (16, 5, 4)
    assert copied.size == streamed.size
    assert copied.size - copied.copied < 0.01 * copied.size
    assert copied.seconds == pytest.approx(3.1, rel=0.1)  # 255 MiB at 85 MB/s, all at once
    assert copied.seconds < streamed.seconds
    assert copied.dollars < streamed.dollars


def test_the_requests_of_an_archive_are_its_calls_to_s3() -> None:
    plan = planned(20 * MIB, 1000)
    assert count_requests(plan, BUDGET, None) == sum(
        count for name, count in estimated(plan, 2).calls.items() if name in PRICES and "Message" not in name
    )


def test_what_the_time_goes_by_is_what_the_stages_do() -> None:
    assert estimates.MAX_CONCURRENT_READS == app.MAX_CONCURRENT_READS
    assert estimates.MAX_CONCURRENT_UPLOADS == assemble.MAX_CONCURRENT_UPLOADS
    assert estimates.MAX_CONCURRENT_COPIES == copying.MAX_CONCURRENT_COPIES
    assert estimates.MAX_BODY_BYTES == gather.MAX_BODY_BYTES
    assert estimates.READ_AHEAD_CHUNKS == deflate.READ_AHEAD_CHUNKS
