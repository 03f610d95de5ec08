"""JSON is read strictly, and written in characters and sizes that SQS accepts."""

import gc
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.core.strict_json import (
    MAX_DEPTH,
    _gc_pause,
    byte_length,
    decode_value,
    dump,
    dump_truncated,
    escape_invalid_characters,
    is_serializable,
    load,
    load_lenient,
)
from archiver.errors import Rejected

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=20,
)
SQS_REFUSES = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is blank"),
        (" \n", "it is blank"),
        ("\ufeff{}", "byte order mark: send it without"),
        ("{'a': 1}", "single quotes, as Python prints a dict"),
        ("{a: 1}", "double quotes"),
        ("nothing", "Expecting value"),
        ('{"a": 1,}', "line 1 column"),
        ('{"a": 1} {}', "Extra data"),
        ('{"a": "\n"}', "control character"),
        ('{"a": 1, "b": {"c": 1, "c": 1}}', "the key 'c' occurs twice in one object"),
        ("[NaN]", "NaN is not a JSON number"),
        ("[-Infinity]", "-Infinity is not a JSON number"),
        ("[1e400]", "the number 1e400 is too large"),
        ("[-1e400]", "the number -1e400 is too large"),
        ("1" * 5_000, "Exceeds the limit (4300 digits)"),
        ("[" * 101 + "]" * 101, "nests deeper than 100 levels"),
        ("[" * 2**20, "nests deeper than 100 levels"),
        ('{"a":' * 2**18, "nests deeper than 100 levels"),
    ],
)
def test_what_other_readers_refuse_or_read_differently_is_invalid_json(text: str, reason: str) -> None:
    with pytest.raises(Rejected, match=re.escape(reason)) as caught:
        load(text)
    assert caught.value.code == "invalid_json"
    assert len(caught.value.message) < 300


def test_a_hundred_levels_are_read() -> None:
    text = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert dump(load(text)) == text


@pytest.mark.parametrize("inside", ['"[[[["', '"\\\\"', '"\\"[["', '"\\\\\\"{"', '"é["', "{}", "[[],[]]"])
def test_brackets_are_counted_outside_of_texts_only(inside: str) -> None:
    levels = MAX_DEPTH - 2
    assert load("[" * levels + inside + "]" * levels)
    with pytest.raises(Rejected, match="deeper"):
        load('{"a":' * (levels + 3) + inside + "}" * (levels + 3))


def test_cycles_are_looked_for_again_once_nobody_reads_any_more() -> None:
    assert gc.isenabled()
    with pytest.raises(Rejected):
        load('{"a": 1, "a": 2}')
    assert (load_lenient("{"), gc.isenabled()) == (None, True)
    with _gc_pause:
        assert not gc.isenabled()
        assert load("[]") == []
        assert not gc.isenabled()
    gc.disable()
    try:
        load("[]")
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_half_surrogate_in_a_doubled_key_does_not_break_the_message() -> None:
    with pytest.raises(Rejected, match=r"ud800"):
        load('{"\\ud800": 1, "\\ud800": 2}')


@given(JSON)
def test_what_is_written_is_read_back_the_same_and_holds_no_character_that_sqs_refuses(value: object) -> None:
    text = dump(value)
    assert load(text) == value
    assert not SQS_REFUSES.search(text)
    assert is_serializable(value)


def test_only_what_sqs_refuses_is_escaped() -> None:
    assert dump("é\U0001f469\x7f\ufffd\ufffe\uffff\ud800") == '"é\U0001f469\x7f\ufffd\\ufffe\\uffff\\ud800"'
    assert escape_invalid_characters("a\tb\r\n\0\x1f") == "a\tb\r\n\\u0000\\u001f"


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], json.loads("[" * 101 + "]" * 101)])
def test_what_can_not_be_written_as_strict_json_is_known_beforehand(value: object) -> None:
    assert not is_serializable(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('\ufeff{"a": 1}', {"a": 1}),
        ('{"a": 1, "a": 2}', {"a": 2}),
        ("{", None),
        ("", None),
        ("[" * 2**20, None),
        ("1" * 5_000, None),
    ],
)
def test_lenient_reading_takes_what_it_can_and_never_raises(text: str, value: object) -> None:
    assert load_lenient(text) == value


def answer(items: int, metadata: Any = None) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    first, second = [f"first {number}" for number in range(items)], [f"second {number}" for number in range(items)]
    return {"metadata": metadata, "first": first, "second": second, "kept": "é"}, {"first": first, "second": second}


def fitted(items: int, metadata: Any, limit: int) -> dict[str, Any]:
    text = dump_truncated(*answer(items, metadata), limit)
    assert byte_length(text) <= limit
    assert dump_truncated(*answer(items, metadata), limit) == text
    made = json.loads(text)
    assert isinstance(made, dict)
    return made


def test_what_fits_is_not_cut_and_says_nothing_of_it() -> None:
    size = byte_length(dump(answer(10)[0]))
    assert fitted(10, None, size) == answer(10)[0]
    assert fitted(10, None, size + 1) == answer(10)[0]


def test_lists_are_cut_one_after_the_other_to_the_longest_beginning_that_fits() -> None:
    size = byte_length(dump(answer(50)[0]))
    for limit in range(size - 40, size):  # 40 in a row: some are met to the byte
        made = fitted(50, None, limit)
        assert made["truncated"] == {"first": 50}
        assert made["first"] == answer(len(made["first"]))[0]["first"]
        assert made["second"] == answer(50)[0]["second"]
        one_more = {**made, "first": answer(len(made["first"]) + 1)[0]["first"]}
        assert byte_length(dump(one_more)) > limit

    made = fitted(50, None, 400)
    assert made["truncated"] == {"first": 50, "second": 50}
    assert made["first"] == []
    assert 0 < len(made["second"]) < 50


def test_metadata_gives_way_last_and_the_lists_are_cut_anew() -> None:
    metadata = {"key": "x" * 1_000}
    made = fitted(3, metadata, 300)
    assert made["truncated"] == {"metadata": byte_length(dump(metadata))}
    assert made["metadata"] is None
    assert made["first"] == answer(3)[0]["first"]
    made = fitted(30, metadata, 300)
    assert made["truncated"] == {"metadata": byte_length(dump(metadata)), "first": 30, "second": 30}
    assert made["kept"] == "é"


def test_the_rest_is_written_however_small_the_limit_is() -> None:
    for metadata in (None, {"a": 1}):
        made = json.loads(dump_truncated(*answer(3, metadata), 1))
        assert (made["metadata"], made["first"], made["second"], made["kept"]) == (None, [], [], "é")


@given(st.integers(0, 20), st.none() | st.dictionaries(st.text(), st.text()), st.integers(0, 600))
def test_an_answer_that_is_longer_than_its_limit_has_nothing_left_to_cut(items: int, metadata: Any, limit: int) -> None:
    text = dump_truncated(*answer(items, metadata), limit)
    made = json.loads(text)
    assert byte_length(text) <= limit or (made["metadata"], made["first"], made["second"]) == (None, [], [])


@pytest.mark.parametrize("text", ["[1", '{"a": 1, "a": 2}', "NaN", "[" * 100_000])
def test_one_value_is_read_as_strictly_as_a_document(text: str) -> None:
    assert decode_value('{"a": [1]}') == {"a": [1]}
    with pytest.raises(ValueError, match=r"\w"):
        decode_value(text)
