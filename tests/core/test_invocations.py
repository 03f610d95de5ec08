"""Invocations of functions: what Lambda's responses mean, failures of the function first."""

import base64
from typing import Any

import pytest

from archiver.core.invocations import Invocation, payload_of_uris, read_invocation


def test_uris_are_the_files_of_a_request_and_are_taken_literally() -> None:
    assert payload_of_uris(["a=b.jpg", "s3://b/k"], None) == {"files": [{"source": "a=b.jpg"}, {"source": "s3://b/k"}]}
    assert payload_of_uris(["a"], "order-1") == {"files": [{"source": "a"}], "job_id": "order-1"}


@pytest.mark.parametrize(
    ("response", "payload", "done"),
    [
        ({"StatusCode": 200}, b'{"status": "succeeded"}', Invocation(200, {"status": "succeeded"})),
        ({"StatusCode": 202}, b"", Invocation(202)),
        ({"StatusCode": 204}, b"", Invocation(204)),
        ({}, b"null", Invocation(0)),
        ({"StatusCode": 200}, b"no json", Invocation(200, "no json")),
        ({"StatusCode": 200}, b"[" * 100_000, Invocation(200, "[" * 100_000)),
        (
            {"StatusCode": 200, "FunctionError": "Unhandled", "LogResult": base64.b64encode(b"START\nEND\n").decode()},
            b'{"errorMessage": "no bucket", "errorType": "SettingsError", "stackTrace": []}',
            Invocation(
                200,
                {"errorMessage": "no bucket", "errorType": "SettingsError", "stackTrace": []},
                "START\nEND\n",
                "Unhandled: SettingsError: no bucket",
            ),
        ),
        (
            {"StatusCode": 200, "FunctionError": "Unhandled"},
            b'{"errorMessage": "Task timed out after 3.00 seconds"}',
            Invocation(
                200,
                {"errorMessage": "Task timed out after 3.00 seconds"},
                error="Unhandled: Task timed out after 3.00 seconds",
            ),
        ),
        ({"StatusCode": 200, "FunctionError": "Handled"}, b"", Invocation(200, error="Handled: it gives no reason")),
        ({"StatusCode": 200, "FunctionError": "Handled"}, b"[1]", Invocation(200, [1], error="Handled: [1]")),
        ({"StatusCode": 200, "LogResult": "no base64!"}, b"1", Invocation(200, 1)),
    ],
)
def test_a_response_is_read_with_the_functions_error_and_log(
    response: dict[str, Any], payload: bytes, done: Invocation
) -> None:
    assert read_invocation(response, payload) == done
