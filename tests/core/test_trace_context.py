"""Where a job's trace comes from: W3C's traceparent, X-Ray's header, and what is neither."""

import pytest

from archiver.core.trace_context import TraceContext, find_context, parse_trace_header, parse_traceparent

TRACE, SPAN = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331
W3C = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
XRAY = "Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331"


def test_a_traceparent_is_read_and_written() -> None:
    context = parse_traceparent(f" {W3C} ")

    assert context == TraceContext(TRACE, SPAN, True)
    assert context is not None and context.traceparent == W3C
    assert parse_traceparent(W3C[:-1] + "2") == TraceContext(TRACE, SPAN, False)
    assert TraceContext(1, 2, None).traceparent.endswith("-00")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00-1",
        W3C.upper(),
        W3C + "-x",
        W3C[:-2],
        "ff" + W3C[2:],
        W3C.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
        W3C.replace("b7ad6b7169203331", "0" * 16),
        W3C + "\n00",
        "0" * 10_000,
    ],
)
def test_what_is_no_traceparent_counts_as_absent(text: str) -> None:
    assert parse_traceparent(text) is None


def test_later_versions_may_have_more_behind_the_flags() -> None:
    assert parse_traceparent("01" + W3C[2:] + "-more") == TraceContext(TRACE, SPAN, True)


@pytest.mark.parametrize(
    ("text", "sampled"),
    [(f"{XRAY};Sampled=1", True), (f"{XRAY};Sampled=0", False), (XRAY, None), (f"{XRAY}; Sampled=?;Lineage=a", None)],
)
def test_x_ray_may_leave_the_sampling_to_others(text: str, sampled: bool | None) -> None:
    assert parse_trace_header(text) == TraceContext(TRACE, SPAN, sampled)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Root=1-0af76519-16cd43dd8448eb211c80319c",
        "Root=1-00000000-000000000000000000000000;Parent=b7ad6b7169203331",
        "Root=2-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331",
        "Parent=b7ad6b7169203331",
        "x" * 10_000,
    ],
)
def test_a_header_without_trace_and_span_counts_as_absent(text: str) -> None:
    assert parse_trace_header(text) is None


def test_the_attribute_comes_before_the_request_and_that_before_the_header() -> None:
    others = W3C.replace("0af7", "1111")
    body = f'{{"files": [], "metadata": {{"traceparent": "{others}"}}}}'
    in_body = parse_traceparent(others)

    assert find_context(W3C, XRAY, body) == TraceContext(TRACE, SPAN, True)
    assert find_context("", XRAY, body) == in_body
    assert find_context("nonsense", XRAY, body) == in_body
    assert find_context("", XRAY, "{}") == TraceContext(TRACE, SPAN, None)
    assert find_context("", "", "{}") is None


@pytest.mark.parametrize(
    "body",
    [
        '"traceparent"',
        '["traceparent"]',
        '{"traceparent": 1',
        '{"metadata": "traceparent"}',
        '{"metadata": ["traceparent"]}',
        '{"metadata": {"traceparent": 1}}',
        '{"metadata": {"x": "traceparent"}}',
    ],
)
def test_a_body_that_has_none_has_none(body: str) -> None:
    assert find_context("", "", body) is None
