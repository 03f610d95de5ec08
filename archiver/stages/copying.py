"""
What the store copies of one archive by itself: many parts at once, in order, before and while the rest is filled.

Copies need no buffer and no reservation. Their number is limited for the whole process, and falls while the store asks
for fewer requests. A copy that is refused, fails for a minute, or hangs twice, ends the attempt: then all bytes go
through the worker.
"""

import asyncio
from collections.abc import Iterator, Sequence

from archiver.core.copies import CopiedRange, CopyPlan
from archiver.core.layout import MIB
from archiver.core.plan import Member, ObjectVersion
from archiver.errors import CopyRefused, SourceChanged, TransferInterrupted, TransientError
from archiver.stages.limiter import AdaptiveLimiter
from archiver.stages.retry import MIN_ATTEMPTS, Attempts
from archiver.stages.upload import ArchiveUpload

MAX_CONCURRENT_COPIES = 32  # of the whole process: 2.7 GB/s at S3's 85 MB/s each
COPY_RETRY_SECONDS = 60.0  # of failures in a row
THROTTLED_RETRY_SECONDS = 300.0
HANGING_SECONDS, SLOWEST_COPY = 60.0, MIB  # a copy hangs after a minute, and a second for each MiB: S3 copies 85
LONGEST_COPY = 570.0  # seconds: 5 GiB take one minute
MAX_HANGS = 2  # of one copy: whoever waits for a third one waits for an hour


class Copying:
    """
    The copies of one archive, but for those that an earlier worker had made: `start` once, then `of` for each copied
    member. The CRC-32 of each part goes to the sums of *upload*.
    """

    def __init__(
        self, plan: CopyPlan, members: Sequence[Member], upload: ArchiveUpload, limiter: AdaptiveLimiter
    ) -> None:
        self.plan = plan
        self._members = members
        self._upload = upload
        self._part_crcs = upload.sums.parts
        self._limiter = limiter
        self._ranges: dict[int, list[CopiedRange]] = {}
        self._missing_parts = [each for each in plan.copies if each.part not in upload.kept.parts]
        for each in self._missing_parts:
            self._ranges.setdefault(each.member, []).append(each)
        self._missing = {member: len(ranges) for member, ranges in self._ranges.items()}
        self._done = {member: asyncio.Event() for member in self._ranges}

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin to copy, in *tasks*."""
        waiting = iter(self._missing_parts)
        for number in range(min(MAX_CONCURRENT_COPIES, len(self._missing_parts))):
            tasks.create_task(self._copy_next(waiting), name=f"copying.{number}")

    async def of(self, member: int) -> list[tuple[CopiedRange, int]]:
        """Return the ranges that had to be copied of *member*, once all are, with the CRC-32 of each."""
        if member not in self._done:
            return []
        await self._done[member].wait()
        return [(each, self._part_crcs[each.part]) for each in self._ranges[member]]

    async def _copy_next(self, waiting: Iterator[CopiedRange]) -> None:
        for each in waiting:
            self._part_crcs[each.part] = await self._copy(each)
            self._missing[each.member] -= 1
            if not self._missing[each.member]:
                self._done[each.member].set()

    async def _copy(self, each: CopiedRange) -> int:
        source = self._members[each.member].content
        if not isinstance(source, ObjectVersion):
            raise TypeError("bytes at hand are not copied")
        failures, throttled = Attempts(MIN_ATTEMPTS, COPY_RETRY_SECONDS), Attempts(0, THROTTLED_RETRY_SECONDS)
        patience, hangs = min(LONGEST_COPY, HANGING_SECONDS + each.length / SLOWEST_COPY), 0
        while True:
            try:
                async with self._limiter:
                    crc = await self._upload.copy(each.part + 1, source, each.start, each.length, patience)
            except TimeoutError:
                hangs += 1
                if hangs == MAX_HANGS:
                    text = f"{source.location}: no copy of {each.length:,} bytes within {patience:.0f} s, twice"
                    raise CopyRefused(text, source.location) from None
            except TransientError as error:
                slow = isinstance(error, TransferInterrupted) and error.throttled
                if slow:
                    self._limiter.throttled()
                wait = (throttled if slow else failures).next_wait()
                if wait is None:
                    raise CopyRefused(f"{source.location}: {error}", source.location) from error
                await asyncio.sleep(wait)
            except SourceChanged as error:
                error.location = source.location
                raise
            else:
                self._limiter.succeeded()
                return crc
