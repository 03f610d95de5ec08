"""Which archives are made of copies, in this process: as requests ask for it, and as their stores have shown."""

from collections.abc import Iterable, Sequence
from time import monotonic
from typing import TYPE_CHECKING

import structlog

from archiver.core.copies import CopyPlan, limits_of, plan_copies
from archiver.core.copy_gain import CopyGain
from archiver.core.draft import Draft
from archiver.core.locations import Location
from archiver.core.plan import Member, ObjectVersion, Plan
from archiver.errors import CopyRefused
from archiver.ports import CopyCapability
from archiver.stages.copying import MAX_CONCURRENT_COPIES, Copying
from archiver.stages.limiter import AdaptiveLimiter
from archiver.stages.offload import run_offloaded_if_large

if TYPE_CHECKING:
    from archiver.stages.upload import ArchiveUpload

log = structlog.get_logger(__name__)

REFUSAL_SECONDS = 3600.0  # for which a bucket is not copied from after a refusal


class Copies:
    """One for the process. *max_filled*: bytes of the largest buffer."""

    def __init__(self, capability: CopyCapability, max_filled: int) -> None:
        self._capability = capability
        self._max_filled = max_filled
        self._limiter = AdaptiveLimiter(MAX_CONCURRENT_COPIES)
        self._refused: dict[str, float] = {}  # buckets, and until when

    async def proved(self) -> bool:
        """Whether the store of the archives copies at all."""
        return await self._capability.proved()

    async def plan(self, plan: Plan) -> CopyPlan | None:
        """Return what is copied of the archive of *plan*; None: nothing. The store is tested if there is something."""
        if plan.deflates or self._capability.refuted():
            return None
        buckets = {each.content.location.bucket for each in plan.members if isinstance(each.content, ObjectVersion)}
        limits = limits_of(self._max_filled, self._unreachable(buckets), everything=plan.strategy == "copy")
        copied = await run_offloaded_if_large(len(plan.members), plan_copies, plan.members, limits)
        return copied if copied is not None and await self.proved() else None

    def gain(self, draft: Draft) -> CopyGain | None:
        """Return what decides whether to give up the one pass of *draft*; None: nothing can be copied at present."""
        if self._capability.refuted():
            return None
        unknown = {file.location for file in draft.files}.difference(draft.known)
        unreachable = self._unreachable({file.location.bucket for file in draft.files})
        return CopyGain(len(draft.files), len(unknown), unreachable)

    def begin(self, plan: CopyPlan, members: Sequence[Member], upload: "ArchiveUpload") -> Copying:
        return Copying(plan, members, upload, self._limiter)

    def refused(self, error: CopyRefused) -> None:
        """Copy nothing from the bucket of the refused object for a while."""
        log.warning("copies.refused", reason=str(error))
        if isinstance(error.location, Location):
            self._refused[error.location.bucket] = monotonic() + REFUSAL_SECONDS

    def _unreachable(self, buckets: Iterable[str]) -> frozenset[str]:
        now = monotonic()
        self._refused = {bucket: until for bucket, until in self._refused.items() if until > now}
        return frozenset(each for each in buckets if each in self._refused or not self._capability.reaches(each))
