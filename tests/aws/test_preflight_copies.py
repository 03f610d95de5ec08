"""What `archiver check` says of stores that copy; tests/cli/test_check.py has those that do not."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from archiver.aws import preflight_copies
from archiver.aws.clients import Clients
from archiver.aws.preflight_copies import check_copies
from archiver.aws.s3_copy_probe import S3CopyCapability
from archiver.aws.s3_read import S3Reader
from archiver.aws.session import open_network
from archiver.core.preflight import CheckResult
from archiver.settings import load_settings

Check = Callable[..., Awaitable[CheckResult]]


@pytest.fixture
async def check(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Check]:
    """The check of a worker whose store copies, from buckets of the region of the archives alone."""
    network = await open_network()
    reader = S3Reader(network.session, network.endpoint, network.transport_config)

    async def proved(self: S3CopyCapability) -> bool:
        await asyncio.sleep(0.01)
        return bool(self)

    monkeypatch.setattr(S3CopyCapability, "proved", proved)
    monkeypatch.setattr(S3CopyCapability, "reaches", lambda _, bucket: bucket != "far")

    async def check(**given: str) -> CheckResult:
        queue = {"SQS_SOURCE_QUEUE": "queue", "S3_DESTINATION_BUCKET": "archives", "S3_STRATEGY": "auto"}
        return await check_copies(load_settings(queue | given), clients, reader)

    yield check
    await reader.close()


@pytest.mark.parametrize(
    ("source", "state", "told"),
    [
        ("near", "ok", "near can be copied from into archives, and all is verified"),
        ("", "ok", "the store can be copied from into archives, and all is verified"),
        ("far", "warning", "the store copies, but far is in another region than archives: its objects are read"),
    ],
)
async def test_a_store_that_copies_is_told_of_with_the_source_bucket(
    check: Check, source: str, state: str, told: str
) -> None:
    result = await check(S3_SOURCE_BUCKET=source)

    assert (result.state, result.told) == (state, told)


async def test_a_store_that_does_not_answer_in_time_is_unknown(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight_copies, "CHECK_SECONDS", 0.0)

    assert (await check()).state == "unknown"
