"""What no message comes back for is removed, and nothing that one may come back for."""

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from fakes import FakeHold
from structlog.testing import capture_logs
from worker.pipeline_env import PipelineEnv

from archiver.core.build_record import BuildRecord, encode_record, source_hash
from archiver.core.kept import Checksums
from archiver.core.layout import Layout
from archiver.core.locations import Location
from archiver.core.plan import ArchiveSummary
from archiver.core.receipt import Receipt, record_key
from archiver.errors import TransientError
from archiver.jobs.janitor import Janitor
from archiver.ports import Target

OWN, OTHER = source_hash("own"), source_hash("other")
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
RETENTION = timedelta(days=4)
LONG_AGO = NOW - RETENTION - timedelta(seconds=1)
KEY = "0f" * 32 + "/download.zip"


@dataclass
class Bucket:
    """The archives' bucket, with what workers have left in it."""

    def __post_init__(self) -> None:
        self.env = PipelineEnv()
        self.janitor = Janitor(self.env.bucket, OWN, RETENTION)

    async def leave(
        self, key: str = KEY, *, source: str | None = OWN, begun: datetime = LONG_AGO, written: datetime | None = None
    ) -> str:
        """Leave an upload with a record of *source*, or (None) without one; return the upload's id."""
        upload = await self.env.stage.store.create_upload(Target(key, "attachment"))
        self.env.stage.store.pending[upload.id].created_at = begun
        if source is not None:
            self.record(key, source, upload.id, written or begun)
        return upload.id

    def record(self, key: str, source: str, upload: str, written: datetime) -> str:
        token = f"{len(self.env.stage.s3.objects):032x}"
        receipt = Receipt("archives", key, token, "aa", ArchiveSummary("succeeded", 0, (), ()))
        record = BuildRecord(receipt, upload, 5, "digest", source, "message")
        at = self.env.stage.s3.put(
            "archives", record_key(key, token), encode_record(record, Layout((), 5), Checksums())
        )
        self.env.stage.s3.objects[at] = replace(self.env.stage.s3.objects[at], modified=written)
        return at.key

    async def found(self, *, unrecorded: bool = False) -> list[str]:
        return [one.upload async for one in self.janitor.find(NOW, unrecorded=unrecorded)]

    @property
    def left(self) -> tuple[list[str], list[str]]:
        """The uploads, and the records."""
        return [*self.env.stage.store.pending], [at.key for at in self.env.stage.s3.objects]


async def test_an_upload_older_than_any_message_is_left_over() -> None:
    bucket = Bucket()
    upload = await bucket.leave()
    assert await bucket.found() == [upload]


@pytest.mark.parametrize(
    "why",
    [
        {"begun": LONG_AGO + timedelta(minutes=1)},
        {"written": LONG_AGO + timedelta(minutes=1)},
        {"source": OTHER},
        {"source": None},
        {"key": "photos/download.zip"},
        {"key": "0f" * 32 + "/a/download.zip"},
    ],
    ids=["young", "worked on later", "another queue's", "without a record", "no archive", "no archive either"],
)
async def test_an_upload_that_may_be_gone_on_with_or_is_somebody_elses_is_not(why: dict[str, object]) -> None:
    bucket = Bucket()
    await bucket.leave(**why)  # type: ignore[arg-type]
    assert await bucket.found() == []


@pytest.mark.parametrize(("hours", "found"), [(12.9, 0), (13.1, 1)])
async def test_an_upload_without_a_record_is_left_over_once_it_is_older_than_any_job(hours: float, found: int) -> None:
    bucket = Bucket()
    await bucket.leave(source=None, begun=NOW - timedelta(hours=hours))
    assert len(await bucket.found(unrecorded=True)) == found


async def test_an_upload_whose_record_is_anothers_is_spared_with_unrecorded_ones_too() -> None:
    bucket = Bucket()
    await bucket.leave(source=OTHER)
    young = NOW - timedelta(hours=14)
    await bucket.leave("0e" * 32 + "/download.zip", begun=young)
    assert await bucket.found(unrecorded=True) == []


async def test_an_upload_beside_a_record_that_can_not_be_read_is_spared() -> None:
    bucket = Bucket()
    await bucket.leave(source=None)
    bucket.env.stage.s3.put("archives", record_key(KEY, "ab" * 16), b"unreadable")
    assert await bucket.found(unrecorded=True) == []


async def test_an_upload_whose_records_can_not_be_listed_is_spared() -> None:
    """It may have one, and be gone on with at present: a build of several workers may be older than any job."""
    bucket = Bucket()
    await bucket.leave(begun=NOW - timedelta(hours=14))
    bucket.env.stage.receipts.faults.plan("list", TransientError("503"), times=0)

    with pytest.raises(TransientError):
        await bucket.found(unrecorded=True)


async def test_of_two_uploads_of_a_key_each_has_its_own_record() -> None:
    bucket = Bucket()
    old = await bucket.leave()
    await bucket.leave(begun=LONG_AGO, written=NOW)
    assert await bucket.found() == [old]


async def test_records_whose_uploads_are_gone_are_found_by_looking_at_every_key() -> None:
    bucket = Bucket()
    old = bucket.record(KEY, OWN, "gone", LONG_AGO)
    bucket.record(KEY, OWN, "young", NOW)
    bucket.record(KEY, OTHER, "another's", LONG_AGO)
    bucket.env.stage.s3.put("archives", KEY, b"an archive")
    bucket.env.stage.s3.put("archives", record_key(KEY, "ab" * 16), b"unreadable")
    assert [one.record async for one in bucket.janitor.find_records(NOW)] == [old]


async def test_a_sweep_removes_what_is_left_over_and_nothing_else() -> None:
    bucket = Bucket()
    await bucket.leave()
    spared = await bucket.leave("0e" * 32 + "/download.zip", source=OTHER)

    await bucket.janitor.sweep()

    uploads, records = bucket.left
    assert uploads == [spared] and len(records) == 1


async def test_a_sweep_that_fails_is_repeated_later() -> None:
    bucket = Bucket()
    await bucket.leave()
    bucket.env.uploads.faults.plan("list", TransientError("503"))
    async with bucket.janitor.sweeping(0.001):
        async with asyncio.timeout(10):
            while bucket.left != ([], []):
                await asyncio.sleep(0.001)


async def test_a_sweep_goes_on_after_an_upload_that_it_can_not_abort() -> None:
    bucket = Bucket()
    for digit in "0ef":
        await bucket.leave(f"{f'0{digit}' * 32}/download.zip")
    bucket.env.uploads.faults.plan("abort", TransientError("403"))

    with capture_logs() as logs:
        await bucket.janitor.sweep()

    assert len(bucket.left[0]) == 1
    (told,) = [one for one in logs if one["event"] == "build.unswept"]
    assert told["reason"] == "403" and bucket.left[0][0] in bucket.env.stage.store.pending
    assert told["key"] == bucket.env.stage.store.pending[bucket.left[0][0]].target.key


async def test_removing_what_is_gone_already_is_no_error() -> None:
    bucket = Bucket()
    await bucket.leave()
    found = [one async for one in bucket.janitor.find(NOW)]
    for _ in range(2):
        await bucket.janitor.remove(found[0])
    assert Location("archives", found[0].record) not in bucket.env.stage.s3.objects


async def test_a_cancelled_job_leaves_no_build_and_no_record() -> None:
    bucket = Bucket()
    await bucket.leave(begun=NOW)
    bucket.env.stage.s3.put("archives", record_key(KEY, "ab" * 16), b"unreadable")

    await bucket.janitor.after_cancellation(KEY, FakeHold())

    uploads, records = bucket.left
    assert uploads == [] and records == [record_key(KEY, "ab" * 16)]
