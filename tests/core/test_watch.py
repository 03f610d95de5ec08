"""What of a request is not there yet, and when it is looked for again."""

from typing import Any

import pytest
from core.looks import ARCHIVED, DENIED, MISSING, RESTORING, A, B, C, Looking, listed

from archiver.core.locations import Location
from archiver.core.waiting import Wait
from archiver.core.watch import MAX_PAUSE
from archiver.errors import SourceUnavailable


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
