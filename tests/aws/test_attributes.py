"""Message attributes stay within SQS's rules, whatever came in."""

import re

from hypothesis import given
from hypothesis import strategies as st

from archiver.aws.attributes import (
    CODE_ATTRIBUTE,
    ORIGINAL_ID_ATTRIBUTE,
    REASON_ATTRIBUTE,
    attributes_size,
    escape,
    from_sqs,
    to_sqs,
    valid_attributes,
    with_error_attributes,
)
from archiver.ports import Attribute

ALLOWED = re.compile("[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")
anything = st.text(st.characters(exclude_categories=()), max_size=40)
values = st.builds(
    Attribute, st.sampled_from(["String", "Number", "Binary", "String.x", "Text", ""]), anything | st.binary()
)
attribute_maps = st.dictionaries(anything | st.from_regex(r"[A-Za-z0-9_.-]{1,9}", fullmatch=True), values, max_size=15)
good_maps = st.dictionaries(
    st.from_regex(r"[A-Za-z]{1,9}", fullmatch=True),
    st.builds(Attribute, st.just("String"), st.just("value")),
    max_size=12,
)


@given(text=anything, limit=st.integers(0, 60))
def test_escaped_text_is_acceptable_and_within_its_limit(text: str, limit: int) -> None:
    safe = escape(text, limit)
    assert ALLOWED.fullmatch(safe)
    assert len(safe.encode()) <= limit


def test_what_sqs_refuses_is_written_out_and_the_rest_stays() -> None:
    assert escape("tab\tü\U0001f600 nul\x00 \ufffe \ud800") == "tab\tü\U0001f600 nul\\x00 \\ufffe \\ud800"


def test_a_text_is_cut_between_characters() -> None:
    assert escape("aü", 2) == "a"


@given(attribute_maps)
def test_what_is_sent_is_at_most_ten_acceptable_attributes_of_those_given(given_map: dict[str, Attribute]) -> None:
    sent = valid_attributes(given_map)
    assert len(sent) <= 10
    assert sent.items() <= given_map.items()
    for name, attribute in sent.items():
        assert re.fullmatch(r"[A-Za-z0-9_.-]{1,256}", name)
        assert not name.lower().startswith(("aws.", "amazon."))
        assert attribute.value
        assert isinstance(attribute.value, bytes) or ALLOWED.fullmatch(attribute.value)


@given(good_maps)
def test_good_attributes_go_through_the_wire_and_back(given_map: dict[str, Attribute]) -> None:
    assert from_sqs(to_sqs(given_map)) == given_map


@given(attributes=good_maps, message=anything, room=st.integers(0, 300))
def test_the_reason_fits_the_room_and_goes_before_all_others(
    attributes: dict[str, Attribute], message: str, room: int
) -> None:
    fitted = with_error_attributes(attributes, "internal", message, room)
    assert attributes_size(fitted) <= room
    assert len(fitted) <= 10
    if REASON_ATTRIBUTE in fitted:
        assert CODE_ATTRIBUTE in fitted
        assert escape(message).startswith(str(fitted[REASON_ATTRIBUTE].value))
    if fitted.keys() - {CODE_ATTRIBUTE, REASON_ATTRIBUTE}:
        assert fitted[CODE_ATTRIBUTE].value == "internal"
        assert not message or fitted[REASON_ATTRIBUTE].value == escape(message)


def test_a_message_of_any_length_leaves_a_reason_of_one_kibibyte() -> None:
    fitted = with_error_attributes({}, "internal", "x" * 5000, 10_000)
    assert fitted[REASON_ATTRIBUTE] == Attribute("String", "x" * 1024)


def test_short_room_first_costs_the_others_then_the_reason_then_the_code() -> None:
    other = {"Other": Attribute("String", "x" * 50)}
    code, reason = len("ErrorCode" + "String" + "internal"), len("ErrorMessage" + "String" + "why")
    assert with_error_attributes(other, "internal", "why", code + reason + 61).keys() == {
        "Other",
        CODE_ATTRIBUTE,
        REASON_ATTRIBUTE,
    }
    assert with_error_attributes(other, "internal", "why", code + reason + 60).keys() == {
        CODE_ATTRIBUTE,
        REASON_ATTRIBUTE,
    }
    assert with_error_attributes(other, "internal", "why", code + reason - 1)[REASON_ATTRIBUTE].value == "wh"
    assert with_error_attributes(other, "internal", "why", code + reason - 3).keys() == {CODE_ATTRIBUTE}
    assert with_error_attributes(other, "internal", "why", code - 1) == {}


def test_the_id_that_the_sender_knows_stands_beside_the_reason_and_gives_way_first() -> None:
    fitted = with_error_attributes({"MessageId": Attribute("String", "a lie")}, "internal", "why", 10_000, "5458d323")

    assert fitted[ORIGINAL_ID_ATTRIBUTE] == Attribute("String", "5458d323")
    assert from_sqs(to_sqs(fitted)) == {}
    assert with_error_attributes({}, "internal", "why", attributes_size(fitted) - 1, "5458d323").keys() == {
        CODE_ATTRIBUTE,
        REASON_ATTRIBUTE,
    }
    assert (
        len(with_error_attributes({f"x{n}": Attribute("String", "1") for n in range(10)}, "c", "m", 10_000, "id")) == 10
    )
