"""RestoreObject: what is asked of S3, and what its refusals mean."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from aws.s3_reader_fixtures import OBJECT_HEADERS, PHOTO, FakeSession, error_response, head, open_s3_reader
from aws.sts_responses import credentials_response, open_role_readers
from certificates import shared_trust
from http_client.scripted_server import Script, ScriptedServer, make_response, serve_scripts

from archiver.aws.endpoint import Endpoint
from archiver.aws.s3_headers import S3Headers
from archiver.aws.s3_read import S3Reader
from archiver.aws.s3_restore import S3Restorer, restore_request
from archiver.aws.s3_transport import TransportConfig
from archiver.errors import (
    ArchiverError,
    CredentialsRefused,
    SourceArchived,
    SourceUnavailable,
    TransferInterrupted,
)


@asynccontextmanager
async def open_restorer(
    *scripts: Script, headers: S3Headers | None = None
) -> AsyncIterator[tuple[ScriptedServer, S3Restorer]]:
    async with serve_scripts(*scripts) as server:
        config = replace(TransportConfig(ca_bundle=shared_trust().bundle), headers=headers or S3Headers())
        reader = S3Reader(FakeSession(), Endpoint(server.url, "us-east-1"), config)
        try:
            yield server, S3Restorer(lambda _: nullcontext(reader))
        finally:
            await reader.close()


async def restore(*answers: bytes, days: int | None = 3, headers: S3Headers | None = None) -> bytes:
    """Restore PHOTO, and return the request."""
    async with open_restorer(list(answers), headers=headers) as (server, restorer):
        await restorer.restore(PHOTO, "Bulk", days)
        return bytes(server.requests[0])


async def test_tier_and_days_are_sent_with_a_checksum() -> None:
    request = await restore(make_response("202 Accepted"))

    assert request.startswith(b"POST /photos/album/a%20b.jpg?restore= HTTP/1.1\r\n")
    assert f"\r\nContent-Length: {len(restore_request('Bulk', 3))}\r\n".encode() in request
    assert restore_request("Bulk", 3) == (
        b'<RestoreRequest xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Days>3</Days>'
        b"<GlacierJobParameters><Tier>Bulk</Tier></GlacierJobParameters></RestoreRequest>"
    )
    assert b"\r\nx-amz-checksum-crc32: " in request
    assert b"x-amz-request-payer" not in request


async def test_an_object_that_returns_for_good_has_no_days() -> None:
    request = await restore(make_response("202 Accepted"), days=None)

    assert b"<Days>" not in restore_request("Bulk", None)
    assert f"\r\nContent-Length: {len(restore_request('Bulk', None))}\r\n".encode() in request


async def test_the_requester_pays_for_restores_too() -> None:
    request = await restore(make_response("202 Accepted"), headers=S3Headers(requester_pays=True))
    assert b"\r\nx-amz-request-payer: requester\r\n" in request


@pytest.mark.parametrize(
    "answer",
    [
        make_response("200 OK"),
        error_response("409 Refused", "RestoreAlreadyInProgress"),
        error_response("403 Refused", "InvalidObjectState"),
    ],
    ids=["longer", "in progress", "not archived"],
)
async def test_a_restore_that_is_not_needed_is_no_error(answer: bytes) -> None:
    await restore(answer)


@pytest.mark.parametrize(
    ("answer", "error", "code"),
    [
        (error_response("404 Refused", "NoSuchKey"), SourceUnavailable, "source_missing"),
        (error_response("403 Refused", "AccessDenied"), SourceUnavailable, "source_denied"),
        (error_response("400 Refused", "MalformedXML"), SourceUnavailable, "source_denied"),
        (error_response("403 Refused", "SignatureDoesNotMatch"), CredentialsRefused, "SignatureDoesNotMatch"),
        (error_response("503 Refused", "GlacierExpeditedRetrievalNotAvailable"), TransferInterrupted, None),
        (error_response("500 Refused", "InternalError"), TransferInterrupted, None),
    ],
)
async def test_refusals_are_mapped(answer: bytes, error: type[ArchiverError], code: str | None) -> None:
    with pytest.raises(error) as raised:
        await restore(answer)
    assert getattr(raised.value, "code", None) == code


ACCEPTED = make_response("202 Accepted", b"", "Connection: close")
ROLE = "arn:aws:iam::210987654321:role/exports"


async def test_an_object_is_restored_with_the_role_that_it_is_read_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a request could restore with the worker's rights what its role may not."""
    assumed = credentials_response(expires=datetime(2100, 1, 1, tzinfo=UTC))
    async with open_role_readers(monkeypatch, {ROLE: None}, [assumed], s3=([ACCEPTED], [ACCEPTED])) as env:
        restorer = S3Restorer(env.readers.reader_of)
        await restorer.restore(PHOTO._replace(role=ROLE), "Bulk", 1)
        await restorer.restore(PHOTO, "Bulk", 1)
        assert env.keys == ["ASIAROLE", "AKIDEXAMPLE"]


async def test_refused_credentials_of_a_role_are_not_the_worker_s(monkeypatch: pytest.MonkeyPatch) -> None:
    assumed = credentials_response(expires=datetime(2100, 1, 1, tzinfo=UTC))
    refusal = [error_response("403 Refused", "InvalidAccessKeyId")]
    async with open_role_readers(monkeypatch, {ROLE: None}, [assumed], s3=(refusal,)) as env:
        with pytest.raises(SourceUnavailable) as refused:
            await S3Restorer(env.readers.reader_of).restore(PHOTO._replace(role=ROLE), "Bulk", 1)
    assert refused.value.code == "source_denied"


@pytest.mark.parametrize(
    ("fields", "restoring", "tiered"),
    [
        (["x-amz-storage-class: GLACIER"], False, False),
        (["x-amz-storage-class: DEEP_ARCHIVE", 'x-amz-restore: ongoing-request="true"'], True, False),
        (["x-amz-archive-status: ARCHIVE_ACCESS"], False, True),
        (["x-amz-archive-status: DEEP_ARCHIVE_ACCESS", 'x-amz-restore: ongoing-request="true"'], True, True),
    ],
)
async def test_head_tells_whether_a_restore_runs(fields: list[str], restoring: bool, tiered: bool) -> None:
    async with open_s3_reader([head(*OBJECT_HEADERS, *fields)]) as (_, reader):
        with pytest.raises(SourceArchived) as archived:
            await reader.head(PHOTO)
    assert (archived.value.restoring, archived.value.tiered) == (restoring, tiered)
