"""Regular expressions of requests: what RE2 refuses, what is too large, and what a hostile one costs."""

import sys

import pytest

from archiver.core.patterns import MAX_PROGRAM, MAX_STEPS, Effort, Pattern, PatternError, Substitution
from archiver.errors import Rejected


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


@pytest.mark.parametrize("pattern", ["(x?){900}y", "(a|b)*a(a|b){900}", "(?:(?:a|b)?){900}", "([ab]*a[ab]{30}){8}"])
def test_the_worst_patterns_within_the_bounds_cost_as_many_steps_as_their_length(pattern: str) -> None:
    """Which bounds the time of a request: each takes up to 20 ms at the longest key, and is counted as that."""
    one = Pattern(pattern)
    one.matches("ab" * 511 + "c")
    one.matches("x" * 1024)
    effort = Effort()
    with pytest.raises(Rejected, match="too_large: the patterns take too long"):
        for _ in range(20_000):
            effort.add(one.steps(1024))


def test_usual_patterns_may_look_at_millions_of_keys() -> None:
    keys, size = 2_000_000, 60
    for pattern in (r".*\.jpg", r"[^/]*\.txt", r"(?i).*\.(jpe?g|png|gif)", r"\d{4}/\d\d/.*"):
        assert keys * Pattern(pattern).steps(size) < MAX_STEPS


def test_each_search_of_a_substitution_is_counted() -> None:
    effort, substitution = Effort(), Substitution("(a|b)*?a(a|b){900}c|b", "z")
    with pytest.raises(Rejected, match="too_large"):
        for _ in range(1000):
            substitution.apply("ab" * 20 + "c" * 900, effort)


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
    assert Substitution(pattern, sub).apply(text, Effort()) == result


@pytest.mark.parametrize("sub", [r"\2", "\\", r"\g<1>", r"\n", "\\\u0661"])
def test_a_replacement_refers_to_groups_that_are_there_and_escapes_nothing_else(sub: str) -> None:
    with pytest.raises(PatternError):
        Substitution("(a)", sub)


def test_without_the_extra_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    with pytest.raises(PatternError, match=r"install the extra archiver\[select\]"):
        Pattern("not compiled before")
