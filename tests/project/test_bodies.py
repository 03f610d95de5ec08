"""The embedded S3 answers reads as moto does, without holding an object in memory for that."""

import re
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from typing import Any, cast

import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.test import Client

from archiver.local.bodies import BLOCK_SIZE, BodyMiddleware, StoredObject
from archiver.local.embedded import _find_object, embedded_aws

BODY = bytes(range(256)) * 40_000  # 10 MB and a bit, of which no two neighbouring bytes are equal
KEY = "a b/Ü+%41.bin"
PATH = "/source-images/a%20b/%C3%9C%2B%2541.bin"
SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, Signature=00"}
NOT_OURS = {"date", "x-amzn-requestid", "x-amz-request-id", "x-amz-id-2"}  # they differ from one request to the next


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    with embedded_aws() as aws, closing(aws.client("s3")) as client:
        told = client.put_object(
            Bucket="source-images",
            Key=KEY,
            Body=BODY,
            ContentType="image/png",
            Metadata={"a": "b"},
            ChecksumAlgorithm="CRC32",
        )
        upload = client.create_multipart_upload(Bucket="source-images", Key="parts", ChecksumAlgorithm="CRC32")[
            "UploadId"
        ]
        part = client.upload_part(
            Bucket="source-images",
            Key="parts",
            UploadId=upload,
            PartNumber=1,
            Body=b"x" * 99,
            ChecksumAlgorithm="CRC32",
        )
        client.complete_multipart_upload(
            Bucket="source-images",
            Key="parts",
            UploadId=upload,
            MultipartUpload={
                "Parts": [{"PartNumber": 1, "ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]}]
            },
        )
        client.put_object(Bucket="zip-storage", Key="zip", Body=b"public")
        assert told["ETag"]
        yield client


def moto() -> Any:
    return DomainDispatcherApplication(create_backend_app)


def asked(app: Any, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    told = Client(app).get(path, headers=headers)
    headers = {name.lower(): value for name, value in told.headers if name.lower() not in NOT_OURS}
    return told.status_code, headers, re.sub(rb"<(RequestId|HostId)>[^<]*", b"", told.data)


RANGES = [
    "bytes=0-0",
    "bytes=5-1048576",
    f"bytes=1048575-{2 * BLOCK_SIZE}",
    "bytes=-7",
    "bytes=9999990-",
    "bytes=0-99999999",
]
ODD = ["bytes=99999999-", "bytes=7-3", "bytes=a-b", "bytes=0-1,3-4", "bytes=-0", "bytes=-"]


@pytest.mark.parametrize("range_", [None, *RANGES, *ODD])
def test_a_range_is_answered_as_by_moto(s3: Any, range_: str | None) -> None:
    headers = SIGNED | ({"Range": range_} if range_ else {})

    ours = asked(BodyMiddleware(moto(), _find_object), PATH, headers)

    assert ours == asked(moto(), PATH, headers)
    if range_ in RANGES:
        assert ours[0] == 206


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (PATH, SIGNED | {"If-Match": '"other"', "Range": "bytes=0-1"}),
        (PATH, SIGNED | {"If-None-Match": "{etag}"}),
        (PATH, SIGNED | {"If-Match": "{etag}", "Range": "bytes=0-1"}),
        (PATH, SIGNED | {"x-amz-checksum-mode": "ENABLED"}),
        ("/source-images/parts", SIGNED | {"x-amz-checksum-mode": "ENABLED"}),
        (PATH, {"Range": "bytes=0-1"}),
        (f"{PATH}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00", {"Range": "bytes=0-1"}),
        (f"{PATH}?X-Amz-Signature=00&response-content-type=text/plain", {}),
        (f"{PATH}?x-id=GetObject", SIGNED | {"Range": "bytes=0-1"}),
        (f"{PATH}?partNumber=1", SIGNED),
        (f"{PATH}?tagging", SIGNED),
        (PATH, SIGNED | {"Origin": "https://example.com"}),
        ("/source-images/none", SIGNED | {"Range": "bytes=0-1"}),
        ("/source-images", SIGNED),
        ("/", SIGNED),
        ("/nowhere/a", SIGNED),
        ("/zip-storage/zip", {}),
        ("/zip-storage/zip", {"Range": "bytes=1-2"}),
    ],
)
def test_every_other_read_is_too(s3: Any, path: str, headers: dict[str, str]) -> None:
    etag = s3.head_object(Bucket="source-images", Key=KEY)["ETag"]
    sent = {name: value.replace("{etag}", etag) for name, value in headers.items()}

    assert asked(BodyMiddleware(moto(), _find_object), path, sent) == asked(moto(), path, sent)


def test_a_range_costs_no_more_memory_than_its_own_bytes(s3: Any) -> None:
    """Moto's own takes the object's, which shows that the measure is one."""

    def peak(app: Any) -> int:
        headers = SIGNED | {"Range": "bytes=4000000-4000999"}
        asked(app, PATH, headers)  # what is imported and cached counts for nobody
        tracemalloc.start()
        try:
            assert asked(app, PATH, headers)[2] == BODY[4_000_000:4_001_000]
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(moto()) > len(BODY)
    assert peak(BodyMiddleware(moto(), _find_object)) < len(BODY) / 5


def test_an_object_that_is_replaced_between_two_looks_is_motos_to_answer(s3: Any) -> None:
    s3.put_object(Bucket="source-images", Key="old", Body=b"old")
    old = _find_object("source-images", "old")
    s3.put_object(Bucket="source-images", Key="old", Body=b"new")

    assert (
        asked(BodyMiddleware(moto(), lambda *_: cast("StoredObject", old)), "/source-images/old", SIGNED)[2] == b"new"
    )


def test_many_may_read_one_object_at_once(s3: Any) -> None:
    """Its file has one position: a block of one reader is never another's."""
    stored = cast("StoredObject", _find_object("source-images", KEY))
    app = BodyMiddleware(moto(), lambda *_: stored)
    one, two = (Client(app).get(PATH, headers=SIGNED | {"Range": f"bytes={n}-"}).iter_encoded() for n in (0, 100))
    parts: dict[int, bytes] = {0: b"", 1: b""}
    for first, second in zip(one, two, strict=False):
        parts[0] += first
        parts[1] += second

    assert BODY.startswith(parts[0]) and len(parts[0]) > BLOCK_SIZE
    assert BODY[100:].startswith(parts[1])


def test_the_checksum_of_parts_is_told_as_one(s3: Any) -> None:
    """Whoever uploads with an SDK of today sends checksums; a worker would hold one of parts against the whole."""
    told = s3.head_object(Bucket="source-images", Key="parts", ChecksumMode="ENABLED")
    whole = s3.head_object(Bucket="source-images", Key=KEY, ChecksumMode="ENABLED")

    assert (told["ChecksumType"], told["ChecksumCRC32"][-2:]) == ("COMPOSITE", "-1")
    assert "-" not in whole["ChecksumCRC32"]
