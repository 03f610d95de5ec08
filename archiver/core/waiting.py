"""Decide what a request waits for, and for how long, within the limits of the operator."""

from dataclasses import dataclass
from typing import cast, get_args

from archiver.core.messages import Request, Tier
from archiver.errors import Rejected

TIERS: tuple[Tier, ...] = get_args(Tier)
MAX_WAIT_SECONDS, MAX_RESTORE_DAYS = 36_000, 365  # the highest values of the settings


@dataclass(frozen=True, slots=True)
class WaitRules:
    """
    The operator's limits. *limit*: seconds that a request may wait for missing objects; 0: no request may wait.
    *tiers* of restores that requests may ask for; empty: none. *max_days*: how long a restored copy is kept at most.
    *restore_limit*: seconds that a request waits for restores.
    """

    limit: int = 3600
    tiers: tuple[Tier, ...] = ()
    max_days: int = 1
    restore_limit: int = 21_600


@dataclass(frozen=True, slots=True)
class Wait:
    """
    What a request waits for. *missing*, *archived*: seconds, from the first receive of its message, for objects that
    do not exist, and for restores; 0: it does not wait for them. *spent*: seconds that have passed before.
    """

    missing: int = 0
    archived: int = 0
    tier: Tier = "Standard"
    days: int = 1
    spent: float = 0.0

    @property
    def longest(self) -> int:
        return max(self.missing, self.archived)


def parse_tiers(text: str | None) -> tuple[Tier, ...]:
    """Return the tiers of the setting RESTORE_TIERS, whose form was checked; the first is the default of requests."""
    names = dict.fromkeys(name.strip() for name in (text or "").split(",") if name.strip())
    return cast("tuple[Tier, ...]", tuple(names))


def plan_wait(request: Request, rules: WaitRules) -> Wait | None:
    """
    Return what *request* waits for; None if it does not wait. Raises Rejected (`invalid_request`) if it asks for
    something else than *rules* allow.
    """
    missing = 0 if request.wait_for is None else _limited("wait_for.timeout", request.wait_for.timeout, rules.limit)
    if request.on_archived != "restore":
        if request.restore is not None:
            raise _invalid("restore", 'has an effect only with "on_archived": "restore": add that, or remove restore')
        return Wait(missing) if missing else None
    if not rules.tiers:
        raise _invalid("on_archived", "can't be restore: this worker restores no objects (RESTORE_TIERS is not set)")
    restore = request.restore
    tier = rules.tiers[0] if restore is None or restore.tier is None else restore.tier
    if tier not in rules.tiers:
        raise _invalid("restore.tier", f"should be one of {', '.join(rules.tiers)} (RESTORE_TIERS)")
    days = 1 if restore is None else restore.days
    if days > rules.max_days:
        raise _invalid("restore.days", f"should be at most {rules.max_days} (RESTORE_MAX_DAYS)")
    archived = rules.restore_limit
    if restore is not None and restore.timeout is not None:
        archived = restore.timeout
    if archived > rules.restore_limit:
        raise _invalid("restore.timeout", f"should be at most {rules.restore_limit} seconds (RESTORE_WAIT_LIMIT)")
    return Wait(missing, archived, tier, days)


def _limited(field: str, seconds: int, limit: int) -> int:
    if not limit:
        raise _invalid("wait_for", "is not allowed: this worker does not wait for objects (WAIT_LIMIT is 0)")
    if seconds > limit:
        raise _invalid(field, f"should be at most {limit} seconds (WAIT_LIMIT)")
    return seconds


def _invalid(field: str, sentence: str) -> Rejected:
    return Rejected("invalid_request", f"$.{field} {sentence}")


def seconds_since(first_received: str, now: float) -> float:
    """
    Return the seconds between *first_received*, SQS's time of a message's first receive (milliseconds since 1970, as
    text), and *now* (seconds since 1970). 0 if there is no such time, or if it lies in the future: clocks differ.
    """
    if not (first_received.isascii() and first_received.isdecimal()):
        return 0.0
    return max(0.0, now - int(first_received[:16]) / 1000)
