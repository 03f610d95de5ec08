"""The proxy does what its rules say, with boto3 as the client."""

import base64
import json
import signal
import socket
import ssl
import time
import zlib

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from certificates import ours

from .bench import BODY, Bench
from .emulator import clients
from .flows import Bandwidth, Corrupt, Reset, Slice, StallBody, Truncate
from .history import STAGE
from .rules import (
    Action,
    Canned,
    Delay,
    Do,
    DropAnswer,
    Duplicate,
    EditHeader,
    Hangup,
    OkWithError,
    Rule,
    Stall,
    Status,
)
from .worker import until


def test_without_rules_everything_passes_and_is_written_down_in_order(bench: Bench) -> None:
    head = bench.through.s3.head_object(Bucket=bench.bucket, Key="a/b.jpg")
    assert bench.get(Range="bytes=256-511") == BODY[256:512]
    head_seen, get_seen = bench.proxy.history.of("HeadObject", "GetObject")
    assert (head_seen.op, head_seen.call.bucket, head_seen.call.key) == ("HeadObject", bench.bucket, "a/b.jpg")
    assert head_seen.facts == {"etag": head["ETag"], "length": str(len(BODY))}
    assert (get_seen.status, get_seen.facts["range"], get_seen.ok) == (206, "bytes=256-511", True)
    assert head_seen.seq < get_seen.seq and head_seen.ended is not None and head_seen.ended <= get_seen.began


def test_queue_urls_point_to_the_proxy_that_was_asked(bench: Bench) -> None:
    assert bench.queue.startswith(bench.through.sqs.meta.endpoint_url)


def test_messages_are_written_down_with_their_ids_receipts_and_bodies(bench: Bench) -> None:
    sent = bench.through.sqs.send_message(QueueUrl=bench.queue, MessageBody="hello")["MessageId"]
    message = bench.through.sqs.receive_message(QueueUrl=bench.queue, VisibilityTimeout=9)["Messages"][0]
    bench.through.sqs.delete_message(QueueUrl=bench.queue, ReceiptHandle=message["ReceiptHandle"])
    sending, receiving, deleting = bench.proxy.history.of("SendMessage", "ReceiveMessage", "DeleteMessage")
    assert (sending.facts["body"], sending.facts["message"]) == ("hello", sent)
    assert receiving.facts["messages"][0]["id"] == sent and receiving.facts["visibility"] == 9
    assert (deleting.facts["message"], deleting.facts["stale"], deleting.call.queue) == (sent, False, bench.bucket)


def test_uploads_are_written_down_part_by_part_and_the_archive_is_seen_once_it_stands_there(bench: Bench) -> None:
    upload = bench.through.s3.create_multipart_upload(Bucket=bench.bucket, Key="z.zip", Metadata={"Token": "t"})
    part = bench.through.s3.upload_part(
        Bucket=bench.bucket, Key="z.zip", UploadId=upload["UploadId"], PartNumber=1, Body=BODY
    )
    assert bench.proxy.history.sightings == []
    listed = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    done = bench.through.s3.complete_multipart_upload(
        Bucket=bench.bucket, Key="z.zip", UploadId=upload["UploadId"], MultipartUpload=listed
    )
    created = bench.last("CreateMultipartUpload")
    assert created.facts == {"metadata": {"token": "t"}, "upload": upload["UploadId"]}
    assert (bench.last("UploadPart").call.part, bench.last("UploadPart").facts["size"]) == (1, len(BODY))
    assert bench.last("CompleteMultipartUpload").facts == {"etag": done["ETag"]}
    assert [(seen.key, seen.body) for seen in bench.proxy.history.sightings] == [("z.zip", BODY)]


def test_the_history_is_one_json_object_a_line(bench: Bench) -> None:
    bench.get()
    records = [json.loads(line) for line in bench.proxy.history.lines()]
    assert [record["op"] for record in records] == ["CreateQueue", "GetObject"]
    assert records[1]["key"] == "a/b.jpg" and records[1]["status"] == 200


def test_a_status_is_an_error_of_aws_and_nothing_is_carried_out(bench: Bench) -> None:
    bench.add(Status(503, "SlowDown"), "GetObject", times=2)
    for _ in range(2):
        with pytest.raises(ClientError, match="SlowDown"):
            bench.get()
    assert bench.get() == BODY
    assert [exchange.committed is None for exchange in bench.proxy.history.of("GetObject")] == [True, True, False]


def test_a_status_for_a_queue_is_json(bench: Bench) -> None:
    bench.add(Status(400, "QueueDoesNotExist"), "SendMessage")
    with pytest.raises(bench.through.sqs.exceptions.QueueDoesNotExist):
        bench.through.sqs.send_message(QueueUrl=bench.queue, MessageBody="hello")


def test_an_ok_with_an_error_inside_is_no_success(bench: Bench) -> None:
    bench.add(OkWithError(), "CompleteMultipartUpload")
    upload = bench.through.s3.create_multipart_upload(Bucket=bench.bucket, Key="z.zip")["UploadId"]
    with pytest.raises(ClientError, match="InternalError"):
        bench.through.s3.complete_multipart_upload(
            Bucket=bench.bucket, Key="z.zip", UploadId=upload, MultipartUpload={"Parts": []}
        )
    assert bench.last("CompleteMultipartUpload").committed is None


def test_a_canned_answer_comes_as_it_is(bench: Bench) -> None:
    bench.add(Canned(200, [("ETag", '"other"')], b"short"), "GetObject")
    assert bench.get() == b"short"


def test_a_delayed_call_is_carried_out_after_the_delay(bench: Bench) -> None:
    bench.add(Delay(before_it=0.2, after_it=0.1), "GetObject")
    assert bench.get() == BODY
    seen = bench.last("GetObject")
    assert seen.committed is not None and seen.ended is not None
    assert seen.committed - seen.began >= 0.2 and seen.ended - seen.committed >= 0.1


@pytest.mark.parametrize("action", [Stall(seconds=30), StallBody(1000), Slice(1, 0.5), Delay(before_it=3)], ids=str)
def test_a_stalled_or_trickling_answer_outlasts_the_clients_patience(bench: Bench, action: Action) -> None:
    bench.add(action, "GetObject")
    with pytest.raises(BotoCoreError):
        _within(bench, seconds=1.5)


def _within(bench: Bench, seconds: float) -> None:
    """Read until *seconds* are over: a trickle never hits the client's own time-out."""
    body = bench.through.s3.get_object(Bucket=bench.bucket, Key="a/b.jpg")["Body"]
    end = time.monotonic() + seconds
    while body.read(1) and time.monotonic() < end:
        pass
    if time.monotonic() >= end:
        raise BotoCoreError


@pytest.mark.parametrize("count", [0, 1, 100_000, len(BODY) - 1])
@pytest.mark.parametrize("action", [Truncate, Reset])
def test_a_body_is_cut_after_just_so_many_bytes(bench: Bench, action: type[Truncate | Reset], count: int) -> None:
    bench.add(action(count), "GetObject")
    got = bytearray()
    with pytest.raises(BotoCoreError):
        _read_into(got, bench)
    assert bytes(got) == BODY[: len(got)] and len(got) <= count
    assert action is Reset or len(got) == count  # a reset may overtake bytes that were sent before it
    assert bench.last("GetObject").aborted


def _read_into(got: bytearray, bench: Bench) -> None:
    body = bench.through.s3.get_object(Bucket=bench.bucket, Key="a/b.jpg")["Body"]
    while block := body.read(999):
        got += block


def test_a_sliced_body_is_whole_in_the_end(bench: Bench) -> None:
    bench.add(Slice(100_000, 0.01), "GetObject")
    assert bench.get() == BODY


def test_bandwidth_holds_back_bodies_in_either_direction(bench: Bench) -> None:
    bench.add(Bandwidth(len(BODY) * 4), "GetObject")
    bench.add(Bandwidth(len(BODY) * 4, upward=True), "PutObject")
    assert bench.get() == BODY
    bench.through.s3.put_object(Bucket=bench.bucket, Key="slow", Body=BODY)
    for seen in bench.proxy.history.of("GetObject", "PutObject"):
        until(lambda seen=seen: seen.ended is not None, "its end")  # type: ignore[misc]
        assert seen.ended is not None and seen.ended - seen.began >= 0.2


def test_a_corrupted_byte_is_the_only_difference(bench: Bench) -> None:
    bench.add(Corrupt(70_000), "GetObject")
    got = bench.get()
    assert [at for at, (a, b) in enumerate(zip(got, BODY, strict=True)) if a != b] == [70_000]


def test_a_dropped_answer_leaves_the_write_done(bench: Bench) -> None:
    bench.add(DropAnswer(), "PutObject")
    with pytest.raises(BotoCoreError):
        bench.through.s3.put_object(Bucket=bench.bucket, Key="kept", Body=b"x")
    assert bench.direct.s3.get_object(Bucket=bench.bucket, Key="kept")["Body"].read() == b"x"
    seen = bench.last("PutObject")
    assert (seen.committed is not None, seen.status, seen.aborted, seen.ok) == (True, None, True, False)


def test_a_hangup_leaves_nothing_done(bench: Bench) -> None:
    bench.add(Hangup(), "PutObject")
    with pytest.raises(BotoCoreError):
        bench.through.s3.put_object(Bucket=bench.bucket, Key="lost", Body=b"x")
    assert bench.direct.s3.list_objects_v2(Bucket=bench.bucket, Prefix="lost")["KeyCount"] == 0
    assert bench.last("PutObject").committed is None


def test_a_duplicated_request_is_carried_out_twice(bench: Bench) -> None:
    bench.add(Duplicate(), "SendMessage")
    bench.through.sqs.send_message(QueueUrl=bench.queue, MessageBody="hello")
    got = bench.direct.sqs.receive_message(QueueUrl=bench.queue, MaxNumberOfMessages=10)["Messages"]
    assert [message["Body"] for message in got] == ["hello", "hello"]


def test_a_header_is_changed_or_taken_away(bench: Bench) -> None:
    bench.add(EditHeader("Content-Range", "bytes 7-9/10"), "GetObject")
    bench.add(EditHeader("ETag"), "GetObject")
    got = bench.through.s3.get_object(Bucket=bench.bucket, Key="a/b.jpg", Range="bytes=0-9")
    assert got["ContentRange"] == "bytes 7-9/10" and "ETag" not in got


def test_something_else_happens_before_or_after_a_call(bench: Bench) -> None:
    def replace() -> None:
        bench.direct.s3.put_object(Bucket=bench.bucket, Key="a/b.jpg", Body=b"new")

    bench.add(Do(after_it=replace), "HeadObject")
    assert bench.through.s3.head_object(Bucket=bench.bucket, Key="a/b.jpg")["ContentLength"] == len(BODY)
    assert bench.get() == b"new"
    raised: list[signal.Signals] = []
    bench.add(Do(before_it=lambda: raised.append(signal.SIGTERM)), "GetObject")
    bench.get()
    assert raised == [signal.SIGTERM]


def test_a_rule_looks_at_operation_key_part_client_and_count(bench: Bench) -> None:
    rule = bench.add(Status(500, "InternalError"), "GetObject", key="a/*", client="worker", nth=2, times=1)
    assert bench.get() == BODY
    with pytest.raises(ClientError):
        bench.get()
    assert bench.get() == BODY
    assert (rule.seen, rule.fired) == (3, 1)
    other = bench.add(Status(500, "InternalError"), "GetObject", key="other/*")
    part = bench.add(Status(500, "InternalError"), "GetObject", part=3)
    assert bench.get() == BODY
    assert (other.seen, part.seen) == (0, 0)


def test_no_rule_touches_the_tests_own_calls(bench: Bench) -> None:
    bench.proxy.add(Rule(Hangup(), times=None))
    own = clients(bench.proxy.listen(STAGE))
    assert own.s3.head_object(Bucket=bench.bucket, Key="a/b.jpg")["ContentLength"] == len(BODY)
    assert bench.proxy.history.of("HeadObject") == [] and len(bench.proxy.history.of(client=STAGE)) == 1
    own.s3.close()
    own.sqs.close()


def test_a_put_that_waits_for_permission_and_comes_in_chunks_arrives_whole(bench: Bench) -> None:
    """Two codings, one in the other: HTTP's chunks around S3's, the latter with a trailing checksum."""
    crc = base64.b64encode(zlib.crc32(b"hello world").to_bytes(4, "big"))
    inner = b"6\r\nhello \r\n5\r\nworld\r\n0\r\nx-amz-checksum-crc32:" + crc + b"\r\n\r\n"
    outer = b"%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (10, inner[:10], len(inner) - 10, inner[10:])
    head = (
        f"PUT /{bench.bucket}/up HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n"
        f"Content-Encoding: aws-chunked\r\nx-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\n"
        f"x-amz-decoded-content-length: 11\r\nx-amz-trailer: x-amz-checksum-crc32\r\n\r\n"
    )
    port = int(bench.through.s3.meta.endpoint_url.rpartition(":")[2])
    trusting = ssl.create_default_context(cafile=ours().bundle)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        trusting.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(outer)
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
    assert bench.direct.s3.get_object(Bucket=bench.bucket, Key="up")["Body"].read() == b"hello world"
    assert bench.last("PutObject").facts["size"] == 11
