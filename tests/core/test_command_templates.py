"""Command lines with placeholders: how they are read, filled and matched."""

import pytest

from archiver.core.command_templates import (
    MAX_TEMPLATE_LENGTH,
    TemplateProblem,
    fill_template,
    parse_line,
    parse_word,
    split_words,
    unify,
)
from archiver.core.commands import Placeholder
from archiver.errors import Rejected

A, B = Placeholder("a"), Placeholder("b")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("plain", ("plain",)),
        ("", ("",)),
        ("{a}", (A,)),
        ("--x={a}{b}.", ("--x=", A, B, ".")),
        ("{{a}}", ("{a}",)),
        ("{{{a}}}", ("{", A, "}")),
        ("a}b", ("a}b",)),
        ("{}", (Placeholder(""),)),
    ],
)
def test_a_word_is_split_at_its_placeholders(text: str, word: tuple[str | Placeholder, ...]) -> None:
    assert parse_word(text) == word


@pytest.mark.parametrize("text", ["{", "a{b", "{a{b}", "{{{"])
def test_a_brace_that_does_not_end_is_no_placeholder(text: str) -> None:
    with pytest.raises(TemplateProblem, match="without }"):
        parse_word(text)


def test_a_placeholder_of_an_accepted_line_takes_a_whole_word() -> None:
    assert parse_line("aws s3 cp {a} '{{x}} y'") == ("aws", "s3", "cp", A, "{x} y")
    with pytest.raises(TemplateProblem, match=r"inside the word s3://b/\{a\}"):
        parse_line("cp s3://b/{a}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "1 to 256 words"),
        ("   ", "1 to 256 words"),
        ("a " * 257, "1 to 256 words"),
        ("a 'b", "can't be split into words: no closing quotation"),
        ("x" * (MAX_TEMPLATE_LENGTH + 1), "more than 8,192 characters"),
    ],
)
def test_a_line_that_is_none_is_refused(text: str, told: str) -> None:
    with pytest.raises(TemplateProblem, match=told):
        split_words(text)
    with pytest.raises(Rejected, match="invalid_request: command_template"):
        fill_template(text, {})


NASTY = [
    "a b",
    "';$(id)`id`",
    "{b}",
    "{{b}}",
    "",
    "\n\t",
    "-x",
    "'\"",
    "\\",
    "\0",
    "a\u2028b",
    "~",
    "*",
    "$HOME",
    "|",
    ">f",
]


@pytest.mark.parametrize("value", NASTY)
def test_a_value_is_never_split_or_looked_at_again(value: str) -> None:
    assert fill_template("run {a} x{a}y '{a} {b}' end", {"a": value, "b": 5}) == [
        "run",
        value,
        f"x{value}y",
        f"{value} 5",
        "end",
    ]


def test_a_placeholder_without_a_value_is_the_senders_mistake() -> None:
    with pytest.raises(
        Rejected, match=r"has \{b\}, for which the request has no value; write \{\{ for a brace"
    ) as caught:
        fill_template("run {a} {b}", {"a": "x"})
    assert caught.value.code == "invalid_request"


@pytest.mark.parametrize(
    ("words", "accepted", "bound"),
    [
        (["cp", "x", "y"], ("cp", A, B), {"a": "x", "b": "y"}),
        (["cp", "x", "x"], ("cp", A, A), {"a": "x"}),
        (["cp", "x", "y"], ("cp", A, A), None),
        (["mv", "x", "y"], ("cp", A, B), None),
        (["cp", "x"], ("cp", A, B), None),
        (["cp", "x", "y", "z"], ("cp", A, B), None),
    ],
)
def test_words_are_an_accepted_line_or_not(
    words: list[str], accepted: tuple[str | Placeholder, ...], bound: dict[str, str] | None
) -> None:
    assert unify(words, accepted) == bound
