"""Order files: what a file says, and what it is called."""

import pytest

from archiver.core.orders import MAX_ORDER_BYTES, decode_order, order_id


def test_a_byte_order_mark_is_no_part_of_the_order() -> None:
    assert decode_order(b'\xef\xbb\xbf{"files": []}') == '{"files": []}'


def test_an_order_may_be_as_long_as_a_message() -> None:
    assert len(decode_order(b"x" * MAX_ORDER_BYTES)) == MAX_ORDER_BYTES
    with pytest.raises(ValueError, match="more than 1,048,576 bytes; list the files of a long request in a manifest"):
        decode_order(b"x" * (MAX_ORDER_BYTES + 1))


def test_what_is_not_utf_8_is_told_with_its_line() -> None:
    with pytest.raises(ValueError, match="line 2 is not UTF-8; save the file as UTF-8"):
        decode_order(b'{"files":\n["\xff"]}')


def test_the_same_file_is_the_same_order_and_another_name_or_content_another() -> None:
    first = order_id(b"a.json", "{}", 1)

    assert first == order_id(b"a.json", "{}", 1)
    assert len({first, order_id(b"b.json", "{}", 1), order_id(b"a.json", "{} ", 1), order_id(b"a.json", "{}", 2)}) == 4


def test_a_name_that_is_no_text_makes_an_id_that_is() -> None:
    assert order_id(b"\xff.json", "{}", 1).startswith("\\xff.json@")
