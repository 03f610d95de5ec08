"""Invocations of a Lambda function: the payload, and what a response means."""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

InvocationType = Literal["RequestResponse", "Event", "DryRun"]
TYPES: tuple[str, ...] = get_args(InvocationType)

MAX_PAYLOAD_BYTES = 6 * 1024 * 1024
"""Of a synchronous invocation, in and out; an asynchronous one takes 1 MiB, or 256 KiB ("Lambda quotas")."""


def payload_of_uris(uris: Sequence[str], job_id: str | None) -> dict[str, Any]:
    """Return the request for the objects *uris*, keys or `s3://` URIs, taken literally."""
    request: dict[str, Any] = {"files": [{"source": uri} for uri in uris]}
    return {**request, "job_id": job_id} if job_id else request


@dataclass(frozen=True, slots=True)
class Invocation:
    """
    What Lambda says of an invocation. *status*: of HTTP; *payload*: what the function returned, None if nothing is
    returned; *log*: the last 4 KiB of its log; *error*: the function failed, and why, "" if it did not.
    """

    status: int
    payload: Any = None
    log: str = ""
    error: str = ""


def read_invocation(response: Mapping[str, Any], payload: bytes) -> Invocation:
    """Return what Invoke's *response* with *payload* means. A function that fails has status 200 as well."""
    returned = _parse(payload)
    log = _decode_log(str(response.get("LogResult") or ""))
    kind = response.get("FunctionError")
    error = f"{kind}: {_describe(returned)}" if kind else ""
    return Invocation(int(response.get("StatusCode") or 0), returned, log, error)


def _parse(payload: bytes) -> Any:
    if not payload:
        return None
    text = payload.decode(errors="replace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _describe(returned: Any) -> str:
    """Return the error that the runtime reports: `{"errorMessage", "errorType", "stackTrace"}`, or what there is."""
    if not isinstance(returned, dict) or "errorMessage" not in returned:
        return "it gives no reason" if returned is None else str(returned)
    kind = returned.get("errorType")
    return f"{kind}: {returned['errorMessage']}" if kind else str(returned["errorMessage"])


def _decode_log(log: str) -> str:
    try:
        return base64.b64decode(log, validate=True).decode(errors="replace")
    except binascii.Error:
        return ""
