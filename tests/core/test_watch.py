"""What of a request is not there yet, and when it is looked for again."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from core.draft_factory import RULES, SENT_AT, make_draft
from hypothesis import given
from hypothesis import strategies as st

from archiver.core.draft import Draft, complete_draft
from archiver.core.locations import Location
from archiver.core.objects import Listed
from archiver.core.waiting import Wait, WaitRules
from archiver.core.watch import MAX_PAUSE, MAX_RESTORE_PAUSE, Watch
from archiver.errors import SourceArchived, SourceUnavailable

A, B, C = (Location("photos", key) for key in "abc")
THERE = object()
MISSING = SourceUnavailable("source_missing", "no such key")
DENIED = SourceUnavailable("source_denied", "denied")
ARCHIVED = SourceArchived("archived")
RESTORING = SourceArchived("archived", restoring=True)
WAITS = replace(RULES, waiting=WaitRules(tiers=("Standard",)))
Found = Sequence[Sequence[Listed] | SourceUnavailable]


class Looking:
    """A watch of a request for a, b and c, or for other *files*."""

    def __init__(self, wait: Wait, *files: str | dict[str, Any], **fields: Any) -> None:
        fields = {"wait_for": {"timeout": 900}, **fields}
        if wait.archived:
            fields["on_archived"] = "restore"
        self.draft = make_draft(*(files or "abc"), rules=WAITS, **fields)
        self.watch = Watch(wait)

    @property
    def to_look(self) -> list[Location]:
        return self.watch.to_look(file.location for file in self.draft.files)

    def see(
        self, answers: Mapping[Location, object], elapsed: float = 0.0, listings: Found | None = None
    ) -> list[tuple[Location, SourceArchived]]:
        """Look once: what *answers* does not name is there. *listings*: of the prefixes."""
        if listings is not None:
            assert self.draft.pending is not None
            assert self.draft.pending.outline is not None
            self.draft = complete_draft(self.draft, self.draft.pending.outline, listings)
        found = {at: answers.get(at, THERE) for at in self.to_look if at not in self.draft.known}
        return self.watch.record(self.draft, found, elapsed)

    @property
    def state(self) -> tuple[int, bool]:
        return self.watch.count, self.watch.is_over


def listed(*keys: str, archived: bool = False, tiered: bool = False) -> list[Listed]:
    return [Listed(key, 1, '"e"', SENT_AT, archived, tiered) for key in keys]


def test_nothing_is_waited_for_if_all_objects_are_there() -> None:
    look = Looking(Wait(900))
    assert look.see({}) == []
    assert look.state == (0, True)


def test_only_what_was_missing_is_looked_for_again_and_then_all_once_more() -> None:
    look, seen = Looking(Wait(900), "a", "b", "c", {"source": "a", "name": "again"}), list[list[Location]]()
    for answers in ({B: MISSING, C: MISSING}, {C: MISSING}, {}, {}):
        assert not look.watch.is_over
        seen.append(look.to_look)
        look.see(answers, 1.0)
    assert seen == [[A, B, C], [B, C], [C], [A, B, C]]
    assert look.watch.is_over


def test_an_object_that_vanished_meanwhile_is_waited_for_again() -> None:
    look = Looking(Wait(900), "a", "b")
    look.see({B: MISSING})
    look.see({}, 1.0)
    assert look.watch.pause(1.0) == 0.0
    look.see({A: MISSING}, 1.1)
    assert (look.state, look.to_look, look.watch.pause(1.1)) == ((1, False), [A], 4.0)
    look.see({}, 5.0)
    look.see({}, 5.1)
    assert look.watch.is_over


def test_pauses_double_up_to_a_minute_and_the_last_look_is_at_the_limit() -> None:
    look, elapsed, pauses = Looking(Wait(200), "a"), 0.0, list[float]()
    look.see({A: MISSING}, elapsed)
    while not look.watch.is_over:
        pauses.append(look.watch.pause(elapsed))
        elapsed += pauses[-1]
        look.see({A: MISSING}, elapsed)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, MAX_PAUSE, MAX_PAUSE, 17.0]
    assert elapsed == 200.0


def test_a_wait_whose_time_was_spent_before_looks_once() -> None:
    look = Looking(Wait(900, spent=900.0), "a")
    look.see({A: MISSING}, 900.0)
    assert look.watch.is_over


@pytest.mark.parametrize("problem", [DENIED, ARCHIVED])
def test_a_problem_that_no_waiting_mends_ends_the_wait_at_once(problem: SourceUnavailable) -> None:
    look = Looking(Wait(900))
    look.see({A: MISSING, B: problem})
    assert look.watch.is_over


def test_a_problem_that_is_skipped_does_not_end_the_wait() -> None:
    look = Looking(Wait(900), "a", "b", on_missing="skip")
    look.see({A: MISSING, B: DENIED})
    assert (look.state, look.to_look) == ((1, False), [A])
    look.see({}, 1.0)
    look.see({B: DENIED}, 1.0)
    assert look.watch.is_over


def test_a_wait_that_is_over_is_over_also_if_missing_objects_are_skipped() -> None:
    look = Looking(Wait(900), on_missing="skip")
    look.see({B: MISSING})
    look.see({B: MISSING}, 900.0)
    assert look.watch.is_over


def test_a_look_that_failed_is_repeated_until_the_limit() -> None:
    look = Looking(Wait(900))
    look.watch.record_failure(0.0)
    assert (look.state, look.to_look, look.watch.pause(0.0)) == ((1, False), [A, B, C], 1.0)
    look.see({B: MISSING}, 1.0)
    look.watch.record_failure(3.0)
    assert (look.state, look.to_look, look.watch.pause(3.0)) == ((1, False), [B], 4.0)
    look.watch.record_failure(900.0)
    assert look.watch.is_over


def test_a_failed_last_look_is_repeated_with_a_pause() -> None:
    look = Looking(Wait(900), "a")
    look.see({A: MISSING})
    look.see({}, 1.0)
    look.watch.record_failure(1.0)
    assert (look.to_look, look.watch.pause(1.0)) == ([A], 4.0)
    look.see({}, 5.0)
    assert look.watch.is_over


# ---- prefixes


@pytest.mark.parametrize(
    ("where", "on_empty", "count", "awaited"),
    [
        ({}, "fail", 0, True),
        ({}, "skip", 0, True),
        ({}, "fail", 1, False),
        ({"count": {"min": 3}}, "fail", 2, True),
        ({"count": {"min": 3}}, "skip", 2, True),
        ({"count": {"min": 3}}, "fail", 3, False),
        ({"count": {"min": 0}}, "skip", 0, False),
        ({"count": {"min": 0}}, "fail", 0, True),  # one object at least, or the request is rejected
        ({"count": {"max": 0}}, "fail", 0, False),
        ({"count": {"max": 2}}, "fail", 3, False),
        ({"age": {"gt": 60}}, "fail", 0, False),  # what comes later is younger than the request
        ({"age": {"gt": 0, "lt": 60}}, "skip", 0, False),
        ({"age": {"lt": 60}}, "fail", 0, True),
        ({"size": {"gt": 9}}, "fail", 0, True),
    ],
)
def test_a_prefix_is_awaited_until_it_selects_enough(
    where: dict[str, Any], on_empty: str, count: int, awaited: bool
) -> None:
    look = Looking(Wait(900), {"prefix": "p/", **({"where": where} if where else {})}, on_empty=on_empty)
    look.see({}, listings=[listed(*(f"p/{number}" for number in range(count)))])
    assert look.state == ((1, False) if awaited else (0, True))


def test_files_are_not_looked_at_again_while_a_prefix_is_awaited_and_once_more_in_the_end() -> None:
    look = Looking(Wait(900), "a", {"prefix": "p/"})
    look.see({}, listings=[[]])
    assert (look.state, look.to_look) == ((1, False), [])
    look.see({}, 1.0, listings=[listed("p/1")])
    assert look.state == (0, False)
    assert A in look.to_look
    look.see({}, 1.0, listings=[listed("p/1")])
    assert look.watch.is_over


def test_what_listings_tell_of_is_not_looked_at() -> None:
    look = Looking(Wait(900), {"prefix": "p/"})
    look.see({}, listings=[listed("p/1", "p/2")])
    assert look.watch.is_over
    assert set(look.draft.known) == {Location("photos", "p/1"), Location("photos", "p/2")}


@pytest.mark.parametrize(
    ("fields", "found", "over"),
    [
        ({}, DENIED, True),
        ({"on_missing": "skip"}, DENIED, False),
        ({}, MISSING, False),  # its bucket may come
        ({}, listed("p/1", archived=True), True),
        ({"on_archived": "skip"}, listed("p/1", archived=True), False),
        ({"on_missing": "skip"}, listed("p/1", archived=True), False),
        ({"on_missing": "skip", "on_archived": "fail"}, listed("p/1", archived=True), True),
    ],
)
def test_a_prefix_with_a_problem_that_rejects_the_request_ends_the_wait(
    fields: dict[str, str], found: Any, over: bool
) -> None:
    look = Looking(Wait(900), {"prefix": "p/"}, {"prefix": "q/"}, **fields)
    look.see({}, listings=[found, []])
    assert look.watch.is_over == over


@pytest.mark.parametrize(("on_empty", "over"), [("fail", True), ("skip", False)])
def test_a_prefix_whose_time_is_over_ends_the_wait_for_restores_only_if_it_rejects_the_request(
    on_empty: str, over: bool
) -> None:
    look = Looking(Wait(60, 7200), {"prefix": "p/"}, "a", on_empty=on_empty)
    look.see({A: RESTORING}, listings=[[]])
    assert look.state == (2, False)
    look.see({A: RESTORING}, 60.0, listings=[[]])
    assert look.watch.is_over == over


# ---- restores


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
