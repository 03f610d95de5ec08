"""A watch of a request, and what it may see."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from core.draft_factory import RULES, SENT_AT, make_draft

from archiver.core.draft import complete_draft
from archiver.core.locations import Location
from archiver.core.objects import Listed
from archiver.core.waiting import Wait, WaitRules
from archiver.core.watch import Watch
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
