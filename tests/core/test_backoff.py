"""Waiting: never less than promised, never more."""

import pytest

from archiver.core.backoff import configuration_retry_delay, full_jitter, redelivery_delay


def most(_low: float, high: float) -> float:
    return high


def least(low: float, _high: float) -> float:
    return low


def test_jitter_is_full_and_its_bound_doubles_up_to_the_cap() -> None:
    """From nothing to the bound: those who failed together come back spread over all of it."""
    assert [full_jitter(attempt, 0.1, 1.0, most) for attempt in (1, 2, 3, 4, 1000)] == [0.2, 0.4, 0.8, 1.0, 1.0]
    assert full_jitter(5, 0.1, 1.0, least) == 0.0


@pytest.mark.parametrize(("receives", "longest"), [(1, 4), (2, 8), (7, 256), (8, 512), (9, 900), (10**6, 900)])
def test_a_message_stays_away_for_one_second_at_least_and_fifteen_minutes_at_most(receives: int, longest: int) -> None:
    """0 would be a hot loop."""
    assert redelivery_delay(receives, most) == longest
    assert redelivery_delay(receives, least) == 1


def test_pauses_grow_to_thirty_seconds() -> None:
    assert [configuration_retry_delay(attempt) for attempt in (1, 2, 3, 4, 5, 100)] == [5, 10, 20, 30, 30, 30]
