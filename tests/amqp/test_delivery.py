"""What the broker delivers, as a Message; what a hostile sender can put into it."""

import gzip
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pamqp import commands, decode, encode

from archiver.amqp import decoding, delivery
from archiver.ports import Attribute

Properties = commands.Basic.Properties
NOW = datetime(2026, 3, 1, tzinfo=UTC)

decoding.install()


def death(queue: str, reason: str, count: Any) -> dict[str, Any]:
    return {"queue": queue, "reason": reason, "count": count}


@pytest.mark.parametrize(
    ("headers", "receives"),
    [
        ({}, 1),
        ({"x-death": [death("job_delayed", "expired", 7), death("jobs", "rejected", 2)]}, 3),
        ({"x-death": [death("other", "rejected", 9)]}, 1),
        ({"x-death": [death("jobs", "expired", 9)]}, 1),
        ({"x-delivery-count": 4}, 5),
        ({"x-death": "9"}, 1),
        ({"x-death": ["jobs", None, 3]}, 1),
        ({"x-death": [death("jobs", "rejected", "9")]}, 1),
        ({"x-death": [death("jobs", "rejected", -9)]}, 1),
        ({"x-delivery-count": -1}, 1),
    ],
)
def test_receives_are_what_the_broker_has_counted(headers: dict[str, Any], receives: int) -> None:
    assert delivery.count_receives(Properties(headers=headers), "jobs") == receives


def test_a_message_without_an_id_has_the_same_id_wherever_it_is_received() -> None:
    assert delivery.message_id(Properties(), b"{}") == delivery.message_id(Properties(), b"{}")
    assert delivery.message_id(Properties(), b"{}") != delivery.message_id(Properties(), b"[]")
    assert delivery.message_id(Properties(message_id="m-1"), b"{}") == "m-1"


def test_a_body_is_text_of_at_most_a_mebibyte() -> None:
    assert delivery.read_body(b'{"a": "\xc3\xbc"}') == delivery.Body('{"a": "ü"}')
    assert delivery.read_body(b" " * delivery.MAX_BODY_BYTES).problem == ""
    long = delivery.read_body(b" " * (delivery.MAX_BODY_BYTES + 1))
    assert (long.text, "1,048,577 bytes" in long.problem, "manifest" in long.problem) == ("", True, True)
    binary = delivery.read_body(b"ab\xff")
    assert (binary.text, binary.problem) == ("", "the message is not UTF-8: byte 2 is 0xff")


def test_a_time_that_can_not_be_true_is_now() -> None:
    assert delivery.sent_at(Properties(), NOW) == NOW
    assert delivery.sent_at(Properties(timestamp=NOW + timedelta(days=9)), NOW) == NOW
    assert delivery.sent_at(Properties(timestamp=datetime(2026, 2, 1)), NOW) == datetime(2026, 2, 1, tzinfo=UTC)  # noqa: DTZ001


def test_headers_and_the_correlation_id_are_passed_on_without_the_brokers_own() -> None:
    headers: dict[str, Any] = {
        "traceparent": "00-ab",
        "n": 3,
        "yes": True,
        "raw": b"\xff",
        "list": [1],
        "x-death": [],
        "x-first-death-queue": "q",
        "ErrorCode": "old",
    }
    found = delivery.read_attributes(Properties(headers=headers, correlation_id="c"))
    assert found == {
        "Correlation-Id": Attribute("String", "c"),
        "traceparent": Attribute("String", "00-ab"),
        "n": Attribute("Number", "3"),
        "yes": Attribute("String", "true"),
        "raw": Attribute("Binary", b"\xff"),
    }
    assert delivery.to_headers(found)["n"] == 3


def test_headers_that_do_not_fit_in_a_frame_are_left_out() -> None:
    """The broker ends a connection that sends a longer frame."""
    many: dict[str, Any] = {f"h{number}": "x" * 1000 for number in range(200)}
    kept = delivery.read_attributes(Properties(headers=many))
    assert 20 < len(kept) < 40
    headers = delivery.rejected_headers(Properties(headers=many), "invalid_json", "r" * 5000, "m-1")
    rejected: dict[str, Any] = dict(delivery.within_frame(Properties(headers=headers), 131_072).headers or {})
    assert set(rejected) == set(delivery.ERROR_HEADERS)
    assert len(rejected["ErrorMessage"]) == 1024
    assert len(encode.field_table(delivery.to_headers({"n" * 300: Attribute("String", "x")}))) == 4


def test_numbers_beyond_64_bits_stay_text() -> None:
    attributes = {"a": Attribute("Number", "9" * 30), "b": Attribute("Number", "1.5"), "c": Attribute("Number", "-7")}
    assert delivery.to_headers(attributes) == {"a": "9" * 30, "b": "1.5", "c": -7}


def test_properties_that_are_no_text_or_time_do_not_end_the_connection() -> None:
    """The client's own decoders raise, which ends the connection, and with it every job on it."""
    with pytest.raises(UnicodeDecodeError):
        decode.short_str(b"\x02a\xff")
    assert decoding.short_text(b"\x02a\xff.") == (3, "a\ufffd")
    assert decoding.timestamp(b"\xff" * 8) == (8, None)
    assert decoding.timestamp(b"\0" * 7 + b"\1")[1] == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert decode.by_type(b"\x01\xfe", "shortstr") == (2, "\ufffd")


def test_a_header_whose_name_is_no_text_costs_no_other_header() -> None:
    raw = encode.field_table({"x-death": [], "b": "c"})
    with_bad_name = (len(raw) - 4 + 9).to_bytes(4, "big") + b"\x01\xff" + b"T" + b"\xff" * 8 + raw[4:]
    with_bad_name = (len(with_bad_name) - 4).to_bytes(4, "big") + with_bad_name[4:]
    assert decoding.table(with_bad_name) == (len(with_bad_name), {"\ufffd": None, "x-death": [], "b": "c"})


def in_each_other(levels: int, kind: bytes) -> bytes:
    """Headers of *levels* tables (F) or lists (A) in each other."""
    value = b"V"
    for _ in range(levels):
        content = b"\x01a" + value if kind == b"F" else value
        value = kind + len(content).to_bytes(4, "big") + content
    return (len(value) + 2).to_bytes(4, "big") + b"\x01h" + value


@pytest.mark.parametrize("kind", [b"F", b"A"])
def test_headers_within_each_other_do_not_end_the_connection(kind: bytes) -> None:
    """RabbitMQ delivers what fits in a frame; the client's own decoder recurses."""
    raw = in_each_other(15_000, kind)
    with pytest.raises(RecursionError):
        decode.field_table(raw)
    end, headers = decoding.table(raw)
    assert decode.by_type(raw, "table") == (end, headers)
    assert (end, set(headers)) == (len(raw), {"h"})
    encode.field_table(delivery.rejected_headers(Properties(headers=headers), "invalid_json", "", "m-1"))
    few = in_each_other(3, kind)
    assert decoding.table(few) == decode.field_table(few)


def test_headers_that_nobody_can_decode_count_as_absent() -> None:
    raw = b"\0\0\0\x04\x01a?b"
    with pytest.raises(ValueError, match="Unknown type"):
        decode.field_table(raw)
    assert decoding.table(raw) == (8, {})


def test_every_kind_of_header_goes_into_the_dead_letter_queue_without_a_loss() -> None:
    """The client decodes what it can't encode: bytes; and numbers of 64 bits, which it would round or refuse."""
    given: dict[str, Any] = {"raw": b"\xff", "huge": 1e300, "list": [{"raw": b"\0"}, 1.1], "\ufffd" * 255: True}
    headers = delivery.rejected_headers(Properties(headers=given), "invalid_json", "", "m-1")
    decoded = decode.field_table(encode.field_table(headers))[1]
    for name in delivery.ERROR_HEADERS:
        del decoded[name]
    assert decoded == {"raw": b"\xff", "huge": "1e+300", "list": [{"raw": b"\0"}, "1.1"], "\ufffd" * 42: True}


def test_a_binary_header_comes_back_with_the_reply() -> None:
    headers = delivery.to_headers({"raw": Attribute("Binary", b"\xff")})
    assert decode.field_table(encode.field_table(headers))[1] == {"raw": b"\xff"}


def test_only_the_senders_headers_are_left_out_where_a_frame_is_short() -> None:
    headers = delivery.rejected_headers(
        Properties(headers={"long": "x" * 3000}), "invalid_json", "r" * 5000, "i" * 5000
    )
    texts: Any = dict.fromkeys(("content_type", "correlation_id", "message_id", "message_type", "app_id"), "x" * 255)
    longest = Properties(**texts, headers=headers)
    assert delivery.within_frame(longest, 131_072) is longest
    fitting = delivery.within_frame(longest, 4096)
    assert (set(fitting.headers or {}), fitting.app_id) == (set(delivery.ERROR_HEADERS), "x" * 255)
    assert len(fitting.marshal()) < 4096 - delivery.FRAME_BYTES
    assert delivery.within_frame(Properties(headers={"long": "x" * 5000}), 4096).headers is None


@pytest.mark.parametrize(
    "deaths",
    [
        [1],
        ["a"],
        [[1]],
        [death("jobs", "rejected", 1), None],
        *([death("jobs", "rejected", n)] for n in ("9", True, None, 1.5)),
    ],
)
def test_deaths_that_would_end_the_brokers_queue_are_a_problem(deaths: list[Any]) -> None:
    told = Properties(headers={"x-death": deaths})
    assert delivery.has_forged_deaths(told)
    assert delivery.read_message(told, b"{}").problem.startswith("the header x-death is not as RabbitMQ writes it")


@pytest.mark.parametrize(
    "deaths", [None, [], "x", {"a": 1}, [{}], [death("jobs", "rejected", 2), death("other", "x", -1)]]
)
def test_deaths_that_the_broker_takes_are_no_problem(deaths: Any) -> None:
    assert delivery.read_message(Properties(headers={"x-death": deaths}), b"{}") == delivery.Body("{}")


def test_a_sender_does_not_choose_where_copies_of_replies_and_dead_letters_go() -> None:
    """RabbitMQ sends a copy to each queue in CC and BCC: one to the worker's own would come back for ever."""
    given: dict[str, Any] = {"CC": ["jobs"], "BCC": ["jobs"], "cc": "nobody"}
    headers = delivery.rejected_headers(Properties(headers=given), "invalid_json", "", "m-1")
    attributes = {name: Attribute("String", "jobs") for name in given}

    assert headers.keys() == {"cc", *delivery.ERROR_HEADERS}
    assert delivery.to_headers(attributes) == {"cc": "jobs"}


@pytest.mark.parametrize(
    ("encoding", "told"), [("gzip", "; its content_encoding is 'gzip': send"), ("utf-8", None), (None, None)]
)
def test_a_body_that_was_compressed_is_told_as_that(encoding: str | None, told: str | None) -> None:
    compressed = delivery.read_message(Properties(content_encoding=encoding), gzip.compress(b"{}"))

    assert compressed.problem.startswith("the message is not UTF-8: byte 1 is 0x8b")
    assert ("; " in compressed.problem) == (told is not None)
    assert (told or "") in compressed.problem
    assert delivery.read_message(Properties(content_encoding=encoding), b"{}") == delivery.Body("{}")
