"""
What is done with archived objects, one by one, each on the condition that it is the version that is in the archive.

A move is a copy, a look at it, and a conditional delete. All of it may be repeated at any point: what is gone was
deleted, and a target with the same bytes was copied.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Protocol

from archiver.core.after import AfterOrder, AfterResult, Kept, Step, Steps
from archiver.core.changes import Original, Outcome
from archiver.core.locations import Location
from archiver.core.objects import ObjectInfo
from archiver.core.receipt_parser import ReceiptMember
from archiver.errors import ConfigurationError, SourceUnavailable, root_cause
from archiver.stages.retry import retry_transient

AT_ONCE = 32
DENIALS = 32
"""Objects that are tried before permission counts as missing altogether."""


class ObjectChanges(Protocol):
    """
    Changes objects of any bucket. Each call is one attempt, and may be repeated. All raise TransientError, and
    ConfigurationError if credentials are refused or a bucket does not exist.
    """

    async def head(self, location: Location) -> ObjectInfo | None:
        """Return size, ETag and CRC-32 of an object; None if there is none. Raises SourceUnavailable if denied."""

    async def delete(self, location: Location, etag: str) -> Outcome:
        """Delete the object if it is the version *etag*. What is gone is `done`."""

    async def copy(self, original: Original, target: Location) -> Outcome:
        """
        Copy *original* to *target*, if the store can delete the original afterwards. `source_changed`: it is another
        version, or the target exists. A store that can't refuse may copy another version, and may overwrite the
        target: the caller looks before and after.
        """

    async def create_empty(self, location: Location) -> Outcome:
        """Write an empty object, unless one is there: `name_conflict`."""


@dataclass(slots=True)
class AfterStage:
    """
    Changes objects; one for the process. It remembers which actions have worked: a right that is refused is the
    operator's to mend only where nothing of the action works.
    """

    changes: ObjectChanges
    _worked: set[str] = field(default_factory=set)

    async def run(
        self, order: AfterOrder, members: Callable[[], AsyncIterator[ReceiptMember]], confirm: Callable[[], None]
    ) -> AfterResult:
        """
        Do what *order* says with the objects that *members* yields, at each call from the first on. *confirm* is
        called before each change. Raises TransientError, ConfigurationError, LeaseLost, UnreadableReceiptError.
        """
        done, kept = 0, list[Kept]()
        if order.action is not None:
            done, kept = await self._change_all(order, members, confirm)
        flag = None
        if order.flag is not None and not kept:
            flag = await self._raise_flag(order.flag, confirm)
        return AfterResult(order.action, done, kept, flag=flag)

    async def _change_all(
        self, order: AfterOrder, members: Callable[[], AsyncIterator[ReceiptMember]], confirm: Callable[[], None]
    ) -> tuple[int, list[Kept]]:
        steps, tally = Steps(order), _Tally(str(order.action), self._worked)
        if order.destination is not None:
            async for member in members():
                steps.note(member)
        places = asyncio.Semaphore(AT_ONCE)

        async def change(step: Step) -> None:
            try:
                tally.add(step, await retry_transient(lambda: self._change(step, confirm)))
            finally:
                places.release()

        try:
            async with asyncio.TaskGroup() as changes:
                async for member in members():
                    step = steps.step(member)
                    if isinstance(step, Kept):
                        tally.kept.append(step)
                    elif step is not None:
                        await places.acquire()
                        changes.create_task(change(step), name="after.change")
        except BaseExceptionGroup as group:
            raise root_cause(group) from None
        tally.check()
        return tally.done, tally.kept

    async def _change(self, step: Step, confirm: Callable[[], None]) -> Outcome:
        original, target = step.original, step.target
        try:
            if target is not None and (outcome := await self._copy(original, target, confirm)) != "done":
                return outcome
        except SourceUnavailable:
            return "source_denied"
        confirm()
        return await self.changes.delete(original.location, original.etag)

    async def _copy(self, original: Original, target: Location, confirm: Callable[[], None]) -> Outcome:
        """Have *original* at *target*. `done` only if the bytes there are those in the archive."""
        found = await self.changes.head(target)
        if found is not None:
            return "done" if _is_copy(found, original) else "name_conflict"
        confirm()
        outcome = await self.changes.copy(original, target)
        if outcome not in ("done", "source_changed"):
            return outcome
        found = await self.changes.head(target)
        if found is None:
            return "not_copied" if outcome == "done" else outcome
        if _is_copy(found, original):
            return "done"
        return "not_copied" if outcome == "done" else "name_conflict"

    async def _raise_flag(self, flag: Location, confirm: Callable[[], None]) -> str:
        async def create() -> Outcome:
            confirm()
            return await self.changes.create_empty(flag)

        outcome = await retry_transient(create)
        if outcome == "source_denied":
            raise ConfigurationError(f"the flag {flag} can't be written: allow s3:PutObject on it")
        return str(flag)  # one that was there is the flag of an earlier delivery, or serves as well


@dataclass(slots=True)
class _Tally:
    """Counts outcomes of *action*. Raises ConfigurationError if permission is refused, and nothing else happens."""

    action: str
    worked: set[str]
    done: int = 0
    kept: list[Kept] = field(default_factory=list)
    denied: int = 0

    def add(self, step: Step, outcome: Outcome) -> None:
        if outcome not in ("source_denied", "source_missing"):
            self.worked.add(self.action)
        if outcome == "done":
            self.done += 1
            return
        self.kept.append(Kept(str(step.original.location), outcome))
        self.denied += outcome == "source_denied"
        if self.denied >= DENIALS:
            self.check()

    def check(self) -> None:
        if self.denied and self.action not in self.worked:
            rights = "s3:DeleteObject" if self.action == "delete" else "s3:GetObject, s3:PutObject and s3:DeleteObject"
            raise ConfigurationError(
                f"the action {self.action} is denied for all objects, such as {self.kept[0].source}: allow {rights} "
                "(archiver iam-policy prints all permissions)"
            )


def _is_copy(found: ObjectInfo, original: Original) -> bool:
    """Return whether *found* has the bytes of *original*. ETags are equal by content only, if they are equal."""
    if found.size != original.size:
        return False
    return found.etag == original.etag if found.crc32 is None else found.crc32 == original.crc32
