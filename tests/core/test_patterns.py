"""Regular expressions of requests: what RE2 refuses, what is too large, and what a hostile one costs."""

import sys

import pytest

from archiver.core.patterns import MAX_PROGRAM, Pattern, PatternError, Substitution


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(", "missing"),
        ("a(?=b)", "invalid perl operator"),
        (r"(a)\1", "invalid escape sequence"),
        ("a{1001}", "invalid repetition size"),
        ("((((a{0,10}){0,10}){0,10}){0,10}){0,10}", "invalid repetition size|too large"),
        (r"\pL{100}", "pattern too large"),
        ("(a.|.a.|..a){300}", f"at most {MAX_PROGRAM:,}"),
        ("(" * 256, "missing"),
        ("\udc80", "half of a surrogate pair"),
    ],
)
def test_a_pattern_that_re2_refuses_or_that_is_too_large_says_why(pattern: str, reason: str) -> None:
    with pytest.raises(PatternError, match=reason):
        Pattern(pattern)


@pytest.mark.parametrize(
    "pattern", ["(a|aa)+$", "(a*)*b", "(a?){500}a{500}", "(.*)(.*)(.*)(.*)(.*)(.*)(.*)x", "(x+x+)+y"]
)
def test_a_hostile_pattern_ends_at_the_longest_key(pattern: str) -> None:
    """Python's `re` takes seconds, or for ever, for the first two at 30 characters."""
    Pattern(pattern).matches("a" * 1023 + "b")
    Pattern(pattern).matches("x" * 1024)


def test_patterns_write_nothing_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    """RE2 logs what it refuses, and when it runs out of memory: that would be text of strangers."""
    with pytest.raises(PatternError):
        Pattern("(secret")
    Pattern("(a?){700}a{700}").matches("a" * 1024)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("pattern", "sub", "text", "result"),
    [
        ("b", "x", "abcb", "axcx"),
        ("^", "x", "abc", "xabc"),
        ("a*", "-", "baac", "-b--c-"),
        (r"(\w)(\w)?", r"\2\1", "abc", "bac"),
        ("ü", "é", "aüb", "aéb"),
        ("a", r"\\1\0", "a", r"\1a"),
        ("z", "x", "abc", "abc"),
    ],
)
def test_each_match_is_replaced_as_by_re_sub(pattern: str, sub: str, text: str, result: str) -> None:
    assert Substitution(pattern, sub).apply(text) == result


@pytest.mark.parametrize("sub", [r"\2", "\\", r"\g<1>", r"\n", "\\\u0661"])
def test_a_replacement_refers_to_groups_that_are_there_and_escapes_nothing_else(sub: str) -> None:
    with pytest.raises(PatternError):
        Substitution("(a)", sub)


def test_without_the_extra_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    with pytest.raises(PatternError, match=r"install the extra archiver\[select\]"):
        Pattern("not compiled before")
