"""Which archives are made of copies, in this process: as requests ask for it, and as their stores have shown."""

from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING

import structlog

from archiver.core.copies import CopyPlan, limits_of, plan_copies
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
        """Return what is copied of the archive of *plan*; None: nothing."""
        if plan.deflates or not await self.proved():
            return None
        limits = limits_of(self._max_filled, self._unreachable(plan.members), everything=plan.strategy == "copy")
        return await run_offloaded_if_large(len(plan.members), plan_copies, plan.members, limits)

    def begin(self, plan: CopyPlan, members: Sequence[Member], upload: "ArchiveUpload") -> Copying:
        return Copying(plan, members, upload, self._limiter)

    def refused(self, error: CopyRefused) -> None:
        """Copy nothing from the bucket of the refused object for a while."""
        log.warning("copies.refused", reason=str(error))
        if isinstance(error.location, Location):
            self._refused[error.location.bucket] = monotonic() + REFUSAL_SECONDS

    def _unreachable(self, members: Sequence[Member]) -> frozenset[str]:
        now = monotonic()
        self._refused = {bucket: until for bucket, until in self._refused.items() if until > now}
        buckets = {each.content.location.bucket for each in members if isinstance(each.content, ObjectVersion)}
        return frozenset(each for each in buckets if each in self._refused or not self._capability.reaches(each))
