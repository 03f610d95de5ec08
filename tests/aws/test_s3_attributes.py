"""ACLs, and buckets that have none."""

import zlib
from typing import Any

import pytest
from aws.s3_reader_fixtures import FakeSession, error_response
from certificates import shared_trust
from http_client.scripted_server import make_response, serve_scripts
from structlog.testing import capture_logs

from archiver.aws.clients import Clients
from archiver.aws.endpoint import Endpoint
from archiver.aws.s3_calls import S3Calls
from archiver.aws.s3_errors import AclNotSupported
from archiver.aws.s3_receipts import S3Receipts
from archiver.aws.s3_store import S3Store
from archiver.aws.s3_transport import S3Transport, TransportConfig
from archiver.core.attributes import Attributes
from archiver.ports import Target

REFUSED = error_response("400 Bad Request", "AccessControlListNotSupported")
WRITTEN = make_response("200 OK", b"", 'ETag: "e"')
CREATED = make_response(
    "200 OK", b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
)
TARGET = Target("d/a.zip", "attachment", attributes=Attributes("private", "STANDARD_IA", {"team": "web"}))


async def test_where_the_bucket_has_no_acls_writes_are_sent_again_without_and_that_is_logged_once() -> None:
    async with serve_scripts([REFUSED], [WRITTEN], [WRITTEN], [CREATED]) as server:
        config = TransportConfig(ca_bundle=shared_trust().bundle)
        transport = S3Transport(FakeSession(), Endpoint(server.url, "us-east-1"), config)
        calls = S3Calls(transport, transport, transport, retry_seconds=0)
        nothing: Any = None
        store = S3Store(Clients(nothing, nothing, nothing, nothing, calls), "archives")
        with capture_logs() as logs:
            await store.put(TARGET, memoryview(b"zip"), zlib.crc32(b"zip"))
            await S3Receipts(calls, "archives").put("d/receipt-1.json.gz", b"{}", TARGET.attributes.of_receipt)
            await store.create_upload(TARGET)
        await transport.close()

    refused, *others = (request.decode("latin-1") for request in server.requests)
    assert "x-amz-acl: private\r\n" in refused
    assert len(others) == 3
    assert not any("x-amz-acl" in request for request in others)
    assert all("x-amz-tagging: team=web\r\n" in request for request in (refused, *others))
    assert ["x-amz-storage-class" in request for request in others] == [True, False, True]
    (warning,) = logs
    assert (warning["event"], warning["bucket"]) == ("archive.without_acl", "archives")


async def test_the_refusal_of_a_write_without_an_acl_is_an_error() -> None:
    async with serve_scripts([REFUSED]) as server:
        config = TransportConfig(ca_bundle=shared_trust().bundle)
        transport = S3Transport(FakeSession(), Endpoint(server.url, "us-east-1"), config)
        calls: Any = S3Calls(transport, transport, transport, retry_seconds=0)
        with pytest.raises(AclNotSupported):
            await S3Receipts(calls, "archives").put("d/receipt-1.json.gz", b"{}")
        await transport.close()
