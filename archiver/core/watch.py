"""Decide what of a request is not there yet, and when to look again. No I/O, and no clock."""

from collections.abc import Iterable, Mapping

from archiver.core.draft import Draft
from archiver.core.locations import Location
from archiver.core.waiting import Wait
from archiver.errors import SourceArchived, SourceUnavailable

FIRST_PAUSE, MAX_PAUSE = 1.0, 60.0  # seconds between two looks; each pause is twice the one before it
MAX_RESTORE_PAUSE = 300.0  # if only restores are awaited: most take hours


class Watch:
    """
    What one request waits for: objects, and prefixes that select too few of them. Once there is a problem that no
    waiting mends and that rejects the request, the wait is over, so that the verdict on all objects comes at once.

    An object that was seen may be gone again before the last one appears. So all are looked at once more then.

    Memory: the locations that are awaited, and those whose restore was asked for; nothing of other objects.
    """

    def __init__(self, wait: Wait) -> None:
        self._wait = wait
        self._looks = 0
        self._awaited: frozenset[Location] = frozenset()
        self._is_narrow = False  # the next look is at what is awaited
        self._is_next_at_once = False
        self._only_restores = False
        self._refused: set[Location] = set()
        self.asked: set[Location] = set()  # the objects whose restore was asked for
        self.count = 0  # of the objects and prefixes that are awaited
        self.is_over = False

    def to_look(self, locations: Iterable[Location]) -> list[Location]:
        """Return those of *locations* to look at now."""
        return [at for at in dict.fromkeys(locations) if not self._is_narrow or at in self._awaited]

    def record(
        self, draft: Draft, found: Mapping[Location, object], elapsed: float
    ) -> list[tuple[Location, SourceArchived]]:
        """
        Record a look, *elapsed* seconds after the wait began. *draft* tells of prefixes; *found*, of each location that
        was to look at, its SourceUnavailable if there is one. Return the objects whose restore must be asked for.
        """
        self._looks += 1
        problems = {at: one for at, one in found.items() if isinstance(one, SourceUnavailable)}
        self._awaited = frozenset(at for at, one in problems.items() if self._is_awaited(at, one, elapsed))
        lacking = draft.lacking if elapsed < self._wait.missing else 0
        self.count = len(self._awaited) + lacking
        hopeless = draft.is_hopeless or any(
            draft.rejects(one.code) for at, one in problems.items() if at not in self._awaited
        )
        if draft.lacking > lacking:
            hopeless |= bool(draft.empty) or (bool(draft.refused) and draft.rejects("source_missing"))
        was_complete = not self._is_narrow or elapsed >= self._wait.longest
        self.is_over = hopeless or (not self.count and was_complete)
        self._is_narrow = bool(self.count)
        self._is_next_at_once = not self.count
        self._only_restores = not lacking and all(isinstance(problems[at], SourceArchived) for at in self._awaited)
        if self.is_over:
            return []
        archived = ((at, one) for at in self._awaited if isinstance(one := problems[at], SourceArchived))
        return [(at, one) for at, one in archived if not one.restoring and at not in self.asked]

    def record_failure(self, elapsed: float) -> None:
        """Record a look that told nothing: it is repeated like one that found nothing."""
        self._looks += 1
        self.count = max(self.count, 1)
        self._is_next_at_once = False
        self.is_over = elapsed >= self._wait.longest

    def record_refused(self, location: Location) -> None:
        """Record that *location* can't be restored: it is not waited for any more."""
        self._refused.add(location)

    def pause(self, elapsed: float) -> float:
        """Return the seconds until the next look, which is made when a limit is reached at the latest."""
        if self._is_next_at_once:
            return 0.0
        doubled = FIRST_PAUSE * 2.0 ** min(self._looks - 1, 20)
        limits = [left for limit in (self._wait.missing, self._wait.archived) if (left := limit - elapsed) > 0]
        return min(doubled, MAX_RESTORE_PAUSE if self._only_restores else MAX_PAUSE, *limits)

    def _is_awaited(self, location: Location, problem: SourceUnavailable, elapsed: float) -> bool:
        if isinstance(problem, SourceArchived):
            return elapsed < self._wait.archived and location not in self._refused
        return problem.code == "source_missing" and elapsed < self._wait.missing
