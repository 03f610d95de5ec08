"""What reads tell changes the next plan, and says when planning again is of no use."""

from datetime import UTC, datetime

import pytest
from core.draft_factory import make_draft

from archiver.core.draft import Draft
from archiver.core.locations import Location
from archiver.core.objects import ObjectInfo
from archiver.core.plan import ObjectVersion, Plan, plan_archive
from archiver.core.replan import MAX_PLANS, MAX_REFUSED_READS, ReplanState, version_at, versions_read
from archiver.errors import Rejected, SourceChanged, SourceProblem, SourceUnavailable

WHEN = datetime(2024, 2, 29, 12, tzinfo=UTC)
A, B = Location("photos", "a"), Location("photos", "b")


def planned(draft: Draft, version: int = 0, size: int = 5) -> Plan:
    return plan_archive(draft, [ObjectInfo(size, f'"{version}"', WHEN) for _ in draft.files])


def version(key: str) -> ObjectVersion:
    return ObjectVersion(Location("photos", key), '"1"')


def changed(location: Location = A, *, gone: bool = False) -> SourceChanged:
    error = SourceChanged("S3 answered 404" if gone else "S3 answered 412", gone=gone)
    error.location = location
    return error


def test_an_object_that_changes_each_time_is_named_where_the_request_is_rejected() -> None:
    draft = make_draft("a", "b", "s3://photos/a")
    history = ReplanState(draft)
    for version in range(MAX_PLANS - 1):
        history.changed(changed(), planned(draft, version))
        assert not history.over

    with pytest.raises(Rejected) as caught:
        history.changed(changed(), planned(draft, MAX_PLANS))

    assert caught.value.code == "source_changed"
    assert caught.value.message == "s3://photos/a changed each time that it was read: S3 answered 412"
    assert caught.value.sources == (
        SourceProblem("a", "source_changed", "S3 answered 412"),
        SourceProblem("s3://photos/a", "source_changed", "S3 answered 412"),
    )


def test_objects_that_change_in_turn_are_all_named() -> None:
    draft = make_draft("a", "b")
    history = ReplanState(draft)
    for version, location in enumerate([B, A, B]):
        history.changed(changed(location), planned(draft, version))

    with pytest.raises(Rejected, match="and 1 other") as caught:
        history.changed(changed(), planned(draft, MAX_PLANS))

    assert [problem.source for problem in caught.value.sources] == ["a", "b"]


def test_the_same_etag_refused_twice_is_no_change_and_says_what_rewrites_etags() -> None:
    draft = make_draft("a", "b")
    history = ReplanState(draft)
    history.changed(changed(), planned(draft))

    with pytest.raises(Rejected) as caught:
        history.changed(changed(), planned(draft))

    assert caught.value.code == "source_changed"
    assert caught.value.message.startswith(
        's3://photos/a: S3 answered 412 to the ETag "0": the store returned this ETag twice'
    )
    assert "rewrites ETags" in caught.value.message
    assert [problem.source for problem in caught.value.sources] == ["a"]


def test_the_same_etag_of_two_objects_is_refused_for_each_by_itself() -> None:
    draft = make_draft("a", "b")
    history = ReplanState(draft)
    history.changed(changed(A), planned(draft))
    history.changed(changed(B), planned(draft))
    assert not history.over


def test_an_object_that_head_finds_twice_and_get_does_not_is_missing() -> None:
    draft = make_draft("a", "b")
    history = ReplanState(draft)
    history.changed(changed(gone=True), planned(draft))
    assert history.verdicts == {}

    history.changed(changed(gone=True), planned(draft))

    assert history.verdicts[A].code == "source_missing"
    assert "HEAD finds the object" in history.verdicts[A].detail


def test_a_change_of_what_is_not_planned_counts_all_the_same() -> None:
    """A defect, if it happens; it must not go on for ever."""
    draft = make_draft("a")
    history = ReplanState(draft)
    with pytest.raises(Rejected, match="source_changed"):
        for _ in range(MAX_PLANS):
            history.changed(changed(B), planned(draft))


def test_verdicts_are_kept_and_may_come_in_several_rounds_but_not_without_end() -> None:
    keys = [f"k{number}" for number in range(MAX_REFUSED_READS + 1)]
    draft = make_draft(*keys)
    history = ReplanState(draft)
    for number in range(MAX_REFUSED_READS - 1):
        history.refused({version(f"k{number}"): SourceUnavailable("source_denied", "403")})
    assert len(history.verdicts) == MAX_REFUSED_READS - 1
    assert not history.over

    with pytest.raises(Rejected, match="in a row were refused") as caught:
        history.refused({version(keys[-2]): SourceUnavailable("source_archived", "403")})

    assert caught.value.code == "source_denied"
    assert [problem.source for problem in caught.value.sources] == keys[:-1]


def test_a_key_that_is_taken_again_and_again_is_over_some_time() -> None:
    history = ReplanState(make_draft("a"))
    for _ in range(MAX_PLANS):
        assert not history.over
        history.record_superseded()
    assert history.over


def test_what_a_plan_reads_is_each_object_that_has_bytes_once() -> None:
    draft = make_draft("a", "b", "s3://photos/a", on_missing="skip")
    empty = ObjectInfo(0, '"0"', WHEN)
    some = ObjectInfo(5, '"1"', WHEN)
    plan = plan_archive(draft, [some, empty, some])
    assert [pinned.location for pinned in versions_read(plan.members)] == [A]
    assert version_at(plan, B) is not None
    with_text = plan_archive(draft, [SourceProblem("a", "source_missing"), some, SourceProblem("x", "source_missing")])
    assert [pinned.location for pinned in versions_read(with_text.members)] == [B]
    assert version_at(with_text, A) is None
