"""Whose restore is asked for, how long restores are waited for, and that every wait ends in time."""

import math
from typing import Any

from core.draft_factory import make_draft
from core.looks import ARCHIVED, MISSING, RESTORING, THERE, WAITS, A, B, Looking, listed
from hypothesis import given
from hypothesis import strategies as st

from archiver.core.draft import Draft, complete_draft
from archiver.core.locations import Location
from archiver.core.waiting import Wait
from archiver.core.watch import MAX_PAUSE, MAX_RESTORE_PAUSE
from archiver.errors import SourceUnavailable


def test_a_restore_is_asked_for_once() -> None:
    look = Looking(Wait(0, 7200), "a", "b")
    assert look.see({A: ARCHIVED, B: RESTORING}) == [(A, ARCHIVED)]
    look.watch.asked.add(A)
    assert look.see({A: ARCHIVED, B: RESTORING}, 1.0) == []
    assert look.see({A: RESTORING, B: RESTORING}, 2.0) == []
    assert look.state == (2, False)


def test_a_restore_whose_request_failed_is_asked_for_again() -> None:
    look = Looking(Wait(0, 7200), "a")
    assert look.see({A: ARCHIVED}) == look.see({A: ARCHIVED}, 1.0) == [(A, ARCHIVED)]


def test_nothing_is_restored_for_a_request_that_is_rejected_anyway() -> None:
    look = Looking(Wait(0, 7200), "a", "b")
    assert look.see({A: ARCHIVED, B: MISSING}) == []
    assert look.watch.is_over


def test_what_can_not_be_restored_is_not_waited_for() -> None:
    look = Looking(Wait(0, 7200), "a", "b", on_missing="skip")
    look.see({A: ARCHIVED, B: ARCHIVED})
    look.watch.record_refused(A)
    look.see({A: ARCHIVED, B: RESTORING}, 1.0)
    assert (look.state, look.to_look) == ((1, False), [B])
    failing = Looking(Wait(0, 7200), "a")
    failing.see({A: ARCHIVED})
    failing.watch.record_refused(A)
    failing.see({A: ARCHIVED}, 1.0)
    assert failing.watch.is_over


def test_restores_are_looked_at_less_often_than_missing_objects() -> None:
    look = Looking(Wait(0, 7200), "a")
    for _ in range(12):
        look.see({A: RESTORING})
    assert look.watch.pause(0.0) == MAX_RESTORE_PAUSE
    mixed = Looking(Wait(3600, 7200), "a", "b")
    for _ in range(12):
        mixed.see({A: RESTORING, B: MISSING})
    assert mixed.watch.pause(0.0) == MAX_PAUSE
    prefix = Looking(Wait(3600, 7200), "a", {"prefix": "p/"})
    for _ in range(12):
        prefix.see({A: RESTORING}, listings=[[]])
    assert prefix.watch.pause(0.0) == MAX_PAUSE


def test_each_kind_of_waiting_has_its_own_limit() -> None:
    look = Looking(Wait(60, 7200), "a", "b", on_missing="skip")
    look.see({A: MISSING, B: RESTORING})
    for _ in range(8):
        look.see({A: MISSING, B: RESTORING}, 50.0)
    assert look.watch.pause(50.0) == 10.0
    look.see({A: MISSING, B: RESTORING}, 60.0)
    assert (look.state, look.to_look) == ((1, False), [B])
    failing = Looking(Wait(60, 7200), "a", "b")
    failing.see({A: MISSING, B: RESTORING}, 60.0)
    assert failing.watch.is_over


def test_how_far_a_restore_is_of_objects_under_a_prefix_is_asked_by_head() -> None:
    """A listing does not tell of archive tiers, and not whether a restore runs."""
    found = [*listed("p/cold", archived=True), *listed("p/tiered", tiered=True), *listed("p/warm")]
    look = Looking(Wait(0, 7200), {"prefix": "p/"})
    cold = Location("photos", "p/cold")
    assert look.see({cold: ARCHIVED}, listings=[found]) == [(cold, ARCHIVED)]
    assert set(look.draft.known) == {Location("photos", "p/warm")}
    assert look.to_look == [cold]


def drafts_of(**fields: Any) -> Draft:
    draft = make_draft({"prefix": "p/"}, rules=WAITS, **fields)
    assert draft.pending is not None
    assert draft.pending.outline is not None
    return complete_draft(draft, draft.pending.outline, [listed("p/tiered", tiered=True)])


def test_objects_in_tiers_cost_no_head_unless_they_may_have_to_be_restored() -> None:
    assert drafts_of(wait_for={"timeout": 9}).known
    assert not drafts_of(on_archived="restore").known


SPANS = st.lists(
    st.tuples(st.sampled_from((0, 0, 2, 20)), st.sampled_from((0, 0, 10)), st.sampled_from((1, 9, 99))),
    min_size=1,
    max_size=5,
)


@given(SPANS, st.integers(1, 250), st.integers(0, 250))
def test_a_wait_ends_in_time_and_earlier_only_if_all_is_there_at_once(
    spans: list[tuple[int, int, int]], timeout: int, restores: int
) -> None:
    """Of each object: when it appears, archived; when it can be read; when it vanishes."""
    look, elapsed = Looking(Wait(timeout, restores), *(str(number) for number in range(len(spans)))), 0.0
    asked: list[Location] = []

    def answer(number: int) -> object:
        appears, readable, vanishes = spans[number]
        if not appears <= elapsed < max(vanishes, appears + readable):
            return MISSING
        return THERE if elapsed >= appears + readable else RESTORING if at(number) in asked else ARCHIVED

    def at(number: int) -> Location:
        return Location("photos", str(number))

    for _ in range(1000):
        answers = {at(number): answer(number) for number in range(len(spans))}
        new = [one for one, _ in look.see(answers, elapsed)]
        asked += new
        look.watch.asked.update(new)
        if look.watch.is_over:
            break
        pause = look.watch.pause(elapsed)
        assert pause >= 0.0
        elapsed += pause

    assert look.watch.is_over
    assert elapsed <= max(timeout, restores)
    assert len(asked) == len(set(asked))
    left = [one for one in answers.values() if isinstance(one, SourceUnavailable)]
    if left:
        codes = {one.code for one in left}
        assert elapsed >= (timeout if "source_missing" in codes else 0) or elapsed >= (
            restores if "source_archived" in codes else math.inf
        )
