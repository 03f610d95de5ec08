"""Whatever is asked for, the path in the zip is one that every system can extract, and stays in its folder."""

import ast
import re
import string
import sys
import unicodedata
from pathlib import Path

import pytest
from core.path_rules import is_forbidden, violations
from hypothesis import assume, example, given
from hypothesis import strategies as st

import archiver
from archiver.core.paths import (
    _FORBIDDEN,
    _TIBETAN_VOWELS,
    _WHITESPACE,
    MAX_COMBINING_MARKS,
    ArchivePath,
    _drop_excess_marks,
    nfc,
    resolve_path,
    sanitize_component,
)
from archiver.errors import Rejected

KEY = "p/q.jpg"

# Letters that clash, fold, compose, vanish or steer: plain random text would hardly ever hit one.
NASTY = st.lists(
    st.one_of(
        st.sampled_from('abcC:./\\ \u0301\u0338<>?*|"\0\n\t\u200d\u200c\u200e\u202e\ufeff\u00a0\u2028\u3164'),
        st.sampled_from("\u1100\u1161ßẞİıſ\ud800\ufffe\U0001f469\u00e9\u212b\U0001d160"),
        st.sampled_from(["CON", "nul", "com1", "LPT¹", "e\u0301", "x" * 130, " " * 130, ".jpg", "..", "//"]),
    ),
    max_size=12,
).map("".join)
ANY = st.one_of(NASTY, st.text(max_size=300), st.text(st.characters(), max_size=10))


@pytest.mark.parametrize(
    ("destination", "path"),
    [
        (None, "q.jpg"),
        ("", "q.jpg"),
        ("album", "album/q.jpg"),
        ("My Album", "My Album/q.jpg"),
        ("a.b/c", "a.b/c/q.jpg"),
        (".hidden", ".hidden/q.jpg"),
        ("album/x.png", "album/x.png"),
        ("Photo 1.jpg", "Photo 1.jpg"),
        ("v1.2", "v1.2"),
        ("v1.2/", "v1.2/q.jpg"),
        ("album/", "album/q.jpg"),
    ],
)
def test_a_plain_destination_becomes_the_path_of_the_contract_and_is_no_rename(
    destination: str | None, path: str
) -> None:
    assert resolve_path(KEY, destination, None) == ArchivePath(path, path)


@pytest.mark.parametrize(
    ("destination", "asked", "path"),
    [
        ("/abs/x.jpg", "/abs/x.jpg", "abs/x.jpg"),
        ("a\\b.jpg", "a\\b.jpg", "a/b.jpg"),
        ("a//b.jpg", "a//b.jpg", "a/b.jpg"),
        ("./a.jpg", "./a.jpg", "a.jpg"),
        ("Album / Photo", "Album / Photo/q.jpg", "Album/Photo/q.jpg"),
        ("album//", "album//q.jpg", "album/q.jpg"),
        ("album\\", "album\\q.jpg", "album/q.jpg"),
        ("album/x.png/.", "album/x.png/./q.jpg", "album/x.png/q.jpg"),
        ("/", "/q.jpg", "q.jpg"),
        ("  ", "  /q.jpg", "q.jpg"),
        ("album.", "album./q.jpg", "album/q.jpg"),
        ("...", ".../q.jpg", "_/q.jpg"),
        ("x.jpg ", "x.jpg ", "x.jpg"),
        ("x.jpg. .", "x.jpg. .", "x.jpg"),
        ("CON", "CON/q.jpg", "CON_/q.jpg"),
        ("a/com1.txt", "a/com1.txt", "a/com1_.txt"),
        ("LPT¹.tar.gz", "LPT¹.tar.gz", "LPT¹_.tar.gz"),
        ("nul .txt", "nul .txt", "nul _.txt"),
        ("what?/<b>.txt", "what?/<b>.txt", "what_/_b_.txt"),
        ("x/a:b.jpg", "x/a:b.jpg", "x/a_b.jpg"),
        ("at 10:30.jpg", "at 10:30.jpg", "at 10_30.jpg"),
        ("s3://b/x.jpg", "s3://b/x.jpg", "s3_/b/x.jpg"),
        ("gpj.\u202eexe.txt", "gpj.\u202eexe.txt", "gpj._exe.txt"),
        ("e\u0301.jpg", "e\u0301.jpg", "\u00e9.jpg"),
        ("a\tb\n/x.jpg", "a\tb\n/x.jpg", "a_b/x.jpg"),
    ],
)
def test_a_repaired_destination_becomes_the_path_of_the_contract_and_tells_what_was_asked(
    destination: str, asked: str, path: str
) -> None:
    assert resolve_path(KEY, destination, None) == ArchivePath(asked, path)


@pytest.mark.parametrize(
    "text",
    [
        "../../x.jpg",
        "a/../../x.jpg",
        "a/../b.jpg",
        "a\\..\\b.jpg",
        "a/ .. /b.jpg",
        "..",
        "C:/x.txt",
        "c:\\x.txt",
        "C:x.txt",
        "/C:/x.txt",
        "./C:/x.txt",
        " C:/x.txt",
        "a/C:/x.txt",
        "C:",
        "\u212a:/x.txt",  # the Kelvin sign is a K after NFC
        "\\\\server\\share\\x.jpg",
        "//server/share/x.jpg",
        " \\\\server\\share\\x.jpg",
        "\\\\?\\C:\\x.txt",
        "\\\\.\\pipe\\x",
        "\\??\\C:\\x.txt",
        "a\0b",
        "a/\ud800.jpg",
        "/".join(["d" * 200] * 25) + "/x.jpg",
    ],
)
def test_a_name_that_leaves_its_folder_or_confuses_an_extractor_is_rejected(text: str) -> None:
    for destination, name in ((text, None), (None, text)):
        with pytest.raises(Rejected) as caught:
            resolve_path(KEY, destination, name)
        assert caught.value.code == "name_unsafe"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("album/README", "album/README"),
        ("album/x.png", "album/x.png"),
        ("album/", "album"),
        ("/abs/x", "abs/x"),
        ("a/CON", "a/CON_"),
        ("/", "_"),
        ("...", "_"),
    ],
)
def test_a_name_is_the_exact_path_with_or_without_extension(name: str, path: str) -> None:
    assert resolve_path(KEY, None, name) == ArchivePath(name, path)


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("q.jpg", "q.jpg"),
        ("/a//q.jpg", "q.jpg"),
        ("p/..", "_"),
        ("p/.", "_"),
        ("p/ ", "_"),
        ("p/C:", "C_"),
        ("p/a\0b", "a_b"),
        ("p/..\\..\\x.jpg", ".._.._x.jpg"),
        ("p/ q.jpg ", "q.jpg"),
        ("p/aux.jpg", "aux_.jpg"),
        ("p/%2e%2e", "%2e%2e"),
        ("p/\ud800", "_"),
        ("p/\U0001f469\u200d\U0001f469\u200d\U0001f467.png", "\U0001f469\u200d\U0001f469\u200d\U0001f467.png"),
        ("p/\u0646\u0627\u0645\u0647\u200c\u0647\u0627.jpg", "\u0646\u0627\u0645\u0647\u200c\u0647\u0627.jpg"),
        ("p/\u2764\ufe0f.png", "\u2764\ufe0f.png"),
    ],
)
def test_a_name_from_a_key_is_its_last_part_and_always_repaired(key: str, path: str) -> None:
    asked = key.rpartition("/")[2]
    assert resolve_path(key, None, None) == ArchivePath(asked, path)
    assert resolve_path(key, "album", None) == ArchivePath(f"album/{asked}", f"album/{path}")


@pytest.mark.parametrize("key", ["p/", "/", "p//"])
def test_a_key_that_ends_in_a_slash_needs_an_explicit_name(key: str) -> None:
    for destination, name in ((None, None), ("album", None), ("album/x.png/", None), (None, "/"), (None, ".")):
        assert resolve_path(key, destination, name) is None
    assert resolve_path(key, "album/x.png", None) == ArchivePath("album/x.png", "album/x.png")
    assert resolve_path(key, None, "x") == ArchivePath("x", "x")
    assert resolve_path(key, None, "x/") == ArchivePath("x/", "x/")
    assert resolve_path(key, None, "a\\con\\") == ArchivePath("a\\con\\/", "a/con_/")
    with pytest.raises(Rejected, match="name_unsafe"):
        resolve_path(key, None, "../x/")


def rows_of_marks(text: str) -> int:
    """The longest row of combining marks in *text*."""
    return max(
        map(len, re.findall("m+", "".join("m" if unicodedata.combining(char) else "." for char in text))), default=0
    )


def test_no_row_of_marks_is_longer_than_any_language_needs() -> None:
    """Sorting them is quadratic, in one call that lets no other thread run: half a million take minutes."""
    assert sanitize_component("e" + "\u0301" * 31 + ".jpg") == "é" + "\u0301" * 29 + ".jpg"
    assert sanitize_component("x" * 40 + "\u0323" * 30) == "x" * 40 + "\u0323" * 30
    for marks in ("\u0345\u0300", "\u0300", "\u0344", "\u0f73\u0f71", "\u0f75", "\u0f81\u0f72", "\U0001d165\U0001d16d"):
        made = nfc("a" + marks * 5_000 + "b")
        assert rows_of_marks(made) <= MAX_COMBINING_MARKS
        assert made.endswith("b")
        assert nfc(made) == made == unicodedata.normalize("NFC", made)


def test_what_is_no_mark_by_its_class_but_becomes_marks_is_counted_as_one() -> None:
    letters = {
        char
        for char in map(chr, range(sys.maxunicode + 1))
        if not unicodedata.combining(char) and unicodedata.combining(unicodedata.normalize("NFD", char)[0])
    }
    assert letters == set(_TIBETAN_VOWELS)
    for letter in letters:
        assert len(_drop_excess_marks("a" + letter * 5_000)) == 1 + MAX_COMBINING_MARKS


def test_text_is_normalised_in_one_place_only() -> None:
    """That is the one which bounds what it is given."""
    calls = [
        (path.name, node.lineno)
        for path in Path(archiver.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("normalize", "is_normalized")
    ]
    assert [name for name, _ in calls] == ["paths.py"]


def test_white_space_is_that_of_the_interpreter() -> None:
    assert {char for char in map(chr, range(sys.maxunicode + 1)) if char.isspace()} == set(_WHITESPACE)


@pytest.mark.parametrize(
    ("text", "trimmed"),
    [
        (" . . ", "_"),
        ("..a", "..a"),
        (" ..a .. . ", "..a"),
        ("a. b .", "a. b"),
        (" ." * 500_000, "_"),
        ("\u3000a\u2003.", "a"),
    ],
)
def test_ends_are_trimmed_of_white_space_and_of_dots_behind(text: str, trimmed: str) -> None:
    assert sanitize_component(text) == trimmed


@pytest.mark.parametrize(
    ("part", "cut"),
    [
        ("x" * 256, "x" * 255),
        ("x" * 300 + ".jpg", "x" * 251 + ".jpg"),
        ("é" * 130 + ".jpeg", "é" * 125 + ".jpeg"),
        ("x." + "y" * 300, "x." + "y" * 253),
        ("x" * 254 + "é", "x" * 254),
        ("x" * 254 + " " + "y", "x" * 254),
        ("CON" + " " * 300 + "x", "CON_"),
        ("CON." + "y" * 251, "CON_." + "y" * 250),
    ],
)
def test_a_long_part_is_cut_between_characters_and_keeps_its_extension(part: str, cut: str) -> None:
    assert sanitize_component(part) == cut
    assert violations(cut) == []


def test_the_forbidden_characters_are_those_of_unicode_and_some_fillers() -> None:
    """The code's table is explicit, so that paths don't change with the interpreter; here the two meet."""
    listed = {char for char in map(chr, range(sys.maxunicode + 1)) if _FORBIDDEN.match(char)}
    known = {char for char in map(chr, range(sys.maxunicode + 1)) if is_forbidden(char)}
    assert known <= listed
    fillers = set("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")
    assert {char for char in listed - known if unicodedata.category(char) != "Cn"} == fillers


@given(ANY)
@example("CON" + " " * 300)
@example("aux." + "é" * 200)
def test_any_text_becomes_a_lawful_part_and_a_repair_needs_no_second_one(text: str) -> None:
    part = sanitize_component(text)
    assert violations(part) == []
    assert "/" not in part
    assert sanitize_component(part) == part


@given(ANY, st.one_of(st.none(), ANY), st.one_of(st.none(), ANY))
def test_any_request_gets_a_lawful_path_or_is_rejected(key: str, destination: str | None, name: str | None) -> None:
    try:
        named = resolve_path(key, destination, name)
    except Rejected as rejected:
        if rejected.code != "name_unsafe":
            raise
        return
    if named is None:
        assert key.endswith("/") or not key
        return
    assert violations(named.path.removesuffix("/") if key.endswith("/") or not key else named.path) == []
    assert resolve_path(key, destination, name) == named
    assert resolve_path(key, None, named.path) == ArchivePath(named.path, named.path)


@given(st.text(string.ascii_letters + string.digits + " -_.()[]é日", min_size=1))
def test_a_harmless_name_is_kept_as_it_is(text: str) -> None:
    assume(violations(text) == [])
    assert resolve_path(KEY, None, text) == ArchivePath(text, text)
