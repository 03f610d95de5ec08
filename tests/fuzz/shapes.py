"""Bodies that a stranger can put into one message: each makes the most of *size* bytes of one kind of trouble."""

import json
from collections.abc import Callable

Shape = Callable[[int], str]

HIGH, LOW = "\u0345", "\u0300"  # two combining classes; in this order they have to be sorted
MARKS = HIGH + LOW


def _repeated(unit: str, size: int, before: str = "", after: str = "", between: str = ",") -> str:
    """*before*, then as many of *unit* as *size* bytes hold, *between* them, then *after*."""
    room = size - len((before + after).encode()) + len(between.encode())
    return before + between.join([unit] * (room // len((unit + between).encode()))) + after


def _files(unit: str, size: int, **fields: object) -> str:
    rest = json.dumps(fields)[1:-1]
    return _repeated(unit, size, '{"files":[', "]" + (f",{rest}" if rest else "") + "}")


def _text(unit: str, size: int, before: str, after: str) -> str:
    return _repeated(unit, size, before, after, between="")


def _numbered(pattern: str, size: int, before: str, after: str) -> str:
    """As `_repeated`, with a number in each unit."""
    count = (size - len(before) - len(after)) // (len((pattern % 0).encode()) + 7)
    return before + ",".join(pattern % number for number in range(count)) + after


def _file(field: str, text: str) -> str:
    return f'{{"source":"a","{field}":"{text}"}}'


def _in_place(field: str, unit: str) -> Shape:
    """One file whose *field* is as much of *unit* as there is room for."""
    return lambda size: _text(unit, size, f'{{"files":[{{"source":"a","{field}":"', '"}]}')


def _many(field: str, unit: str, length: int) -> Shape:
    """Many files, *field* of each made of *length* times *unit*."""
    return lambda size: _files(_file(field, unit * length), size)


def _of_metadata(before: str, unit: str, after: str, between: str = ",") -> Shape:
    return lambda size: _repeated(
        unit, size, '{"files":[{"source":"a"}],"metadata":' + before, after + "}", between=between
    )


_FILE = '{"files":[{"source":"a"}],'

SHAPES: dict[str, Shape] = {
    # Text that normalising, trimming or folding has to look at
    "destination of marks": lambda size: _marked(size, "destination"),
    "name of marks": lambda size: _marked(size, "name"),
    "archive_name of marks": lambda size: _FILE + f'"archive_name":"{_marks(size - 50)}"}}',
    "job_id of marks": lambda size: _FILE + f'"job_id":"{_marks(size - 50)}"}}',
    "source of marks": lambda size: f'{{"files":[{{"source":"{_marks(size - 50)}"}}]}}',
    "keys of 1 KiB of marks": lambda size: _files(f'{{"source":"{_marks(1000)}"}}', size),
    "names of 4 KiB of marks": lambda size: _files(_file("name", _marks(4000)), size),
    "names of 4,096 marks": lambda size: _files(_file("name", _marks(8180)), size),
    "destinations of tibetan vowels": _many("destination", "\u0f73\u0f71", 600),
    "destinations of U+0344": _many("destination", "\u0344\u0323", 1000),
    "destination of blanks and dots": _in_place("destination", " ."),
    "name of blanks and dots": _in_place("name", ". "),
    "archive_name of blanks and dots": lambda size: _text(" .", size, _FILE + '"archive_name":"', '"}'),
    "names of blanks and dots": _many("name", " .", 2000),
    "destination of slashes": _in_place("destination", "/."),
    "names of one-letter folders": _many("name", "a/", 2040),
    "names that fold to thrice": _many("name", "\u0390", 120),
    "names of Arabic ligatures": _many("name", "\ufdfa", 80),
    "names of dotted I": _many("name", "\u0130", 120),
    "names of sharp s": _many("name", "\u00df", 120),
    "names of Hangul": _many("name", "\u1112\u1161\u11ab", 200),
    "names of bidi": _many("name", "\u202e\u2066", 600),
    "names of dots": _many("name", "../", 1300),
    "extensions without end": _many("name", ".a", 2000),
    # Counts
    "files of zeros": lambda size: _files("0", size),
    "files of empty objects": lambda size: _files("{}", size),
    "files of empty lists": lambda size: _files("[]", size),
    "files of nulls": lambda size: _files("null", size),
    "files of texts": lambda size: _files('"ab"', size),
    "files of wrong sources": lambda size: _files('{"source":0}', size),
    "files of empty sources": lambda size: _files('{"source":""}', size),
    "files without a key": lambda size: _files('{"source":"s3://b"}', size),
    "files not allowed": lambda size: _files('{"source":"s3://archives/a"}', size),
    "files of nothing but a slash": lambda size: _files('{"source":"/"}', size),
    "folder markers, skipped": lambda size: _files('{"source":"/"}', size, on_missing="skip"),
    "unsafe names": lambda size: _files('{"source":"a","name":".."}', size),
    "one object as often as can be": lambda size: _files('{"source":"a"}', size),
    "one object, skipped as duplicate": lambda size: _files('{"source":"a"}', size, on_duplicate="skip"),
    "one object, refused as duplicate": lambda size: _files('{"source":"a"}', size, on_duplicate="fail"),
    "missing objects": lambda size: _numbered('{"source":"%x"}', size, '{"files":[', "]}"),
    "missing objects, skipped": lambda size: _numbered('{"source":"%x"}', size, '{"files":[', '],"on_missing":"skip"}'),
    "names that are cut to one": lambda size: _numbered(
        '{"source":"a","name":"' + "n" * 260 + '%x"}', size, '{"files":[', "]}"
    ),
    "names that are numbered already": lambda size: _numbered(
        '{"source":"a","name":"a (%d)"},{"source":"a"}', size, '{"files":[', "]}"
    ),
    "file against folder": lambda size: _files('{"source":"a","name":"b"},{"source":"a","name":"b/c"}', size),
    "unknown fields": lambda size: _numbered('"x%d":0', size, "{", "}"),
    "unknown fields of a file": lambda size: _numbered('"x%d":0', size, '{"files":[{"source":"a",', "}]}"),
    # JSON
    "a key again and again": lambda size: _repeated('"a":0', size, "{", "}"),
    "a long key twice": lambda size: '{"' + "k" * (size // 2 - 20) + '":0,"' + "k" * (size // 2 - 20) + '":0}',
    "brackets": lambda size: "[" * size,
    "braces": lambda size: _repeated('{"":', size, between=""),
    "blanks": lambda size: " " * size,
    "numbers of many digits": lambda size: "1" * size,
    "a float of many digits": lambda size: "0." + "1" * (size - 2),
    "an exponent of many digits": lambda size: "1e" + "1" * (size - 2),
    "integers of 4,300 digits": lambda size: _repeated("7" * 4300, size, "[", "]"),
    "metadata of integers of 4,300 digits": _of_metadata('{"a":[', "7" * 4300, "]}"),
    "metadata of floats": _of_metadata('{"a":[', "1e-9", "]}"),
    "metadata of empty objects": _of_metadata('{"a":[', "{}", "]}"),
    "metadata of empty lists": _of_metadata('{"a":[', "[]", "]}"),
    "metadata of small objects": _of_metadata('{"a":[', '{"":0}', "]}"),
    "metadata 90 levels deep": _of_metadata('{"a":[', "[" * 90 + "]" * 90, "]}"),
    "metadata 90 objects deep": _of_metadata('{"a":[', '{"":' * 90 + "0" + "}" * 90, "]}"),
    "metadata of escapes": _of_metadata('{"a":"', "\\u00e9", '"}', between=""),
    "metadata of NULs": _of_metadata('{"a":"', "\\u0000", '"}', between=""),
    "metadata of half surrogates": _of_metadata('{"a":"', "\\ud800", '"}', between=""),
    "metadata of quotes": _of_metadata('{"a":"', '\\"', '"}', between=""),
    "metadata of noncharacters": _of_metadata('{"a":"', "\\uffff", '"}', between=""),
    "metadata with a key of half surrogates": _of_metadata('{"', "\\ud800", '":0}', between=""),
    "metadata with many keys": lambda size: _numbered('"%x":0', size, _FILE + '"metadata":{', "}}"),
    "metadata with many bad keys": lambda size: _numbered('"\\ud800%x":0', size, _FILE + '"metadata":{', "}}"),
    "metadata beside bad files": lambda size: '{"files":[0],"metadata":{"a":[' + _repeated("[]", size - 40) + "]}}",
    "job_id of half surrogates": lambda size: _text("\\ud800", size, _FILE + '"job_id":"', '"}'),
    "on_missing of a list": lambda size: _repeated("0", size, _FILE + '"on_missing":[', "]}"),
    # What is no request
    "JSON in JSON in JSON": lambda size: json.dumps(json.dumps('"' * (size // 8))),
    "base64": lambda size: "eyJm" * (size // 4),
    "an S3 event without end": lambda size: _repeated('{"s3":{}}', size, '{"Records":[', "]}"),
    "prefixes": lambda size: _files('{"prefix":"a"}', size),
    "prefixes with filters": lambda size: _files(
        '{"prefix":"a","where":{"size":{"gt":1}},"rename":{"pattern":"a","sub":""}}', size
    ),
    "patterns": lambda size: _numbered('{"prefix":"a","regex":"a%d"}', size, '{"files":[', "]}"),
    "bad patterns": lambda size: _files('{"prefix":"a","regex":"("}', size),
    "inline texts": lambda size: _numbered('{"inline":"","name":"%d"}', size, '{"files":[', "]}"),
    "inline text": lambda size: _text("x", size, '{"files":[{"name":"x","inline":"', '"}]}'),
    "a manifest with a long name": lambda size: _text("x", size, '{"manifest":"', '"}'),
    "a wrapped request": lambda size: '{"detail":' + _files("0", size - 20) + "}",
}


def _marks(size: int) -> str:
    """*size* bytes of combining marks in the wrong order: normalising sorts them, pair by pair."""
    return "a" + HIGH * (size // 4) + LOW * (size // 4)


def _marked(size: int, field: str) -> str:
    return f'{{"files":[{_file(field, _marks(size - 60))}]}}'
