"""Delays before retries. Full jitter, so that calls that failed together are not retried together."""

from collections.abc import Callable

MAX_REDELIVERY_DELAY = 900  # seconds
CONFIGURATION_RETRY_DELAYS = (5.0, 10.0, 20.0, 30.0)  # seconds


def full_jitter(attempt: int, base: float, cap: float, uniform: Callable[[float, float], float]) -> float:
    """Return the seconds before try *attempt* + 1 (the first is 1): uniform(0, min(cap, base × 2^attempt))."""
    return uniform(0.0, min(cap, base * 2.0 ** min(attempt, 32)))


def redelivery_delay(receives: int, uniform: Callable[[float, float], float]) -> int:
    """
    Return the whole seconds before a message is redelivered after a transient error: uniform(1, min(900,
    2 × 2^receives)); never 0.
    """
    return max(1, round(uniform(1.0, min(MAX_REDELIVERY_DELAY, 2.0 * 2.0 ** min(receives, 32)))))


def configuration_retry_delay(attempt: int) -> float:
    """Return the seconds before a retry in place after a configuration error. The first *attempt* is 1."""
    return CONFIGURATION_RETRY_DELAYS[min(attempt, len(CONFIGURATION_RETRY_DELAYS)) - 1]
