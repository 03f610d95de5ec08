"""What settings add to requests to S3."""

import pytest
from aws.s3_reader_fixtures import FakeSession
from http_client import scripted_server
from http_client.scripted_server import make_response, serve_scripts

from archiver.aws.endpoint import Endpoint
from archiver.aws.s3_calls import S3Calls
from archiver.aws.s3_headers import S3Headers, request_headers
from archiver.aws.s3_read import S3Reader
from archiver.aws.s3_transport import TransportConfig
from archiver.aws.s3_upload import S3Upload, UploadId
from archiver.core.locations import Location
from archiver.errors import ArchiverError
from archiver.settings import load_settings


@pytest.fixture(autouse=True)
def plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes of requests are looked at, not their way."""
    monkeypatch.setattr(scripted_server, "TLS", False)


FULL = S3Headers("aws:kms", "arn:aws:kms:eu-west-1:1:key/k", True, True, {"archives": "111122223333"}, "archives")
KMS = {
    "x-amz-server-side-encryption": "aws:kms",
    "x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:eu-west-1:1:key/k",
    "x-amz-server-side-encryption-bucket-key-enabled": "true",
}
OWNER = {"x-amz-expected-bucket-owner": "111122223333"}
PAYER = {"x-amz-request-payer": "requester"}


@pytest.mark.parametrize(
    ("method", "bucket", "query", "lines"),
    [
        ("HEAD", "photos", "", PAYER),
        ("GET", "archives", "", PAYER | OWNER),
        ("PUT", "archives", "", OWNER | KMS),
        ("POST", "archives", "uploads=", OWNER | KMS),
        ("PUT", "archives", "partNumber=1&uploadId=u", OWNER),
        ("POST", "archives", "uploadId=u", OWNER),
        ("DELETE", "others", "uploadId=u", {}),
        ("PUT", "others", "", {}),
    ],
)
def test_each_request_of_ours_has_what_its_operation_takes(
    method: str, bucket: str, query: str, lines: dict[str, str]
) -> None:
    assert dict(FULL.lines(method, bucket, query)) == lines
    assert S3Headers().lines(method, bucket, query) == []


def test_algorithm_alone_brings_no_key() -> None:
    assert S3Headers("AES256").lines("PUT", "archives", "") == [("x-amz-server-side-encryption", "AES256")]


async def test_headers_go_out_signed_with_reads_and_parts() -> None:
    config = TransportConfig(headers=FULL)
    async with serve_scripts([make_response("404 Not Found", b"<Error><Code>NoSuchKey</Code></Error>")]) as server:
        reader = S3Reader(FakeSession(), Endpoint(server.url, "us-east-1"), config)
        calls = S3Calls.open(FakeSession(), Endpoint(server.url, "us-east-1"), config)
        with pytest.raises(ArchiverError):
            await reader.read(Location("photos", "a"), '"e"', 0, [memoryview(bytearray(1))])
        with pytest.raises(ArchiverError):
            await S3Upload(calls, UploadId(Location("archives", "a"), "u")).upload_part(1, memoryview(b""), 0)
        await reader.close()
        await calls.close()
    read, part = (request.decode() for request in server.requests[:2])
    assert "x-amz-request-payer: requester\r\n" in read
    assert ";x-amz-request-payer" in read
    assert "x-amz-expected-bucket-owner: 111122223333\r\n" in part
    assert "server-side-encryption" not in part


def test_settings_become_headers_and_nothing_is_added_by_default() -> None:
    least = {"SQS_SOURCE_QUEUE": "jobs", "S3_DESTINATION_BUCKET": "archives"}
    assert request_headers(load_settings(least)) == S3Headers(archives="archives")
    given = {
        "S3_ARCHIVE_SSE": "aws:kms",
        "S3_ARCHIVE_KMS_KEY_ID": "k",
        "S3_REQUEST_PAYER": "requester",
        "S3_SOURCE_BUCKET": "photos",
        "S3_EXPECTED_SOURCE_OWNER": "210987654321",
        "S3_EXPECTED_BUCKET_OWNER": "123456789012",
    }
    owners = {"photos": "210987654321", "archives": "123456789012"}
    assert request_headers(load_settings(least | given)) == S3Headers("aws:kms", "k", False, True, owners, "archives")
