"""What a terminal would obey, or not show, is made visible; all else is left as it is."""

import json
import sys
import unicodedata

import pytest

from archiver.core.printable import printable, printable_json, printable_lines

HOSTILE = [
    "\x1b]52;c;cm0gLXJmIH4K\x07",  # OSC 52: sets the clipboard
    "\x9b2J",  # CSI in one character: clears the screen
    "a\nok",  # a line of its own
    "a\rok",
    "\x7f",
    "\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe",
    "\N{LEFT-TO-RIGHT ISOLATE}",
    "\N{ZERO WIDTH SPACE}",
    "\N{SOFT HYPHEN}",
    "\N{LINE SEPARATOR}\N{PARAGRAPH SEPARATOR}",
    "\U000e0041",  # a tag
    "\ud800",
]
HARMLESS = [
    "photo (2).jpg",
    "\N{IDEOGRAPHIC SPACE}",
    "\U0001f469\N{ZERO WIDTH JOINER}\U0001f680",
    "می\N{ZERO WIDTH NON-JOINER}خواهم",
    "",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_terminal_obeys_is_replaced(text: str) -> None:
    shown = printable(f"<{text}>")

    assert "\N{REPLACEMENT CHARACTER}" in shown
    assert len(shown) == len(text) + 2
    assert not {unicodedata.category(char) for char in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    shown.encode()


@pytest.mark.parametrize("text", HARMLESS)
def test_all_else_is_left_as_it_is(text: str) -> None:
    assert printable(text) == text
    assert json.loads(printable_json(json.dumps(text, ensure_ascii=False))) == text


def test_a_tab_is_a_space_and_lines_can_be_kept() -> None:
    assert printable("a\tb\nc") == "a b\N{REPLACEMENT CHARACTER}c"
    assert printable_lines("a\tb\n\x1bc\n") == "a b\n\N{REPLACEMENT CHARACTER}c\n"


@pytest.mark.parametrize("text", HOSTILE)
def test_json_says_the_same_with_escapes(text: str) -> None:
    told = printable_json(json.dumps({"a": [text]}, indent=2, ensure_ascii=False))

    assert json.loads(told) == {"a": [text]}
    assert all(line.isprintable() for line in told.split("\n"))


def test_no_character_at_all_reaches_a_terminal_that_could_begin_a_command() -> None:
    every = "".join(map(chr, range(sys.maxunicode + 1)))

    assert not set(printable(every)) & {*map(chr, range(32)), *map(chr, range(127, 160))}
