"""What a request waits for, what of it is not there yet, and when it is looked for again."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from archiver.core.dialects.native import parse_request
from archiver.core.locations import Location
from archiver.core.waiting import (
    MAX_PAUSE,
    MAX_RESTORE_DAYS,
    MAX_RESTORE_PAUSE,
    MAX_WAIT_SECONDS,
    Wait,
    WaitRules,
    Watch,
    parse_tiers,
    plan_wait,
)
from archiver.core.waiting import seconds_since as since
from archiver.errors import Code, Rejected, SourceArchived, SourceUnavailable
from archiver.settings import Environment

LIMITS = {
    "wait_limit": MAX_WAIT_SECONDS,
    "restore_wait_limit": MAX_WAIT_SECONDS,
    "restore_max_days": MAX_RESTORE_DAYS,
}
A, B, C = (Location("photos", key) for key in "abc")
THERE = object()
MISSING = SourceUnavailable("source_missing", "no such key")
DENIED = SourceUnavailable("source_denied", "denied")
ARCHIVED = SourceArchived("archived")
RESTORING = SourceArchived("archived", restoring=True)
RESTORES = WaitRules(tiers=("Bulk", "Standard"), max_days=7, restore_limit=7200)


def always(_: Code) -> bool:
    """`on_missing: fail`."""
    return True


def never(_: Code) -> bool:
    """`on_missing: skip`."""
    return False


def waits(rules: WaitRules = RESTORES, **fields: Any) -> Wait | None:
    return plan_wait(parse_request(json.dumps({"files": [{"source": "a"}], **fields})), rules)


def watch(wait: Wait, *locations: Location, rejects: Callable[[Code], bool] = always) -> Watch:
    return Watch(locations or (A, B, C), wait, rejects)


# ---- what a request may ask for


def test_a_request_that_asks_for_nothing_waits_for_nothing() -> None:
    assert waits() is None
    assert waits(wait_for=None, restore=None, on_archived=None) is None
    assert waits(on_archived="skip") is None
    assert waits(on_archived="fail") is None


def test_a_request_waits_as_long_as_it_says() -> None:
    assert waits(wait_for={"timeout": 900}) == Wait(missing=900)
    assert waits(wait_for={"timeout": 3600}) == Wait(missing=3600)


def test_a_restore_has_the_defaults_of_the_settings() -> None:
    assert waits(on_archived="restore") == Wait(0, 7200, "Bulk", 1)
    assert waits(on_archived="restore", restore={}) == Wait(0, 7200, "Bulk", 1)
    restore = {"tier": "Standard", "days": 7, "timeout": 60}
    assert waits(on_archived="restore", restore=restore, wait_for={"timeout": 5}) == Wait(5, 60, "Standard", 7)


@pytest.mark.parametrize(
    "timeout", [-1, 0, 1.5, 900.0, "900", True, [], {}, 10**400, -(10**400)], ids=lambda value: repr(value)[:8]
)
def test_a_timeout_that_is_no_number_of_seconds_is_refused(timeout: object) -> None:
    with pytest.raises(Rejected) as rejected:
        waits(wait_for={"timeout": timeout})
    assert rejected.value.code == "invalid_request"
    assert "$.wait_for.timeout" in rejected.value.message
    assert len(rejected.value.message) < 200


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e999", "9" * 5000])
def test_a_timeout_that_is_no_json_number_is_refused(text: str) -> None:
    with pytest.raises(Rejected) as rejected:
        parse_request(f'{{"files": [{{"source": "a"}}], "wait_for": {{"timeout": {text}}}}}')
    assert rejected.value.code == "invalid_json"


@pytest.mark.parametrize(
    ("fields", "rules", "told"),
    [
        ({"wait_for": {"timeout": 3601}}, WaitRules(), "at most 3600 seconds (WAIT_LIMIT)"),
        ({"wait_for": {"timeout": 1}}, WaitRules(limit=0), "WAIT_LIMIT is 0"),
        ({"wait_for": {}}, WaitRules(), "$.wait_for.timeout is required"),
        ({"wait_for": 900}, WaitRules(), "$.wait_for should be an object"),
        ({"restore": {"days": 1}}, RESTORES, '"on_archived": "restore"'),
        ({"on_archived": "restore"}, WaitRules(), "RESTORE_TIERS is not set"),
        ({"on_archived": "thaw"}, RESTORES, "$.on_archived"),
        ({"on_archived": "restore", "restore": {"tier": "Expedited"}}, RESTORES, "one of Bulk, Standard"),
        ({"on_archived": "restore", "restore": {"tier": "bulk"}}, RESTORES, "$.restore.tier"),
        ({"on_archived": "restore", "restore": {"days": 8}}, RESTORES, "at most 7 (RESTORE_MAX_DAYS)"),
        ({"on_archived": "restore", "restore": {"days": 0}}, RESTORES, "$.restore.days"),
        ({"on_archived": "restore", "restore": {"days": 10**400}}, RESTORES, "RESTORE_MAX_DAYS"),
        ({"on_archived": "restore", "restore": {"timeout": 7201}}, RESTORES, "RESTORE_WAIT_LIMIT"),
    ],
)
def test_what_the_settings_do_not_allow_is_refused(fields: dict[str, Any], rules: WaitRules, told: str) -> None:
    with pytest.raises(Rejected) as rejected:
        waits(rules, **fields)
    assert rejected.value.code == "invalid_request"
    assert told in rejected.value.message
    assert len(rejected.value.message) < 200


def test_tiers_of_the_setting_keep_their_order() -> None:
    assert parse_tiers(None) == ()
    assert parse_tiers("Bulk , Standard,Bulk") == ("Bulk", "Standard")


def test_a_wait_counts_from_the_first_receive() -> None:
    assert since("1700000000000", 1_700_000_060.5) == 60.5
    assert since("", 1e9) == since("1700000000000", 1.6e9) == since("later", 1e9) == since("²", 1e9) == 0.0
    assert since("9" * 5000, 1e9) == 0.0


def test_the_highest_values_are_those_of_the_settings() -> None:
    highest = {name: field.metadata[-1].le for name, field in Environment.model_fields.items() if name in LIMITS}
    assert highest == LIMITS


# ---- looking


def test_nothing_is_waited_for_if_all_objects_are_there() -> None:
    looked = watch(Wait(900))
    assert looked.record(dict.fromkeys((A, B, C), THERE), 0.0) == []
    assert looked.is_over


def test_only_what_was_missing_is_looked_for_again_and_then_all_once_more() -> None:
    looked, seen = watch(Wait(900), A, B, C, A), list[tuple[Location, ...]]()
    for answers in ({B: MISSING, C: MISSING}, {C: MISSING}, {}, {}):
        assert not looked.is_over
        seen.append(looked.to_look)
        looked.record(dict.fromkeys(looked.to_look, THERE) | answers, 1.0)
    assert seen == [(A, B, C), (B, C), (C,), (A, B, C)]
    assert looked.is_over


def test_an_object_that_vanished_meanwhile_is_waited_for_again() -> None:
    looked = watch(Wait(900), A, B)
    looked.record({A: THERE, B: MISSING}, 0.0)
    looked.record({B: THERE}, 1.0)
    looked.record({A: MISSING, B: THERE}, 1.1)
    assert (looked.awaited, looked.is_over, looked.pause(1.1)) == ((A,), False, 4.0)
    looked.record({A: THERE}, 5.0)
    looked.record({A: THERE, B: THERE}, 5.1)
    assert looked.is_over


def test_pauses_double_up_to_a_minute_and_the_last_look_is_at_the_limit() -> None:
    looked, elapsed, pauses = watch(Wait(200), A), 0.0, list[float]()
    looked.record({A: MISSING}, elapsed)
    while not looked.is_over:
        pauses.append(looked.pause(elapsed))
        elapsed += pauses[-1]
        looked.record({A: MISSING}, elapsed)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, MAX_PAUSE, MAX_PAUSE, 17.0]
    assert elapsed == 200.0


def test_a_wait_whose_time_was_spent_before_looks_once() -> None:
    looked = watch(Wait(900, spent=900.0), A)
    looked.record({A: MISSING}, 900.0)
    assert looked.is_over


def test_a_problem_that_no_waiting_mends_ends_the_wait_at_once() -> None:
    for problem in (DENIED, ARCHIVED):
        looked = watch(Wait(900), A, B)
        looked.record({A: MISSING, B: problem}, 0.0)
        assert looked.is_over


def test_a_problem_that_is_skipped_does_not_end_the_wait() -> None:
    looked = watch(Wait(900), A, B, rejects=never)
    looked.record({A: MISSING, B: DENIED}, 0.0)
    assert (looked.awaited, looked.is_over) == ((A,), False)
    looked.record({A: THERE}, 1.0)
    looked.record({A: THERE, B: DENIED}, 1.0)
    assert looked.is_over


def test_a_wait_that_is_over_is_over_also_if_missing_objects_are_skipped() -> None:
    looked = watch(Wait(900), A, B, rejects=never)
    looked.record({A: THERE, B: MISSING}, 0.0)
    looked.record({B: MISSING}, 900.0)
    assert looked.is_over


def test_what_a_look_did_not_answer_is_looked_at_again_until_the_limit() -> None:
    looked = watch(Wait(900), A, B)
    looked.record({}, 0.0)
    assert (looked.awaited, looked.is_over, looked.pause(0.0)) == ((A, B), False, 1.0)
    looked.record({}, 900.0)
    assert looked.is_over


# ---- restores


def test_a_restore_is_asked_for_once() -> None:
    looked = watch(Wait(0, 7200), A, B)
    assert looked.record({A: ARCHIVED, B: RESTORING}, 0.0) == [(A, ARCHIVED)]
    looked.asked.add(A)
    assert looked.record({A: ARCHIVED, B: RESTORING}, 1.0) == []
    assert looked.record({A: RESTORING, B: RESTORING}, 2.0) == []
    assert looked.awaited == (A, B)


def test_a_restore_whose_request_failed_is_asked_for_again() -> None:
    looked = watch(Wait(0, 7200), A)
    assert looked.record({A: ARCHIVED}, 0.0) == looked.record({A: ARCHIVED}, 1.0) == [(A, ARCHIVED)]


def test_nothing_is_restored_for_a_request_that_is_rejected_anyway() -> None:
    looked = watch(Wait(0, 7200), A, B)
    assert looked.record({A: ARCHIVED, B: MISSING}, 0.0) == []
    assert looked.is_over


def test_what_can_not_be_restored_is_not_waited_for() -> None:
    looked = watch(Wait(0, 7200), A, B, rejects=never)
    looked.record({A: ARCHIVED, B: ARCHIVED}, 0.0)
    looked.record_refused(A)
    looked.record({A: ARCHIVED, B: RESTORING}, 1.0)
    assert (looked.awaited, looked.is_over) == ((B,), False)
    failing = watch(Wait(0, 7200), A)
    failing.record({A: ARCHIVED}, 0.0)
    failing.record_refused(A)
    failing.record({A: ARCHIVED}, 1.0)
    assert failing.is_over


def test_restores_are_looked_at_less_often_than_missing_objects() -> None:
    looked = watch(Wait(0, 7200), A)
    for _ in range(12):
        looked.record({A: RESTORING}, 0.0)
    assert looked.pause(0.0) == MAX_RESTORE_PAUSE
    mixed = watch(Wait(3600, 7200), A, B)
    for _ in range(12):
        mixed.record({A: RESTORING, B: MISSING}, 0.0)
    assert mixed.pause(0.0) == MAX_PAUSE


def test_each_kind_of_waiting_has_its_own_limit() -> None:
    looked = watch(Wait(60, 7200), A, B, rejects=never)
    looked.record({A: MISSING, B: RESTORING}, 0.0)
    for _ in range(8):
        looked.record({A: MISSING, B: RESTORING}, 50.0)
    assert looked.pause(50.0) == 10.0
    looked.record({A: MISSING, B: RESTORING}, 60.0)
    assert (looked.awaited, looked.is_over) == ((B,), False)
    failing = watch(Wait(60, 7200), A, B)
    failing.record({A: MISSING, B: RESTORING}, 60.0)
    assert failing.is_over
