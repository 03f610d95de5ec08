"""What S3 says of the objects decides the members, and the same answer can be told again from the finished archive."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from core.draft_factory import make_draft
from hypothesis import given
from hypothesis import strategies as st

from archiver.core.draft import Draft
from archiver.core.locations import Location
from archiver.core.messages import Renamed
from archiver.core.objects import ObjectInfo
from archiver.core.plan import (
    ArchiveSummary,
    Member,
    ObjectVersion,
    check_count,
    check_size,
    plan_archive,
    summarize_without_receipt,
)
from archiver.errors import Code, Rejected, SourceProblem

WHEN = datetime(2024, 2, 29, 12, tzinfo=UTC)
GONE: Code = "source_missing"


def info(size: int = 5, modified: datetime = WHEN, content_type: str = "") -> ObjectInfo:
    return ObjectInfo(size, f'"etag-{size}"', modified, content_type, crc32=7)


def gone(draft: Draft, *places: int) -> list[ObjectInfo | SourceProblem]:
    """Everything is there but the files at *places*."""
    return [
        SourceProblem(file.source, GONE, "not there") if place in places else info(place)
        for place, file in enumerate(draft.files)
    ]


def test_members_are_pinned_and_keep_the_order_of_the_request() -> None:
    draft = make_draft("p/b.jpg", "p/a.jpg")
    plan = plan_archive(draft, [info(5), info(0)])
    assert plan.members == (
        Member("b.jpg", 5, WHEN, ObjectVersion(Location("photos", "p/b.jpg"), '"etag-5"', 7)),
        Member("a.jpg", 0, WHEN, ObjectVersion(Location("photos", "p/a.jpg"), '"etag-0"', 7)),
    )
    assert plan.outcome == ArchiveSummary("succeeded", 2, (), ())
    assert (plan.deflates, plan.request_hash) == (False, draft.request_hash)


def test_missing_objects_reject_the_job_and_all_of_them_are_listed() -> None:
    draft = make_draft("a", "b", "c")
    denied = SourceProblem("b", "source_denied", "no s3:ListBucket")
    with pytest.raises(Rejected) as caught:
        plan_archive(draft, [info(), denied, SourceProblem("c", GONE)])
    assert caught.value.code == "source_denied"
    assert caught.value.message == (
        "2 of 3 objects can't be read: b: source_denied (no s3:ListBucket); c: source_missing"
    )
    assert caught.value.sources == (denied, SourceProblem("c", GONE))


def test_a_long_list_of_missing_objects_is_told_briefly_and_listed_in_full() -> None:
    draft = make_draft(*(f"{number}-{'x' * 900}" for number in range(100)))
    with pytest.raises(Rejected) as caught:
        plan_archive(draft, gone(draft, *range(100)))
    assert caught.value.message.endswith("; and 80 more")
    assert len(caught.value.message) < 6_000
    assert len(caught.value.sources) == 100


def test_missing_objects_are_skipped_where_the_request_says_so_and_told_in_the_last_member() -> None:
    draft = make_draft("a", "b\t", "c", on_missing="skip", compression="deflate")
    plan = plan_archive(draft, [info(1), SourceProblem("b\t", GONE), info(3, WHEN + timedelta(days=1))])
    assert [member.path for member in plan.members] == ["a", "c", "_MISSING.txt"]
    text = plan.members[-1]
    assert text.content == b"b\\t\tsource_missing\n"
    assert text.size == len(text.content)
    assert text.modified == WHEN + timedelta(days=1)
    assert not text.deflate
    assert plan.outcome == ArchiveSummary("partial", 2, (SourceProblem("b\t", GONE),), ())


def test_a_request_of_which_nothing_is_left_is_rejected_with_the_first_code() -> None:
    draft = make_draft("a", "b", on_missing="skip")
    with pytest.raises(Rejected, match="2 of 2 objects") as caught:
        plan_archive(draft, [SourceProblem("a", "source_archived"), SourceProblem("b", GONE)])
    assert caught.value.code == "source_archived"
    assert len(caught.value.sources) == 2


@pytest.mark.parametrize(
    ("names", "path"),
    [
        (["_MISSING.txt", "x"], "_MISSING (2).txt"),
        (["_missing.TXT", "x"], "_MISSING (2).txt"),
        (["_MISSING.txt/a", "x"], "_MISSING (2).txt"),
        (["_MISSING.txt", "_MISSING (2).txt", "x"], "_MISSING (3).txt"),
        (["a/_MISSING.txt", "x"], "_MISSING.txt"),
        (["a", "_MISSING.txt"], "_MISSING.txt"),
    ],
)
def test_the_list_of_the_missing_is_renamed_on_a_clash_with_what_is_there(names: list[str], path: str) -> None:
    draft = make_draft(*({"source": name, "name": name} for name in names), on_missing="skip")
    plan = plan_archive(draft, gone(draft, len(names) - 1))
    assert plan.members[-1].path == path


def test_skipped_duplicates_make_an_archive_partial_but_need_no_list_in_it() -> None:
    draft = make_draft("a/x", "b/x", "c", on_duplicate="skip", on_missing="skip")
    assert [member.path for member in plan_archive(draft, [info(), info()]).members] == ["x", "c"]
    outcome = plan_archive(draft, [info(), info()]).outcome
    assert outcome == ArchiveSummary("partial", 2, (SourceProblem("b/x", "name_conflict"),), ())
    plan = plan_archive(draft, [SourceProblem("a/x", GONE), info()])
    assert plan.members[-1].content == b"a/x\tsource_missing\n"
    assert plan.outcome.missing == (SourceProblem("a/x", GONE), SourceProblem("b/x", "name_conflict"))
    assert plan.outcome.files == 1


def test_renames_are_decided_before_anything_is_skipped_and_only_those_in_the_archive_are_told() -> None:
    draft = make_draft("a/x", "b/x", "c/x", on_missing="skip")
    plan = plan_archive(draft, gone(draft, 0, 1))
    assert [member.path for member in plan.members] == ["x (3)", "_MISSING.txt"]
    assert plan.outcome.renamed == (Renamed("c/x", "x", "x (3)"),)


def test_a_source_that_came_or_went_between_two_looks_is_missing_everywhere() -> None:
    draft = make_draft("a", {"source": "a", "name": "copy"}, "b", on_missing="skip")
    plan = plan_archive(draft, [info(), SourceProblem("a", GONE), info()])
    assert [member.path for member in plan.members] == ["b", "_MISSING.txt"]
    assert plan.outcome.missing == (SourceProblem("a", GONE),) * 2


@pytest.mark.parametrize(
    ("modified", "kept"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), datetime(1980, 1, 1, tzinfo=UTC)),
        (datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC), datetime(2037, 12, 31, 23, 59, 58, tzinfo=UTC)),
        (datetime(9999, 12, 31, tzinfo=UTC), datetime(2037, 12, 31, 23, 59, 58, tzinfo=UTC)),
        (WHEN, WHEN),
    ],
)
def test_times_are_clamped_to_what_a_zip_can_hold(modified: datetime, kept: datetime) -> None:
    assert plan_archive(make_draft("a"), [info(modified=modified)]).members[0].modified == kept


@pytest.mark.parametrize(
    ("compression", "flags"), [("store", [False, False]), ("deflate", [True, True]), ("auto", [True, False])]
)
def test_compression_is_decided_for_each_member(compression: str, flags: list[bool]) -> None:
    draft = make_draft("a.txt", "b.jpg", compression=compression)
    plan = plan_archive(draft, [info(content_type="text/plain"), info(content_type="image/jpeg")])
    assert [member.deflate for member in plan.members] == flags
    assert plan.deflates == any(flags)


def test_an_answer_that_does_not_belong_to_the_draft_is_a_defect() -> None:
    with pytest.raises(ValueError):
        plan_archive(make_draft("a", "b"), [info()])


@given(
    st.lists(
        st.fixed_dictionaries({"source": st.sampled_from(["a", "b/a", "A", "c", "a\\\tb\n"])}), min_size=1, max_size=8
    ),
    st.sampled_from(["rename", "skip"]),
    st.sets(st.integers(0, 7)),
)
def test_without_its_receipt_a_finished_archive_is_described_by_its_request_and_its_counts(
    files: list[Any], on_duplicate: str, places: set[int]
) -> None:
    """Exactly if no object was missing; else files and status are right, and the number of the missing."""
    draft = make_draft(*files, on_missing="skip", on_duplicate=on_duplicate)
    try:
        first = plan_archive(draft, gone(draft, *places)).outcome
    except Rejected:
        return
    again = summarize_without_receipt(draft, first.files, first.status)
    assert (again.status, again.files) == (first.status, first.files)
    assert len(again.missing) + again.unlisted == len(first.missing)
    if not any(problem.code == GONE for problem in first.missing):
        assert again == first


def test_a_folders_marker_that_is_skipped_is_told_like_what_is_missing() -> None:
    draft = make_draft("album/", "a", "gone", on_missing="skip")
    plan = plan_archive(draft, gone(draft, 1))
    assert [(one.source, one.code) for one in plan.outcome.missing] == [("album/", "invalid_request"), ("gone", GONE)]
    text = plan.members[-1].content
    assert isinstance(text, bytes)
    assert text == b"album/\tinvalid_request\ngone\tsource_missing\n"
    assert (plan.outcome.status, plan.outcome.files) == ("partial", 1)


def test_a_request_of_markers_alone_is_rejected_even_where_they_are_skipped() -> None:
    with pytest.raises(Rejected) as caught:
        plan_archive(make_draft("album/", "b/", on_missing="skip"), [])
    assert caught.value.code == "invalid_request"
    assert caught.value.message.startswith(
        "2 of 2 objects can't be read: album/: invalid_request (names a folder: its key ends in /."
    )


def test_more_files_than_the_setting_allows_are_too_large_and_those_that_are_skipped_count() -> None:
    draft = make_draft("a", "b", "album/", on_missing="skip")
    check_count(draft, None)
    check_count(draft, 3)
    with pytest.raises(Rejected) as caught:
        check_count(draft, 2)
    assert (caught.value.code, caught.value.message) == (
        "too_large",
        "the request names 3 files; MAX_FILES is 2",
    )


@pytest.mark.parametrize("compression", ["store", "deflate"])
def test_more_bytes_than_the_setting_allows_are_too_large_however_they_compress(compression: str) -> None:
    draft = make_draft("a", {"source": "a", "name": "b"}, compression=compression)
    plan = plan_archive(draft, [info(1_000), info(1_000)])
    check_size(plan, None)
    check_size(plan, 2_000)
    with pytest.raises(Rejected) as caught:
        check_size(plan, 1_999)
    assert (caught.value.code, caught.value.message) == (
        "too_large",
        "the 2 files have 2,000 bytes together; MAX_ARCHIVE_BYTES is 1,999",
    )


def test_of_a_selection_without_its_receipt_only_the_metadata_is_known() -> None:
    draft = make_draft({"prefix": "src/"})

    assert summarize_without_receipt(draft, 7, "partial") == ArchiveSummary("partial", 7, (), ())
