"""Decide what a request waits for, what of it is not there yet, and when to look again. No I/O, and no clock."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import cast, get_args

from archiver.core.locations import Location
from archiver.core.messages import Request, Tier
from archiver.errors import Code, Rejected, SourceArchived, SourceUnavailable

FIRST_PAUSE, MAX_PAUSE = 1.0, 60.0  # seconds between two looks; each pause is twice the one before it
TIERS: tuple[Tier, ...] = get_args(Tier)
MAX_WAIT_SECONDS, MAX_RESTORE_DAYS = 36_000, 365  # the highest values of the settings
MAX_RESTORE_PAUSE = 300.0  # if only restores are awaited: most take hours


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


class Watch:
    """
    The objects that one request waits for. *rejects* tells for which problems the request is rejected: once there is
    one that no waiting mends, the wait is over, so that the verdict on all objects comes at once.

    An object that was seen may be gone again before the last one appears. So all are looked at once more then.
    """

    def __init__(self, locations: Iterable[Location], wait: Wait, rejects: Callable[[Code], bool]) -> None:
        self._all = tuple(dict.fromkeys(locations))
        self._wait = wait
        self._rejects = rejects
        self._looks = 0
        self._only_restores = False
        self._refused: set[Location] = set()
        self.asked: set[Location] = set()  # the objects whose restore was asked for
        self.awaited: tuple[Location, ...] = ()
        self.to_look = self._all  # the objects to look at next
        self.is_over = False

    def record(self, found: Mapping[Location, object], elapsed: float) -> list[tuple[Location, SourceArchived]]:
        """
        Record what a look at `to_look` found, *elapsed* seconds after the wait began: the problem of an object is a
        SourceUnavailable; what is not in *found* is not known. Return the objects whose restore must be asked for.
        """
        self._looks += 1
        problems = {at: one for at in self.to_look if isinstance(one := found.get(at), SourceUnavailable)}
        awaited = [at for at in self.to_look if self._is_awaited(at, found.get(at), elapsed)]
        waits = frozenset(awaited)
        hopeless = any(self._rejects(one.code) for at, one in problems.items() if at not in waits)
        complete = len(self.to_look) == len(self._all)
        self.is_over = hopeless or (not awaited and (complete or elapsed >= self._wait.longest))
        self.awaited = tuple(awaited)
        self.to_look = self.awaited or self._all
        self._only_restores = all(isinstance(problems.get(at), SourceArchived) for at in awaited)
        if self.is_over:
            return []
        archived = ((at, one) for at in awaited if isinstance(one := problems.get(at), SourceArchived))
        return [(at, one) for at, one in archived if not one.restoring and at not in self.asked]

    def record_refused(self, location: Location) -> None:
        """Record that *location* can't be restored: it is not waited for any more."""
        self._refused.add(location)

    def pause(self, elapsed: float) -> float:
        """Return the seconds until the next look, which is made when a limit is reached at the latest."""
        if not self.awaited:
            return 0.0
        doubled = FIRST_PAUSE * 2.0 ** min(self._looks - 1, 20)
        limits = [left for limit in (self._wait.missing, self._wait.archived) if (left := limit - elapsed) > 0]
        return min(doubled, MAX_RESTORE_PAUSE if self._only_restores else MAX_PAUSE, *limits)

    def _is_awaited(self, location: Location, answer: object, elapsed: float) -> bool:
        if answer is None:
            return elapsed < self._wait.longest
        if isinstance(answer, SourceArchived):
            return elapsed < self._wait.archived and location not in self._refused
        return (
            isinstance(answer, SourceUnavailable) and answer.code == "source_missing" and elapsed < self._wait.missing
        )
