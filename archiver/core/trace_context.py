"""
Where a job's trace comes from: the context that a message carries.

    traceparent       00-{32 hex}-{16 hex}-{flags}         W3C Trace Context: an attribute, or in `metadata`
    AWSTraceHeader    Root=1-{8}-{24};Parent={16};Sampled=1    X-Ray, set by SQS and AWS services
"""

import re
from typing import NamedTuple

from archiver.core import strict_json

TRACEPARENT = "traceparent"
MAX_HEADER_CHARS = 512

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_ROOT = re.compile(r"1-([0-9a-f]{8})-([0-9a-f]{24})")
_PARENT = re.compile(r"[0-9a-f]{16}")


class TraceContext(NamedTuple):
    """The caller's span. *sampled*: it is recorded; None: the caller leaves that to others."""

    trace_id: int
    span_id: int
    sampled: bool | None

    @property
    def traceparent(self) -> str:
        """The context in the form of W3C."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{int(bool(self.sampled)):02x}"


def find_context(attribute: str, header: str, body: str) -> TraceContext | None:
    """
    Return the context of a message: of its *attribute* traceparent, else of `metadata.traceparent` in its *body*, else
    of its AWSTraceHeader *header*. None if there is none that is valid.
    """
    return parse_traceparent(attribute) or parse_traceparent(_of_body(body)) or parse_trace_header(header)


def parse_traceparent(text: str) -> TraceContext | None:
    """Return the context that *text* is; None if it is invalid: then it counts as absent."""
    found = _TRACEPARENT.fullmatch(text.strip()) if len(text) <= MAX_HEADER_CHARS else None
    if found is None or (text.strip()[:2] == "00" and found[4]):
        return None
    trace_id, span_id, flags = (int(found[number], 16) for number in (1, 2, 3))
    return TraceContext(trace_id, span_id, bool(flags & 1)) if trace_id and span_id else None


def parse_trace_header(text: str) -> TraceContext | None:
    """Return the context that *text* of X-Ray is; None if it names no trace and span."""
    if len(text) > MAX_HEADER_CHARS:
        return None
    pairs = dict(part.strip().partition("=")[::2] for part in text.split(";"))
    root, parent = _ROOT.fullmatch(pairs.get("Root", "")), _PARENT.fullmatch(pairs.get("Parent", ""))
    if root is None or parent is None:
        return None
    trace_id, span_id = int(root[1] + root[2], 16), int(parent[0], 16)
    sampled = {"1": True, "0": False}.get(pairs.get("Sampled", ""))
    return TraceContext(trace_id, span_id, sampled) if trace_id and span_id else None


def _of_body(body: str) -> str:
    """Return `metadata.traceparent` of a request; "" if there is none."""
    if f'"{TRACEPARENT}"' not in body:  # no request is parsed twice for nothing
        return ""
    request = strict_json.load_lenient(body)
    metadata = request.get("metadata") if isinstance(request, dict) else None
    text = metadata.get(TRACEPARENT) if isinstance(metadata, dict) else None
    return text if isinstance(text, str) else ""
