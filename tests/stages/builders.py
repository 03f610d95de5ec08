"""
What the tests of the stages build with: members over objects in memory, and one call that makes an archive of them.
"""

import io
import random
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fakes import MemoryReader, MemoryS3, MemoryStore

from archiver.core.layout import Layout
from archiver.core.plan import Member, Pinned
from archiver.ports import StoredArchive, Target
from archiver.stages.assemble import assemble
from archiver.stages.budget import Budget
from archiver.stages.fetch import Fetcher, Patience
from archiver.stages.limiter import Limiter
from archiver.stages.progress import Progress
from archiver.stages.upload import uploading

MODIFIED = datetime(2024, 2, 29, 12, 34, 56, tzinfo=UTC)
TARGET = Target("digest/download.zip", "attachment", {"archiver-token": "token"})
QUICK = Patience(seconds=0.0, tries=4, longest=5.0, resumes=16, base=0.0, cap=0.0)


@dataclass
class Stage:
    """S3 in memory, a reader and a store on it, and a budget of *total* bytes."""

    total: int = 1 << 20
    most: int = 8
    s3: MemoryS3 = field(default_factory=MemoryS3)
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        self.reader = MemoryReader(self.s3)
        self.store = MemoryStore(self.s3, smallest_part=0)
        self.limiter = Limiter(self.most)
        self.fetcher = Fetcher(self.reader, self.limiter, QUICK)
        self.budget = Budget(self.total)

    def member(self, path: str, data: bytes, *, pinned: bool = True, deflate: bool = False, crc: bool = True) -> Member:
        """A member whose object stands in the source bucket; or, not *pinned*, one whose bytes are at hand."""
        if not pinned:
            return Member(path, len(data), MODIFIED, data, deflate)
        location = self.s3.put("source", path, data)
        blob = self.s3.blobs[location]
        return Member(path, len(data), MODIFIED, Pinned(location, blob.etag, blob.crc32 if crc else None), deflate)

    async def assemble(self, members: Sequence[Member], part_size: int, target: Target = TARGET) -> StoredArchive:
        async with uploading(self.store, target, lambda: None) as upload:
            return await assemble(Layout(members, part_size), self.budget, self.fetcher, upload, self.progress)

    def archive(self, key: str = TARGET.key) -> bytes:
        return next(blob.data for location, blob in self.s3.blobs.items() if location.key == key)


def contents(archive: bytes) -> dict[str, bytes]:
    """What `zipfile` reads out of *archive*, CRCs checked."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {info.filename: opened.read(info) for info in opened.infolist()}


def noise(size: int, seed: int = 0) -> bytes:
    """*size* bytes that do not compress."""
    return random.Random(seed).randbytes(size)
