"""What AWS or a sender wraps a request in is taken off where nothing else can be meant; all else stays as it is."""

import base64
import gzip
import json
from typing import Any

import pytest

from archiver.core.unwrap import MAX_LAYERS, unwrap

REQUEST: dict[str, Any] = {"job_id": "é", "files": [{"source": "a.txt"}], "metadata": {"n": [1, 2.5, None]}}
TEXT = json.dumps(REQUEST, ensure_ascii=False)
TOPIC = "arn:aws:sns:eu-west-1:1:t"


def sns(message: object, **more: object) -> str:
    return json.dumps({"Type": "Notification", "TopicArn": TOPIC, "Message": message, **more})


def event(detail: object, **more: object) -> str:
    return json.dumps({"detail-type": "Archive", "source": "my.shop", "detail": detail, **more})


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "body",
    [
        "\ufeff" + TEXT,
        json.dumps(TEXT),
        json.dumps(json.dumps(TEXT)),
        " \n" + json.dumps("\ufeff" + TEXT),
        encoded(TEXT),
        encoded("\ufeff\n " + TEXT),
        encoded(json.dumps(TEXT)),
        json.dumps(encoded(TEXT)),
        base64.encodebytes(TEXT.encode()).decode(),
        base64.urlsafe_b64encode(TEXT.encode()).decode().rstrip("="),
        "\r\n " + encoded(TEXT) + "\n",
        sns(TEXT),
        sns(encoded(TEXT)),
        sns(json.dumps(TEXT)),
        event(REQUEST),
        event(TEXT),
        event(REQUEST, source=7),
        sns(event(REQUEST)),
        json.dumps(sns(event(TEXT))),
    ],
)
def test_a_wrapped_request_is_read_as_if_it_had_come_alone(body: str) -> None:
    assert json.loads(unwrap(body)) == REQUEST


@pytest.mark.parametrize(
    "body",
    [
        TEXT,
        " " + TEXT,
        "",
        "   ",
        "{",
        "[]",
        "nonsense",
        '"text"',
        '"unclosed',
        json.dumps([REQUEST]),
        json.dumps({**json.loads(sns(TEXT)), **REQUEST}),  # it has files: it is a request
        json.dumps({"cancel": "j", "detail-type": "x", "detail": REQUEST}),
        json.dumps({"metadata": json.loads(sns(TEXT)), "files": []}),
        json.dumps({"payload": REQUEST}),  # somebody's own wrapper
        sns(TEXT, Type="SubscriptionConfirmation"),
        sns("hello"),
        sns(REQUEST),
        sns(""),
        '{"Type": "Notification", "TopicArn": "t", "Message": "{}", "Message": "{}"}',  # no strict JSON
        '{"detail-type": "x", "detail": {"a": NaN}}',
        '{"detail-type": [',
        event("hello"),
        event([REQUEST]),
        event({"bucket": {"name": "b"}}, source="aws.s3"),
        json.dumps({"detail-type": "x"}),
        json.dumps(["software.amazon.payloadoffloading.PayloadS3Pointer", {"s3BucketName": "b", "s3Key": "k"}]),
        base64.b64encode(gzip.compress(TEXT.encode(), mtime=0)).decode(),
        base64.b64encode(b'{"a": "\xff"}').decode(),
        encoded(TEXT) + "!",
        encoded('{"a": "b"}')[:-3],
        "e30",
        "e" * 9,
    ],
)
def test_what_may_mean_something_else_stays_as_it_is(body: str) -> None:
    assert unwrap(body) == body


def test_as_many_layers_are_taken_off_as_there_can_be_and_no_more() -> None:
    body = TEXT
    for _ in range(MAX_LAYERS):
        body = json.dumps(body)
    assert unwrap(body) == TEXT
    assert unwrap(json.dumps(body)) == json.dumps(body)
