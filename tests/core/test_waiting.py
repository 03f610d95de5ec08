"""What a request waits for, and for how long."""

import json
from typing import Any

import pytest

from archiver.core.dialects.native import parse_request
from archiver.core.waiting import (
    MAX_RESTORE_DAYS,
    MAX_WAIT_SECONDS,
    Wait,
    WaitRules,
    parse_tiers,
    plan_wait,
)
from archiver.core.waiting import seconds_since as since
from archiver.errors import Rejected
from archiver.settings import Environment

LIMITS = {
    "wait_limit": MAX_WAIT_SECONDS,
    "restore_wait_limit": MAX_WAIT_SECONDS,
    "restore_max_days": MAX_RESTORE_DAYS,
}
RESTORES = WaitRules(tiers=("Bulk", "Standard"), max_days=7, restore_limit=7200)


def waits(rules: WaitRules = RESTORES, **fields: Any) -> Wait | None:
    return plan_wait(parse_request(json.dumps({"files": [{"source": "a"}], **fields})), rules)


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
