"""The proxy applies its rules, with boto3 as the client."""

import base64
import json
import signal
import socket
import ssl
import time
import zlib

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from certificates import shared_trust

from .body_faults import Bandwidth, Corrupt, Reset, Slice, StallBody, Truncate
from .emulator import clients
from .history import SCENARIO_CLIENT
from .proxy_fixture import BODY, ProxyHarness
from .rules import (
    Action,
    Delay,
    DropResponse,
    Duplicate,
    EditHeader,
    FixedResponse,
    OkWithError,
    ResetBefore,
    Rule,
    SideEffect,
    Stall,
    Status,
)
from .worker_process import wait_until


def test_without_rules_all_calls_pass_and_are_recorded_in_order(harness: ProxyHarness) -> None:
    head = harness.through.s3.head_object(Bucket=harness.bucket, Key="a/b.jpg")
    assert harness.get(Range="bytes=256-511") == BODY[256:512]
    head_seen, get_seen = harness.proxy.history.select("HeadObject", "GetObject")
    assert (head_seen.op, head_seen.call.bucket, head_seen.call.key) == ("HeadObject", harness.bucket, "a/b.jpg")
    assert head_seen.facts == {"etag": head["ETag"], "length": str(len(BODY))}
    assert (get_seen.status, get_seen.facts["range"], get_seen.ok) == (206, "bytes=256-511", True)
    assert head_seen.seq < get_seen.seq and head_seen.ended is not None and head_seen.ended <= get_seen.began


def test_queue_urls_point_to_the_proxy_that_received_the_call(harness: ProxyHarness) -> None:
    assert harness.queue.startswith(harness.through.sqs.meta.endpoint_url)


def test_messages_are_recorded_with_their_ids_receipts_and_bodies(harness: ProxyHarness) -> None:
    sent = harness.through.sqs.send_message(QueueUrl=harness.queue, MessageBody="hello")["MessageId"]
    message = harness.through.sqs.receive_message(QueueUrl=harness.queue, VisibilityTimeout=9)["Messages"][0]
    harness.through.sqs.delete_message(QueueUrl=harness.queue, ReceiptHandle=message["ReceiptHandle"])
    sending, receiving, deleting = harness.proxy.history.select("SendMessage", "ReceiveMessage", "DeleteMessage")
    assert (sending.facts["body"], sending.facts["message"]) == ("hello", sent)
    assert receiving.facts["messages"][0]["id"] == sent and receiving.facts["visibility"] == 9
    assert (deleting.facts["message"], deleting.facts["stale"], deleting.call.queue) == (sent, False, harness.bucket)


def test_uploads_are_recorded_part_by_part_and_the_archive_when_it_exists(
    harness: ProxyHarness,
) -> None:
    upload = harness.through.s3.create_multipart_upload(Bucket=harness.bucket, Key="z.zip", Metadata={"Token": "t"})
    part = harness.through.s3.upload_part(
        Bucket=harness.bucket, Key="z.zip", UploadId=upload["UploadId"], PartNumber=1, Body=BODY
    )
    assert harness.proxy.history.observed_archives == []
    listed = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    done = harness.through.s3.complete_multipart_upload(
        Bucket=harness.bucket, Key="z.zip", UploadId=upload["UploadId"], MultipartUpload=listed
    )
    created = harness.last("CreateMultipartUpload")
    assert created.facts == {"metadata": {"token": "t"}, "upload": upload["UploadId"]}
    assert (harness.last("UploadPart").call.part, harness.last("UploadPart").facts["size"]) == (1, len(BODY))
    assert harness.last("CompleteMultipartUpload").facts == {"etag": done["ETag"]}
    assert [(seen.key, seen.body) for seen in harness.proxy.history.observed_archives] == [("z.zip", BODY)]


def test_the_history_has_one_json_object_per_line(harness: ProxyHarness) -> None:
    harness.get()
    records = [json.loads(line) for line in harness.proxy.history.lines()]
    assert [record["op"] for record in records] == ["CreateQueue", "GetObject"]
    assert records[1]["key"] == "a/b.jpg" and records[1]["status"] == 200


def test_a_status_rule_returns_an_aws_error_and_the_call_has_no_effect(harness: ProxyHarness) -> None:
    harness.add(Status(503, "SlowDown"), "GetObject", times=2)
    for _ in range(2):
        with pytest.raises(ClientError, match="SlowDown"):
            harness.get()
    assert harness.get() == BODY
    assert [exchange.committed is None for exchange in harness.proxy.history.select("GetObject")] == [True, True, False]


def test_a_status_rule_for_a_queue_returns_json(harness: ProxyHarness) -> None:
    harness.add(Status(400, "QueueDoesNotExist"), "SendMessage")
    with pytest.raises(harness.through.sqs.exceptions.QueueDoesNotExist):
        harness.through.sqs.send_message(QueueUrl=harness.queue, MessageBody="hello")


def test_a_response_200_with_an_error_body_is_not_recorded_as_committed(harness: ProxyHarness) -> None:
    harness.add(OkWithError(), "CompleteMultipartUpload")
    upload = harness.through.s3.create_multipart_upload(Bucket=harness.bucket, Key="z.zip")["UploadId"]
    with pytest.raises(ClientError, match="InternalError"):
        harness.through.s3.complete_multipart_upload(
            Bucket=harness.bucket, Key="z.zip", UploadId=upload, MultipartUpload={"Parts": []}
        )
    assert harness.last("CompleteMultipartUpload").committed is None


def test_a_fixed_response_is_sent_unchanged(harness: ProxyHarness) -> None:
    harness.add(FixedResponse(200, [("ETag", '"other"')], b"short"), "GetObject")
    assert harness.get() == b"short"


def test_a_delayed_call_takes_effect_after_the_delay(harness: ProxyHarness) -> None:
    harness.add(Delay(before_it=0.2, after_it=0.1), "GetObject")
    assert harness.get() == BODY
    wait_until(lambda: harness.last("GetObject").ended, "the end of the call")  # the client has the body before it
    seen = harness.last("GetObject")
    assert seen.committed is not None and seen.ended is not None
    assert seen.committed - seen.began >= 0.2 and seen.ended - seen.committed >= 0.1


@pytest.mark.parametrize("action", [Stall(seconds=30), StallBody(1000), Slice(1, 0.5), Delay(before_it=3)], ids=str)
def test_a_stalled_or_trickling_response_exceeds_the_client_timeout(harness: ProxyHarness, action: Action) -> None:
    harness.add(action, "GetObject")
    with pytest.raises(BotoCoreError):
        _within(harness, seconds=1.5)


def _within(harness: ProxyHarness, seconds: float) -> None:
    """Read for at most *seconds*: a trickle never reaches the client's read timeout."""
    body = harness.through.s3.get_object(Bucket=harness.bucket, Key="a/b.jpg")["Body"]
    end = time.monotonic() + seconds
    while body.read(1) and time.monotonic() < end:
        pass
    if time.monotonic() >= end:
        raise BotoCoreError


@pytest.mark.parametrize("count", [0, 1, 100_000, len(BODY) - 1])
@pytest.mark.parametrize("action", [Truncate, Reset])
def test_a_body_is_cut_after_the_configured_number_of_bytes(
    harness: ProxyHarness, action: type[Truncate | Reset], count: int
) -> None:
    harness.add(action(count), "GetObject")
    received = bytearray()
    with pytest.raises(BotoCoreError):
        _read_into(received, harness)
    assert bytes(received) == BODY[: len(received)] and len(received) <= count
    assert action is Reset or len(received) == count  # a reset may discard bytes that were sent before it
    assert harness.last("GetObject").aborted


def _read_into(received: bytearray, harness: ProxyHarness) -> None:
    body = harness.through.s3.get_object(Bucket=harness.bucket, Key="a/b.jpg")["Body"]
    while block := body.read(999):
        received += block


def test_a_sliced_body_arrives_complete(harness: ProxyHarness) -> None:
    harness.add(Slice(100_000, 0.01), "GetObject")
    assert harness.get() == BODY


def test_bandwidth_slows_bodies_in_both_directions(harness: ProxyHarness) -> None:
    harness.add(Bandwidth(len(BODY) * 4), "GetObject")
    harness.add(Bandwidth(len(BODY) * 4, upward=True), "PutObject")
    assert harness.get() == BODY
    harness.through.s3.put_object(Bucket=harness.bucket, Key="slow", Body=BODY)
    for seen in harness.proxy.history.select("GetObject", "PutObject"):
        wait_until(lambda seen=seen: seen.ended is not None, "the end of the exchange")  # type: ignore[misc]
        assert seen.ended is not None and seen.ended - seen.began >= 0.2


def test_a_corrupted_byte_is_the_only_difference(harness: ProxyHarness) -> None:
    harness.add(Corrupt(70_000), "GetObject")
    got = harness.get()
    assert [at for at, (a, b) in enumerate(zip(got, BODY, strict=True)) if a != b] == [70_000]


def test_a_dropped_response_leaves_the_write_in_effect(harness: ProxyHarness) -> None:
    harness.add(DropResponse(), "PutObject")
    with pytest.raises(BotoCoreError):
        harness.through.s3.put_object(Bucket=harness.bucket, Key="kept", Body=b"x")
    assert harness.direct.s3.get_object(Bucket=harness.bucket, Key="kept")["Body"].read() == b"x"
    seen = harness.last("PutObject")
    assert (seen.committed is not None, seen.status, seen.aborted, seen.ok) == (True, None, True, False)


def test_a_reset_before_the_call_leaves_no_effect(harness: ProxyHarness) -> None:
    harness.add(ResetBefore(), "PutObject")
    with pytest.raises(BotoCoreError):
        harness.through.s3.put_object(Bucket=harness.bucket, Key="lost", Body=b"x")
    assert harness.direct.s3.list_objects_v2(Bucket=harness.bucket, Prefix="lost")["KeyCount"] == 0
    assert harness.last("PutObject").committed is None


def test_a_duplicated_request_takes_effect_twice(harness: ProxyHarness) -> None:
    harness.add(Duplicate(), "SendMessage")
    harness.through.sqs.send_message(QueueUrl=harness.queue, MessageBody="hello")
    got = harness.direct.sqs.receive_message(QueueUrl=harness.queue, MaxNumberOfMessages=10)["Messages"]
    assert [message["Body"] for message in got] == ["hello", "hello"]


def test_a_header_is_changed_or_removed(harness: ProxyHarness) -> None:
    harness.add(EditHeader("Content-Range", "bytes 7-9/10"), "GetObject")
    harness.add(EditHeader("ETag"), "GetObject")
    got = harness.through.s3.get_object(Bucket=harness.bucket, Key="a/b.jpg", Range="bytes=0-9")
    assert got["ContentRange"] == "bytes 7-9/10" and "ETag" not in got


def test_a_side_effect_runs_before_or_after_a_call(harness: ProxyHarness) -> None:
    def replace() -> None:
        harness.direct.s3.put_object(Bucket=harness.bucket, Key="a/b.jpg", Body=b"new")

    harness.add(SideEffect(after_it=replace), "HeadObject")
    assert harness.through.s3.head_object(Bucket=harness.bucket, Key="a/b.jpg")["ContentLength"] == len(BODY)
    assert harness.get() == b"new"
    raised: list[signal.Signals] = []
    harness.add(SideEffect(before_it=lambda: raised.append(signal.SIGTERM)), "GetObject")
    harness.get()
    assert raised == [signal.SIGTERM]


def test_a_rule_matches_operation_key_part_client_and_count(harness: ProxyHarness) -> None:
    rule = harness.add(Status(500, "InternalError"), "GetObject", key="a/*", client="worker", nth=2, times=1)
    assert harness.get() == BODY
    with pytest.raises(ClientError):
        harness.get()
    assert harness.get() == BODY
    assert (rule.seen, rule.fired) == (3, 1)
    other = harness.add(Status(500, "InternalError"), "GetObject", key="other/*")
    part = harness.add(Status(500, "InternalError"), "GetObject", part=3)
    assert harness.get() == BODY
    assert (other.seen, part.seen) == (0, 0)


def test_no_rule_applies_to_the_tests_own_calls(harness: ProxyHarness) -> None:
    harness.proxy.add(Rule(ResetBefore(), times=None))
    own = clients(harness.proxy.listen(SCENARIO_CLIENT))
    assert own.s3.head_object(Bucket=harness.bucket, Key="a/b.jpg")["ContentLength"] == len(BODY)
    assert (
        harness.proxy.history.select("HeadObject") == []
        and len(harness.proxy.history.select(client=SCENARIO_CLIENT)) == 1
    )
    own.s3.close()
    own.sqs.close()


def test_a_put_with_expect_100_continue_and_chunked_coding_arrives_complete(harness: ProxyHarness) -> None:
    """HTTP chunked coding around S3's `aws-chunked` coding, which has a trailing checksum."""
    crc = base64.b64encode(zlib.crc32(b"hello world").to_bytes(4, "big"))
    inner = b"6\r\nhello \r\n5\r\nworld\r\n0\r\nx-amz-checksum-crc32:" + crc + b"\r\n\r\n"
    outer = b"%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (10, inner[:10], len(inner) - 10, inner[10:])
    head = (
        f"PUT /{harness.bucket}/up HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\n"
        "Transfer-Encoding: chunked\r\n"
        f"Content-Encoding: aws-chunked\r\nx-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\n"
        f"x-amz-decoded-content-length: 11\r\nx-amz-trailer: x-amz-checksum-crc32\r\n\r\n"
    )
    port = int(harness.through.s3.meta.endpoint_url.rpartition(":")[2])
    trusting = ssl.create_default_context(cafile=shared_trust().bundle)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        trusting.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(outer)
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
    assert harness.direct.s3.get_object(Bucket=harness.bucket, Key="up")["Body"].read() == b"hello world"
    assert harness.last("PutObject").facts["size"] == 11
