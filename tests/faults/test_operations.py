"""The proxy identifies the operation of a request, whatever characters its key contains."""

import pytest

from .http_streams import Request
from .operations import Call, call_of


@pytest.mark.parametrize(
    ("method", "target", "call"),
    [
        ("GET", "/", Call("ListBuckets")),
        ("HEAD", "/b", Call("HeadBucket", bucket="b")),
        ("GET", "/b?list-type=2&prefix=x", Call("ListObjects", bucket="b", prefix="x")),
        ("GET", "/b?uploads&prefix=x", Call("ListMultipartUploads", bucket="b", prefix="x")),
        ("GET", "/b/a%20b%2Bc/%C3%A9.jpg", Call("GetObject", bucket="b", key="a b+c/é.jpg")),
        ("GET", "/b//a//b", Call("GetObject", bucket="b", key="/a//b")),
        ("GET", "/b/../x", Call("GetObject", bucket="b", key="../x")),
        ("HEAD", "/b/k", Call("HeadObject", bucket="b", key="k")),
        ("PUT", "/b/k", Call("PutObject", bucket="b", key="k")),
        ("POST", "/b/k?uploads", Call("CreateMultipartUpload", bucket="b", key="k")),
        ("PUT", "/b/k?partNumber=7&uploadId=u", Call("UploadPart", bucket="b", key="k", part=7, upload="u")),
        ("POST", "/b/k?uploadId=u", Call("CompleteMultipartUpload", bucket="b", key="k", upload="u")),
        ("DELETE", "/b/k?uploadId=u", Call("AbortMultipartUpload", bucket="b", key="k", upload="u")),
        ("GET", "/b/k?uploadId=u", Call("ListParts", bucket="b", key="k", upload="u")),
        ("DELETE", "/b/k", Call("DeleteObject", bucket="b", key="k")),
        ("PATCH", "/b/k", Call("Unknown", bucket="b", key="k")),
    ],
)
def test_an_s3_request_is_identified_by_its_method_path_and_query(method: str, target: str, call: Call) -> None:
    assert call_of(Request(method, target, [])) == call


@pytest.mark.parametrize(
    ("body", "queue"),
    [
        (b'{"QueueUrl": "http://127.0.0.1:1/123/in", "MaxNumberOfMessages": 3}', "in"),
        (b'{"QueueName": "in"}', "in"),
        (b"{}", None),
    ],
)
def test_an_sqs_request_is_identified_by_its_target_and_body(body: bytes, queue: str | None) -> None:
    call = call_of(Request("POST", "/", [("X-Amz-Target", "AmazonSQS.ReceiveMessage")], body))
    assert (call.op, call.queue, call.bucket) == ("ReceiveMessage", queue, None)
