"""Manifests: the same entries from every form, whatever the pieces, and the line of every mistake."""

import json
import random
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from core.draft_factory import RULES, SENT_AT

from archiver.core import manifest
from archiver.core.manifest import ManifestParser, ManifestRules, read_values
from archiver.core.manifest_json import ManifestError
from archiver.core.outline import Named, Outline, SourceRules
from archiver.core.select import Selector
from archiver.errors import Rejected

ENTRIES: list[dict[str, Any]] = [
    {"source": "a.jpg"},
    {"source": 's3://bucket/ü \U0001f600,"b".jpg', "destination": "x/y.jpg"},
    {"prefix": "src/", "recursive": False},
    {"inline": "text\nof two lines", "name": "README.txt"},
]
FILES = [{"source": "a.jpg"}, {"source": 's3://bucket/b,"c".jpg', "destination": "x"}, {"source": "d é.jpg"}]


def outline_of(text: str | bytes, name: str = "m", piece: int = 10**9, max_files: int | None = None) -> Outline:
    rules = ManifestRules(SourceRules("photos", RULES.allowed), SENT_AT, fails=True, max_files=max_files)
    parser, data = ManifestParser(name, rules), text.encode() if isinstance(text, str) else text
    for start in range(0, len(data), piece):
        parser.feed(data[start : start + piece])
    return parser.finish()


def summary(outline: Outline) -> list[Any]:
    return [
        (entry.source, entry.name.path if entry.name else None, entry.info.content if entry.info else None)
        if isinstance(entry, Named)
        else (entry.source, entry.prefix)
        for entry in outline.entries
    ]


FORMS: dict[str, Callable[[list[Any]], str]] = {
    "request": lambda files: json.dumps({"job_id": "j", "metadata": {"files": [1]}, "files": files, "on_missing": "x"}),
    "indented": lambda files: "\ufeff\n" + json.dumps({"files": files, "a": [{}]}, indent=2, ensure_ascii=False) + "\n",
    "list": json.dumps,
    "lines": lambda files: "\n".join(map(json.dumps, files)) + "\n",
    "lines of Windows": lambda files: "\r\n\r\n".join(json.dumps(file, ensure_ascii=False) for file in files),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("piece", [1, 2, 7, 1000])
def test_every_form_in_pieces_of_any_size_has_the_same_entries(form: str, piece: int) -> None:
    expected = summary(outline_of(json.dumps(ENTRIES)))
    assert summary(outline_of(FORMS[form](ENTRIES), piece=piece)) == expected
    name = "m.jsonl" if "lines" in form else "m.json"  # else a small one is read whole, to see what it is
    assert summary(outline_of(FORMS[form](ENTRIES), name, piece=piece)) == expected


@pytest.mark.parametrize("header", ["", "source,destination\n", "Source, Destination\r\n", "\ufeff"])
@pytest.mark.parametrize("piece", [1, 1000])
def test_lines_of_csv_are_a_source_and_maybe_a_destination(header: str, piece: int) -> None:
    text = header + 'a.jpg\n"s3://bucket/b,""c"".jpg",x\n\nd é.jpg,\n'
    assert summary(outline_of(text, piece=piece)) == summary(outline_of(json.dumps(FILES)))
    assert summary(outline_of("source\na.jpg"))[0][0] == "a.jpg"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.csv", '{"a"},x'),
        ("M.CSV", "[1]"),
        ("m.jsonl", '{"source": "a"}'),
        ("m.ndjson", '{"source": "a", "files": 1}'),
    ],
)
def test_the_extension_decides_before_the_content(name: str, text: str) -> None:
    assert len(outline_of(text.replace('{"a"},x', "{a},x"), name).entries) == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has no entry"),
        (" \n\n ", "has no entry"),
        ("[]", "has no entry"),
        ('{"files": []}', "has no entry"),
        ('{"file": [1]}', "has no files"),
        ('{"files": [{"source": "a"}]', "line 1: ',' is missing|it ends too early"),
        ('{"files":\n[{"source": "a"}\n{"source": "b"}]}', "line 3: ',' is missing"),
        ('{"files": [{"source": "a"},]}', "line 1: is not JSON"),
        ('{"files": [{"source": "a"}], "files": []}', "line 1: has files twice"),
        ('{"files": null}', "'\\[' is missing"),
        ('[{"source": "a"}] x', "line 1: more text follows"),
        ('[{"source": "a"},\n{"source": "a", "source": "b"}]', "line 2: is not JSON: the key 'source' occurs twice"),
        ('[{"source": "a", "x": NaN}]', "NaN is not a JSON number"),
        ('[{"source": "a", "x": 1e999}]', "too large"),
        ("[" * 100_000, "nests too deep|is not JSON"),
        (
            '[\n\n{"source": 3},\n{"prefix": ""}]',
            r"line 3: \$\.source should be text; line 4: \$\.prefix should not be empty",
        ),
        ("[3]", r"line 1: \$ should be an object"),
        ("{" + '"a": 1,\n' * 1001 + '"files": ["a"]}', "line 1001: has more than 1,000 fields"),
        ('{"manifest": "s3://b/k"}', "names another manifest"),
        ('[{"manifest": "s3://b/k"}]', "line 1: names another manifest"),
        ('{"source": "a"}\n{"source": "b"', "line 2: is not JSON"),
        ('{"source": "a"}\n{"source": "s3://x/"}', r"line 2 of the manifest: \$\.source has no key"),
        ('{"source": "a"}\n\n{"prefix": "b", "regex": "("}', r"line 3 of the manifest: \$ has a regex that"),
        ('a.jpg\n"b.jpg', "line 2: is not CSV"),
        ('a.jpg\n"b"x', "line 2: is not CSV"),
        ("a,b,c", "line 1: has 3 fields"),
        (",x", r"line 1: \$\.source is required"),
        ("a\n" + "x" * 2000, "2000 bytes"),
        (b"a\n\xff", "line 2: is not UTF-8: save"),
        (b"a\n\n\xc3", "line 3: is not UTF-8"),
        (b"\xc3\xa9\n\nfile of a caf\xe9.jpg\nb\n", "line 3: is not UTF-8"),
        (b"\x1f\x8b\x08", "line 1: is not UTF-8.*not compressed"),
        ('{"source": "a"}\nnull\n', r"line 2: \$ should be an object"),  # not left out in silence
        ("a.jpg\rb.jpg\r\n", "line 1: has a carriage return"),
        ('a\n"b\nc"', "line 2: is not CSV: a field in quotes has no end on this line"),
        ("\0" * 5, "line 1|bytes|NUL"),
    ],
)
@pytest.mark.parametrize("piece", [5, 10**9])
def test_a_mistake_is_an_invalid_request_with_its_line(text: str | bytes, reason: str, piece: int) -> None:
    if len(text) > 10_000 and piece == 5:
        piece = 1000
    if text == "\0" * 5:
        assert len(outline_of(text).entries) == 1  # a key may be anything
        return
    with pytest.raises(Rejected, match=reason) as caught:
        outline_of(text, piece=piece)
    assert caught.value.code == "invalid_request"


def test_only_the_first_problems_are_looked_at() -> None:
    with pytest.raises(Rejected) as caught:
        outline_of("\n".join(['{"source": 1}'] * 1000))
    assert caught.value.message.count("should be text") == 20


def test_bounds_are_those_of_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Rejected, match=r"too_large.*more than 3 entries"):
        outline_of("a\nb\nc\nd\n", max_files=3)
    assert len(outline_of("a\nb\nc\n", max_files=3).entries) == 3
    lines = [json.dumps({"prefix": "a", "regex": f"a{number}"}) for number in range(33)]
    with pytest.raises(Rejected, match=r"invalid_request.*33 different patterns"):
        outline_of("\n".join(lines), piece=50)
    text = json.dumps({"inline": "x" * 600_000, "name": "x.txt"})
    with pytest.raises(Rejected, match=r"too_large.*inline text"):
        outline_of(f"{text}\n{text}")
    with pytest.raises(Rejected, match="line 1: has more than"):
        outline_of("x" * (manifest.MAX_ENTRY_LENGTH + 1), piece=1 << 18)
    with pytest.raises(Rejected, match="line 1: is not JSON"):
        outline_of('["' + "x" * (2 * manifest.MAX_ENTRY_LENGTH), piece=1 << 18)


def test_a_source_that_is_not_allowed_is_told_with_its_line() -> None:
    with pytest.raises(Rejected, match=r"source_not_allowed: line 2 of the manifest: \$\.source s3://archives/x"):
        outline_of("a\ns3://archives/x\n")


def test_locations_of_inline_text_are_distinct_over_all_pieces() -> None:
    lines = [json.dumps({"inline": str(number), "name": f"{number}.txt"}) for number in range(100)]
    outline = outline_of("\n".join(lines), piece=50)
    assert len({entry.location for entry in outline.entries if isinstance(entry, Named)}) == 100
    assert not any(isinstance(entry, Selector) for entry in outline.entries)


def test_any_document_in_any_pieces_is_read_as_json_reads_it() -> None:
    for seed in range(200):
        dice = random.Random(seed)
        sources = [
            "".join(dice.choices('a\\"\n{}[],:é\U0001f600 ', k=dice.randint(1, 9))) for _ in range(dice.randint(1, 9))
        ]
        text = json.dumps(
            {"n": dice.random(), "files": [{"source": one, "name": "x", "e": [[], {}, 1]} for one in sources], "z": 12},
            indent=dice.choice((None, 1)),
            ensure_ascii=dice.random() < 0.5,
        )
        read = outline_of(text, "m.json", piece=dice.randint(1, 30))
        assert [entry.source for entry in read.entries] == sources, seed


def test_memory_grows_with_the_entries_and_not_with_the_text() -> None:
    filler = '{"source": "a.jpg", "comment": "' + "x" * 10_000 + '"}\n'
    parser = ManifestParser(
        "m", ManifestRules(SourceRules("photos", RULES.allowed), SENT_AT, fails=True, max_files=None)
    )
    piece = (filler * 26).encode()
    parser.feed(piece)
    tracemalloc.start()
    try:
        for _ in range(20):
            parser.feed(piece)
        _, peak = tracemalloc.get_traced_memory()
        assert peak < 6 * len(piece)
    finally:
        tracemalloc.stop()


def test_a_whole_manifest_that_is_not_utf_8_is_refused() -> None:
    assert read_values("m.json", b'["a"]') == ["a"]
    with pytest.raises(ManifestError, match="line 2: is not UTF-8"):
        read_values("m.json", b"[\n\xff")
