"""What lands on the queue by mistake is told for what it is, with what to do about it."""

import base64
import gzip
import json
import zlib
from typing import Any
from urllib.parse import quote

import pytest

from archiver.core.dialects.native import parse_request
from archiver.errors import Rejected

REQUEST = {"job_id": "j", "files": [{"source": "a.txt"}]}
POINTER = {"s3BucketName": "b", "s3Key": "k"}
SNS = {
    "Type": "Notification",
    "MessageId": "m",
    "TopicArn": "arn:aws:sns:eu-west-1:1:t",
    "Message": json.dumps(REQUEST),
}
RECORD: dict[str, Any] = {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}}}
ANSWER: dict[str, Any] = {"metadata": None, "job_id": None, "status": "succeeded", "notification_id": "n"}


def rejection_of(body: object) -> tuple[str, str]:
    with pytest.raises(Rejected) as caught:
        parse_request(body if isinstance(body, str) else json.dumps(body))
    assert len(caught.value.message) < 400
    return caught.value.code, caught.value.message


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({**ANSWER, "command": {"name": "c"}}, "$ is an answer of this service, not a request"),
        (
            {"parameters": [], "job_id": "1"},
            "$ has `parameters`, as orders of Media Cloud AI have, and no whole number",
        ),
        ({"service": "s"}, "$ has a `service`, as messages of lanlytics have, and no `command`"),
        ({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"}, "$ is the s3:TestEvent that S3 sends when"),
        ({"Records": [RECORD]}, "$ is an S3 event notification: the bucket sends its events to the source queue"),
        (
            {"Records": [{"EventSource": "aws:sns", "Sns": {}}]},
            "$ is the event that Lambda gets from SNS, not a message",
        ),
        ({"Records": [{"messageId": "m", "body": "{}"}]}, "$ is the event that Lambda gets from SQS, not a message"),
        ({"Records": [{"eventSource": "aws:kinesis"}]}, "$ is the event that Lambda gets from aws:kinesis"),
        ({"Records": [{"eventSource": "\x1b[31m"}]}, "$.files is required"),
        ({"Records": ["s3"]}, "$.files is required"),
        ({"Records": []}, "$.files is required"),
        (SNS, "$ is an SNS envelope (Type Notification): turn on raw message delivery"),
        ({**SNS, "Type": "SubscriptionConfirmation"}, "$ is an SNS envelope (Type SubscriptionConfirmation)"),
        ({**SNS, "Type": "else"}, "$ is a request wrapped in `$.Message`"),
        ({"detail-type": "job", "source": "my.app", "detail": REQUEST}, "$ is an EventBridge event: let the rule's"),
        ({"detail-type": "job"}, "$.files is required"),
        (
            {"detail-type": "Scheduled Event", "source": "aws.scheduler", "detail": "{}"},
            "$ is the event of a schedule without input: give the schedule the request",
        ),
        (
            {"httpMethod": "POST", "body": json.dumps(REQUEST)},
            "$ is the event that API Gateway or a load balancer sends",
        ),
        ({"requestContext": {}, "body": "x"}, "$ is the event that API Gateway or a load balancer sends"),
        ({"QueueUrl": "u", "MessageBody": "{}"}, "$ is the input or output of an SQS API call"),
        ({"Messages": [{"Body": "{}"}]}, "$ is the input or output of an SQS API call"),
        ({"MessageId": "m", "ReceiptHandle": "r", "Body": "{}"}, "$ is the input or output of an SQS API call"),
        ({**ANSWER, "substitutions": {"archiver_URL": "u"}}, "$ is an answer of this service, not a request"),
        ({**ANSWER, "status": "failed", "error": {"code": "internal"}}, "$ is an answer of this service"),
        ({**ANSWER, "status": "building", "progress": {"files": 1}}, "$ is an answer of this service"),
        ({"status": "x", "error": 1}, "$.files is required"),
        (ANSWER, "$.files is required"),
        ({"Files": [{"Source": "a.txt"}]}, "$ has 'Files' and no `files`: write `files`, in lower case"),
        ({"file": {"source": "a"}}, "$ has 'file' and no `files`"),
        ({"source": "a.txt"}, '$ has a `source` and no `files`: write {"files": [{"source": "…"}]}'),
        ({"Source": "a.txt"}, "$ has a `source` and no `files`"),
        ({"payload": REQUEST}, "$ is a request wrapped in `$.payload`: send its content"),
        ({"a": 1, "body": json.dumps(REQUEST)}, "$ is a request wrapped in `$.body`"),
        ({"a\x1b b": REQUEST}, "$ is a request wrapped in another object"),
        ({"payload": {"files": "x"}, "b": "files", "c": '{"x": 1}'}, "$.files is required"),
        (["software.amazon.payloadoffloading.PayloadS3Pointer", POINTER], "$ is a pointer of an SQS extended client"),
        (["com.amazon.sqs.javamessaging.MessageS3Pointer", POINTER], "$ is a pointer of an SQS extended client"),
        (["org.example.OurS3Pointer", POINTER], "$ is a pointer of an SQS extended client"),
        ([REQUEST, REQUEST], "$ is a list of requests: send each in its own message"),
        ([{"source": "a"}], "$ should be an object, and is a list"),
        ([], "$ should be an object, and is a list"),
        (json.dumps(json.dumps(REQUEST)), "$ is JSON inside a JSON string: it was encoded twice"),
        (json.dumps(json.dumps(json.dumps(REQUEST))), "$ is JSON inside a JSON string: it was encoded twice"),
        ('"a.txt"', "$ should be an object, and is text"),
        (json.dumps(base64.b64encode(json.dumps(REQUEST).encode()).decode()), "text; it is base64 of JSON"),
        ("null", "$ should be an object, and is null"),
        ("true", "$ should be an object, and is true or false"),
        ("1.5", "$ should be an object, and is a number"),
    ],
)
def test_json_that_is_no_request_is_told_for_what_it_is(body: object, sentence: str) -> None:
    code, message = rejection_of(body)
    assert code == "invalid_request"
    assert sentence in message


TEXT = json.dumps(REQUEST).encode()


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("\ufeff" + TEXT.decode(), "it begins with a byte order mark: send it without"),
        ("  ", "it is blank"),
        (str(REQUEST), "it has single quotes, as Python prints a dict: use json.dumps"),
        (str([REQUEST]), "it has single quotes, as Python prints a dict"),
        ("<xml/>", "it is XML or HTML"),
        ("data:application/json,{}", "it is a data: URL"),
        (quote(TEXT), "it is URL-encoded"),
        ("files=a.txt&x=1", "it is a form (name=value): send a JSON object"),
        (base64.b64encode(TEXT).decode(), "it is base64 of JSON: send the JSON itself"),
        (base64.b64encode(TEXT + b"x").decode(), "it is base64 of JSON"),
        (base64.urlsafe_b64encode(b"[" + b"\xff" * 20).decode().rstrip("="), "it is base64 of JSON"),
        (base64.encodebytes(TEXT * 3).decode(), "it is base64 of JSON"),
        (base64.b64encode(gzip.compress(TEXT, mtime=0)).decode(), "it is base64 of compressed data"),
        (base64.b64encode(zlib.compress(TEXT)).decode(), "it is base64 of compressed data"),
        (base64.b64encode(b"hello world").decode(), "Expecting value"),
        ("nonsense!", "Expecting value"),
        ("{", "Expecting property name"),
    ],
)
def test_text_that_is_not_json_is_told_for_what_it_is(body: str, sentence: str) -> None:
    code, message = rejection_of(body)
    assert code == "invalid_json"
    assert f"the body is not JSON: {sentence}" in message


def test_what_has_files_is_a_request_whatever_else_it_has() -> None:
    assert parse_request(json.dumps({**SNS, **ANSWER, **REQUEST, "Records": [RECORD], "Files": 1})).job_id == "j"


def test_only_the_beginning_of_what_is_no_request_is_looked_at() -> None:
    assert (
        rejection_of({**{f"x{number}": 0 for number in range(5_000)}, "payload": REQUEST})[1] == "$.files is required"
    )
    assert rejection_of({"payload": " " * 5_000 + json.dumps(REQUEST)})[1] == "$.files is required"
    assert "Expecting value" in rejection_of("=" * 5_000 + "a=")[1]
