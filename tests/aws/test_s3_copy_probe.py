"""What a store must show before anything is copied into archives; the verdict is remembered."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import NoReturn

import pytest
from emulator import EmulatedAws
from structlog.testing import capture_logs

from archiver.aws import s3_copy_probe
from archiver.aws.clients import Clients
from archiver.aws.s3_copy_probe import S3CopyCapability
from archiver.aws.s3_read import S3Reader
from archiver.aws.s3_receipts import S3Receipts
from archiver.aws.s3_store import S3Store
from archiver.aws.s3_uploads import S3Uploads
from archiver.aws.session import open_network
from archiver.core.locations import Location
from archiver.errors import ConfigurationError


@pytest.fixture
async def reader(clients: Clients) -> AsyncIterator[S3Reader]:
    network = await open_network()
    opened = S3Reader(network.session, network.endpoint, network.transport_config)
    yield opened
    await opened.close()


@pytest.fixture
def bucket(aws: EmulatedAws) -> str:
    return aws.bucket()


@pytest.fixture
def capability(clients: Clients, reader: S3Reader, bucket: str) -> S3CopyCapability:
    return S3CopyCapability(S3Store(clients, bucket), clients.s3, reader, bucket)


async def test_moto_does_not_copy_as_archives_need_it_and_nothing_of_the_probe_is_left(
    capability: S3CopyCapability, aws: EmulatedAws, bucket: str
) -> None:
    """It returns no CRC-32 of copied parts, and ignores the condition."""
    assert not capability.refuted()
    assert not await capability.proved()
    assert capability.refuted()

    assert not aws.s3.list_objects_v2(Bucket=bucket).get("Contents")
    assert not aws.s3.list_multipart_uploads(Bucket=bucket).get("Uploads")


@pytest.mark.parametrize("old", [True, False])
async def test_the_next_probe_removes_what_a_killed_one_has_left_but_not_what_another_still_needs(
    capability: S3CopyCapability, aws: EmulatedAws, bucket: str, monkeypatch: pytest.MonkeyPatch, old: bool
) -> None:
    key = ".archiver-check + & % é/receipt-0123.json.gz"
    for name in (key, "mine.json"):
        aws.s3.put_object(Bucket=bucket, Key=name, Body=b"")
        aws.s3.create_multipart_upload(Bucket=bucket, Key=name)
    # Every upload in moto began in 2010.
    monkeypatch.setattr(s3_copy_probe, "LEFT_OVER_AFTER", timedelta(hours=-1) if old else timedelta(days=30 * 365))

    await capability.proved()

    wanted = {"mine.json"} if old else {"mine.json", key}
    assert {each["Key"] for each in aws.s3.list_objects_v2(Bucket=bucket)["Contents"]} == wanted
    assert {each["Key"] for each in aws.s3.list_multipart_uploads(Bucket=bucket)["Uploads"]} == wanted


@pytest.mark.parametrize("denied", ["list uploads", "abort", "list", "delete"])
async def test_what_can_not_be_removed_is_named_in_the_log_and_does_not_keep_the_rest(
    capability: S3CopyCapability, aws: EmulatedAws, bucket: str, monkeypatch: pytest.MonkeyPatch, denied: str
) -> None:
    """Of a killed probe there are an upload and an object; this one deletes its own objects by their names."""
    key = ".archiver-check + & % é/receipt-0123.json.gz"
    aws.s3.put_object(Bucket=bucket, Key=key, Body=b"")
    upload = aws.s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    monkeypatch.setattr(s3_copy_probe, "LEFT_OVER_AFTER", timedelta(hours=-1))
    delete = S3CopyCapability._delete

    async def refuse(*_: object) -> NoReturn:
        raise ConfigurationError("403 AccessDenied")

    async def refuse_its(self: S3CopyCapability, location: Location) -> None:
        await (refuse() if location.key == key else delete(self, location))

    name, target, method = {
        "list uploads": (S3Uploads, "list", refuse),
        "abort": (S3Uploads, "abort", refuse),
        "list": (S3Receipts, "list", refuse),
        "delete": (S3CopyCapability, "_delete", refuse_its),
    }[denied]
    monkeypatch.setattr(name, target, method)

    with capture_logs() as logged:
        await capability.proved()

    left = {each["left"] for each in logged if each["event"] == "copies.probe_left"}
    folder = f"s3://{bucket}/.archiver-check + & % é/receipt-"
    objects = [each["Key"] for each in aws.s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
    uploads = aws.s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    if denied in ("list uploads", "abort"):
        assert objects == [] and [each["UploadId"] for each in uploads] == [upload]
        of_upload = f"upload {upload} of s3://{bucket}/{key}"
        assert (of_upload if denied == "abort" else f"uploads of {folder}") in left
    else:
        assert objects == [key] and uploads == []
        assert left == {folder if denied == "list" else f"{folder}0123.json.gz"}


async def test_a_job_that_is_cancelled_while_the_probe_tidies_up_leaves_nothing_of_it(
    capability: S3CopyCapability, aws: EmulatedAws, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete: Callable[[S3CopyCapability, Location], object] = S3CopyCapability._delete
    deleted: list[Location] = []

    async def cancelled_at_the_second(self: S3CopyCapability, location: Location) -> None:
        deleted.append(location)
        if len(deleted) == 2:  # the first of the clean-up
            asking.cancel()
        await delete(self, location)  # type: ignore[misc]

    monkeypatch.setattr(S3CopyCapability, "_delete", cancelled_at_the_second)
    asking = asyncio.create_task(capability.proved())
    await asyncio.wait([asking])

    assert asking.cancelled() and len(deleted) == 3
    assert not aws.s3.list_objects_v2(Bucket=bucket).get("Contents")


async def test_the_store_is_asked_once(capability: S3CopyCapability, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def run(self: object) -> None:
        asked.append(self)

    monkeypatch.setattr(s3_copy_probe._Probe, "run", run)

    assert await capability.proved()
    assert await capability.proved()
    assert len(asked) == 1


async def test_a_failure_that_may_pass_is_remembered_for_a_minute(
    clients: Clients, reader: S3Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(s3_copy_probe, "monotonic", lambda: clock[0])
    missing = S3CopyCapability(S3Store(clients, "nowhere"), clients.s3, reader, "nowhere")
    probes: list[object] = []
    run: Callable[[S3CopyCapability], object] = S3CopyCapability._run

    async def counted(self: S3CopyCapability) -> None:
        probes.append(self)
        await run(self)  # type: ignore[misc]

    monkeypatch.setattr(S3CopyCapability, "_run", counted)
    for seconds, times in ((0, 1), (59, 1), (61, 2)):
        clock[0] = 1000.0 + seconds
        assert not await missing.proved()
        assert len(probes) == times


async def test_buckets_of_the_same_region_are_within_reach(capability: S3CopyCapability, bucket: str) -> None:
    assert capability.reaches(bucket)
    assert not capability.reaches("no bucket!")
