"""
What the tests of the stages build with: members over objects in memory, and one call that makes an archive of them.
"""

import io
import random
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fakes import FakeHold, FakeReader, FakeReceipts, FakeS3, FakeStore

from archiver.core.plan import Member, ObjectVersion
from archiver.core.receipt import Contents
from archiver.ports import StoredArchive, Target
from archiver.stages.budget import BufferPool
from archiver.stages.fetch import Fetcher, RetryPolicy
from archiver.stages.limiter import AdaptiveLimiter
from archiver.stages.progress import Progress
from archiver.stages.stored import StoredBuild
from archiver.stages.upload import open_upload

MODIFIED = datetime(2024, 2, 29, 12, 34, 56, tzinfo=UTC)
TARGET = Target("digest/download.zip", "attachment", {"archiver-token": "token"})
CONTENTS = Contents((), ())  # of archives whose seal does not matter
NO_BACKOFF = RetryPolicy(seconds=0.0, tries=4, max_stalled=5.0, resumes=16, base=0.0, cap=0.0)


@dataclass
class StageEnv:
    """S3 in memory, a reader and a store on it, and a budget of *total* bytes."""

    total: int = 1 << 20
    most: int = 8
    s3: FakeS3 = field(default_factory=FakeS3)
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        self.reader = FakeReader(self.s3)
        self.store = FakeStore(self.s3, min_part_bytes=0)
        self.receipts = FakeReceipts(self.s3)
        self.limiter = AdaptiveLimiter(self.most)
        self.fetcher = Fetcher(self.reader, self.limiter, NO_BACKOFF)
        self.budget = BufferPool(self.total)

    def member(self, path: str, data: bytes, *, pinned: bool = True, deflate: bool = False, crc: bool = True) -> Member:
        """A member whose object stands in the source bucket; or, not *pinned*, one whose bytes are at hand."""
        if not pinned:
            return Member(path, len(data), MODIFIED, data, deflate)
        location = self.s3.put("source", path, data)
        blob = self.s3.objects[location]
        return Member(
            path, len(data), MODIFIED, ObjectVersion(location, blob.etag, blob.crc32 if crc else None), deflate
        )

    async def assemble(self, members: Sequence[Member], part_size: int, target: Target = TARGET) -> StoredArchive:
        async with open_upload(self.store, target, FakeHold(), None) as upload:
            build = StoredBuild(members, self.budget, self.fetcher, upload, part_size=part_size)
            return (await build.run(self.progress))[0]

    def archive(self, key: str = TARGET.key) -> bytes:
        return next(blob.data for location, blob in self.s3.objects.items() if location.key == key)


def read_zip(archive: bytes) -> dict[str, bytes]:
    """What `zipfile` reads out of *archive*, CRCs checked."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {info.filename: opened.read(info) for info in opened.infolist()}


def random_bytes(size: int, seed: int = 0) -> bytes:
    """*size* bytes that do not compress."""
    return random.Random(seed).randbytes(size)
