"""The proxy refuses requests that S3 and SQS refuse and the emulator accepts."""

import base64
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from .proxy_fixture import BODY, ProxyHarness

PART = bytes(5 * 1024 * 1024)


def crc_text(body: bytes) -> str:
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


class Upload:
    """A multipart upload of two parts."""

    def __init__(self, harness: ProxyHarness) -> None:
        self.s3, self.where = harness.through.s3, {"Bucket": harness.bucket, "Key": "z.zip"}
        begun = self.s3.create_multipart_upload(**self.where, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
        self.where["UploadId"] = begun["UploadId"]
        self.parts = [{"PartNumber": n, "ETag": self.part(n, body)} for n, body in ((1, PART), (2, BODY))]

    def part(self, number: int, body: bytes) -> str:
        etag: str = self.s3.upload_part(**self.where, PartNumber=number, Body=body)["ETag"]
        return etag

    def complete(self, **how: Any) -> None:
        listed = {"Parts": how.pop("parts", self.parts)}
        self.s3.complete_multipart_upload(**self.where, MultipartUpload=listed, ChecksumType="FULL_OBJECT", **how)


def test_an_upload_with_the_announced_size_and_checksum_is_completed(harness: ProxyHarness) -> None:
    Upload(harness).complete(MpuObjectSize=len(PART + BODY), ChecksumCRC32=crc_text(PART + BODY))
    assert harness.proxy.history.observed_archives[-1].body == PART + BODY


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"MpuObjectSize": len(PART + BODY) - 1}, "InvalidRequest"),
        ({"ChecksumCRC32": crc_text(BODY + PART)}, "BadDigest"),
    ],
)
def test_an_upload_with_another_size_or_checksum_is_refused_and_stays_open(
    harness: ProxyHarness, wrong: dict[str, Any], code: str
) -> None:
    upload = Upload(harness)
    with pytest.raises(ClientError, match=code):
        upload.complete(**wrong)
    assert harness.last("CompleteMultipartUpload").committed is None
    assert len(harness.direct.s3.list_multipart_uploads(Bucket=harness.bucket)["Uploads"]) == 1


def test_parts_out_of_order_are_refused(harness: ProxyHarness) -> None:
    upload = Upload(harness)
    with pytest.raises(ClientError, match="InvalidPartOrder"):
        upload.complete(parts=upload.parts[::-1])


def test_a_part_for_an_aborted_upload_is_refused_with_no_such_upload(harness: ProxyHarness) -> None:
    upload = Upload(harness)
    upload.s3.abort_multipart_upload(**upload.where)
    with pytest.raises(ClientError, match="NoSuchUpload"):
        upload.part(3, BODY)


@pytest.mark.parametrize(("crc", "refused"), [(crc_text(BODY), False), (crc_text(b"other"), True)])
def test_an_object_with_a_wrong_checksum_is_refused(harness: ProxyHarness, crc: str, refused: bool) -> None:
    put = {"Bucket": harness.bucket, "Key": "put", "Body": BODY, "ChecksumCRC32": crc}
    if refused:
        with pytest.raises(ClientError, match="BadDigest"):
            harness.through.s3.put_object(**put)
    else:
        harness.through.s3.put_object(**put)
    assert (harness.last("PutObject").committed is None) is refused


def test_only_one_of_several_concurrent_conditional_writes_succeeds(harness: ProxyHarness) -> None:
    def complete(upload: Upload) -> int:
        try:
            upload.complete(IfNoneMatch="*")
        except ClientError as error:
            return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
        return 200

    uploads = [Upload(harness) for _ in range(4)]
    with ThreadPoolExecutor(len(uploads)) as pool:
        assert sorted(pool.map(complete, uploads)) == [200, 412, 412, 412]


def receive(harness: ProxyHarness, visibility: int = 30) -> str:
    got = harness.through.sqs.receive_message(QueueUrl=harness.queue, VisibilityTimeout=visibility, WaitTimeSeconds=3)
    receipt: str = got["Messages"][0]["ReceiptHandle"]
    return receipt


def change_visibility(harness: ProxyHarness, receipt: str, seconds: int) -> None:
    harness.through.sqs.change_message_visibility(
        QueueUrl=harness.queue, ReceiptHandle=receipt, VisibilityTimeout=seconds
    )


def test_only_the_latest_receipt_changes_visibility_or_deletes_a_message(harness: ProxyHarness) -> None:
    harness.through.sqs.send_message(QueueUrl=harness.queue, MessageBody="hello")
    first = receive(harness)
    change_visibility(harness, first, 0)
    second = receive(harness)
    with pytest.raises(ClientError, match="InvalidParameterValue"):
        change_visibility(harness, first, 30)
    harness.through.sqs.delete_message(QueueUrl=harness.queue, ReceiptHandle=first)
    stale = harness.last("DeleteMessage")
    assert (stale.status, stale.committed, stale.facts["stale"]) == (200, None, True)
    change_visibility(harness, second, 30)
    harness.through.sqs.delete_message(QueueUrl=harness.queue, ReceiptHandle=second)
    assert harness.last("DeleteMessage").ok
    with pytest.raises(ClientError, match="InvalidParameterValue"):
        change_visibility(harness, second, 30)


def test_an_expired_receipt_cannot_change_the_visibility(harness: ProxyHarness) -> None:
    harness.through.sqs.send_message(QueueUrl=harness.queue, MessageBody="hello")
    receipt = receive(harness, visibility=0)
    with pytest.raises(ClientError, match="MessageNotInflight"):
        change_visibility(harness, receipt, 30)


def text(value: str) -> dict[str, str]:
    return {"DataType": "String", "StringValue": value}


@pytest.mark.parametrize(
    ("attributes", "body", "code"),
    [
        ({f"a{n}": text("x") for n in range(11)}, "hello", "InvalidParameterValue"),
        ({"empty": text("")}, "hello", "InvalidParameterValue"),
        ({"control": text("a\x01b")}, "hello", "InvalidMessageContents"),
        ({}, "a\x0bb", "InvalidMessageContents"),
        ({}, "a\uffffb", "InvalidMessageContents"),
    ],
)
def test_a_message_that_sqs_would_reject_is_refused(
    harness: ProxyHarness, attributes: dict[str, dict[str, str]], body: str, code: str
) -> None:
    with pytest.raises(ClientError, match=code):
        harness.through.sqs.send_message(QueueUrl=harness.queue, MessageBody=body, MessageAttributes=attributes)


def test_ten_attributes_and_unusual_but_valid_characters_are_accepted(harness: ProxyHarness) -> None:
    attributes = {f"a{n}": text("tab\there \U0001f600") for n in range(10)}
    harness.through.sqs.send_message(QueueUrl=harness.queue, MessageBody="\r\n\ufffd", MessageAttributes=attributes)
    assert harness.last("SendMessage").ok


def test_an_operation_that_the_proxy_does_not_support_is_refused(harness: ProxyHarness) -> None:
    entries = [{"Id": "1", "MessageBody": "hello"}]
    with pytest.raises(ClientError, match="NotImplemented"):
        harness.through.sqs.send_message_batch(QueueUrl=harness.queue, Entries=entries)
