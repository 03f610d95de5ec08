"""Requests from a JSON file, from standard input, or from repeated `--file` options."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from archiver.cli.console import EXIT_USAGE, CommandError, print_note, suggest
from archiver.cli.input_file import decode_input, read_input
from archiver.cli.selection_input import SelectionInput

MAX_WARNINGS = 20  # unknown fields that are listed; the rest are counted
MAX_BODY_BYTES = 1024 * 1024  # SQS's limit for a message, attributes included

# Options of every command that takes a request.
RequestFile = Annotated[
    str | None, typer.Argument(metavar="[REQUEST|-]", help="File with the request as JSON; - reads standard input.")
]
Files = Annotated[
    list[str] | None,
    typer.Option(
        "--file",
        "-f",
        metavar="SOURCE[=DESTINATION]",
        help="Object, and its path in the zip; may be repeated. Write a = in a key as \\=.",
    ),
]
Uris = Annotated[list[str] | None, typer.Argument(metavar="[URI]", help="Objects to archive: keys or s3:// URIs.")]
MoreUris = Annotated[list[str] | None, typer.Option("--uri", help="The same as an option; may be repeated.")]
JobId = Annotated[
    str | None, typer.Option("--job-id", "-j", help="Id of the job. The same id and request name the same archive.")
]
Meta = Annotated[
    list[str] | None,
    typer.Option("--meta", metavar="KEY=VALUE", help="Metadata to copy to the answer; may be repeated."),
]
ArchiveName = Annotated[str | None, typer.Option("--archive-name", help="File name of the download.")]
OnMissing = Annotated[
    str | None, typer.Option("--on-missing", metavar="fail|skip", help="What to do with objects that can't be read.")
]
OnDuplicate = Annotated[
    str | None,
    typer.Option("--on-duplicate", metavar="rename|fail|skip", help="What to do with two files of the same path."),
]
OnArchived = Annotated[
    str | None,
    typer.Option("--on-archived", metavar="fail|skip|restore", help="What to do with objects in Glacier."),
]
WaitFor = Annotated[
    int | None, typer.Option("--wait-for", metavar="SECONDS", help="Wait that long for objects that do not exist yet.")
]
CallbackUrl = Annotated[
    str | None,
    typer.Option(
        "--callback-url", metavar="URL", help="URL that the answer is posted to as well; the operator lists its host."
    ),
]
Compression = Annotated[
    str | None, typer.Option("--compression", metavar="store|deflate|auto", help="Compression of the files.")
]
Strategy = Annotated[
    str | None,
    typer.Option("--strategy", metavar="auto|stream|copy", help="How the bytes get into the archive: copied or sent."),
]


@dataclass(frozen=True, slots=True)
class RequestInput:
    """
    The request file and options of a command.

    *options* override the fields of the file; *files*, and what *selection* has, are added to its files.
    """

    file: str | None
    files: Sequence[str] = ()
    options: Sequence[tuple[str, object]] = ()
    meta: Sequence[str] = ()
    selection: SelectionInput = field(default_factory=SelectionInput)


def build_body(given: RequestInput, *, max_bytes: int | None = None) -> str:
    """
    Return the request as valid JSON of at most *max_bytes* bytes of UTF-8 (None: no limit).

    Raises CommandError with the position of the mistake and the fix.
    """
    from archiver.core.dialects import dialect_of, native
    from archiver.core.strict_json import dump
    from archiver.errors import Rejected

    entries = [*(parse_file(text) for text in given.files), *given.selection.entries()]
    if given.file is None and not entries and not given.selection.manifest:
        raise CommandError(
            "nothing to archive; name a file with the request, - for standard input, or use --file, --prefix or "
            "--manifest",
            code=EXIT_USAGE,
        )
    request = _parse_object(_read_text(given.file)) if given.file is not None else {}
    if entries:
        request["files"] = [*_as_list(request.get("files", [])), *entries]
    if given.selection.pointer:
        request["manifest"] = given.selection.pointer
    request |= {name: value for name, value in given.options if value is not None}
    if given.meta:
        request["metadata"] = {**(request.get("metadata") or {}), **dict(parse_meta(text) for text in given.meta)}
    body = dump(request)
    dialect = dialect_of(body)
    for warning in unknown_fields(request) if dialect is native else ():
        print_note(f"{_source_name(given.file)}: {warning}")
    try:
        dialect.parse_request(body)
    except Rejected as rejected:
        raise CommandError(f"{_source_name(given.file)}: {rejected.message}", code=EXIT_USAGE) from None
    if max_bytes is not None and (size := len(body.encode())) > max_bytes:
        raise CommandError(
            f"{_source_name(given.file)}: the request has {size:,} bytes, but SQS allows {max_bytes:,}; "
            "split it into several requests, or name a place for its files with --manifest-to s3://bucket/prefix/",
            code=EXIT_USAGE,
        )
    return body


def wait_for(seconds: int | None) -> dict[str, int] | None:
    """Return the field `wait_for` of the option --wait-for."""
    return None if seconds is None else {"timeout": seconds}


def unknown_fields(request: dict[str, Any]) -> list[str]:
    """Return a warning for each field of *request* that a worker ignores, each name once, with a similar known name."""
    from archiver.core.entries import File, Inline, Selection
    from archiver.core.messages import Request

    known = list(Request.model_fields)
    of_files = [*dict.fromkeys(name for kind in (File, Selection, Inline) for name in kind.model_fields), "directory"]
    warnings = [f"$.{name}{_unknown_field_message(name, known)}" for name in request if name not in known]
    seen: set[str] = set()
    for index, file in enumerate(_as_list(request.get("files"))):
        for name in file if isinstance(file, dict) else ():
            if name not in of_files and name not in seen:
                seen.add(name)
                warnings.append(f"$.files[{index}].{name}{_unknown_field_message(name, of_files)}")
    more = len(warnings) - MAX_WARNINGS
    return warnings if more <= 0 else [*warnings[:MAX_WARNINGS], f"and {more:,} more unknown fields"]


def _unknown_field_message(name: str, known: Sequence[str]) -> str:
    return f" is unknown and ignored{suggest(name, known)}"


def parse_file(text: str, option: str = "--file") -> dict[str, str]:
    r"""Parse `SOURCE` or `SOURCE=DESTINATION`; `\=` is a literal `=`, `\\` a backslash. Raises CommandError."""
    parts = [""]
    escaped = False
    for char in text:
        if escaped:
            parts[-1] += char if char in "=\\" else f"\\{char}"
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == "=":
            parts.append("")
        else:
            parts[-1] += char
    if escaped:
        parts[-1] += "\\"
    if len(parts) > 2 or not parts[0]:  # noqa: PLR2004
        raise CommandError(
            rf"{option} {text}: should be SOURCE or SOURCE=DESTINATION; write \= for a = in a name", code=EXIT_USAGE
        )
    return {"source": parts[0]} if len(parts) == 1 else {"source": parts[0], "destination": parts[1]}


def check_uris(uris: Sequence[str]) -> None:
    """Raise CommandError if one of *uris*, which are keys or `s3://` URIs, names no object."""
    from archiver.core.locations import parse_source
    from archiver.errors import Rejected

    for uri in uris:
        try:
            parse_source(uri, "bucket")
        except Rejected as rejected:
            raise CommandError(f"{uri[:80] or 'an empty URI'}: {rejected.message}", code=EXIT_USAGE) from None


def parse_meta(text: str) -> tuple[str, str]:
    """Parse `KEY=VALUE`. Raises CommandError."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise CommandError(f"--meta {text}: should be KEY=VALUE", code=EXIT_USAGE)
    return key, value


def _read_text(file: str) -> str:
    return decode_input(read_input(file, "the request"), file)


def _parse_object(text: str) -> dict[str, Any]:
    from archiver.core.strict_json import load
    from archiver.errors import Rejected

    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        raise CommandError(*describe_json_error(text, error), code=EXIT_USAGE) from None
    except (ValueError, RecursionError):
        pass  # `load` has the better message
    try:
        data = load(text)
    except Rejected as rejected:
        raise CommandError(f"the request: {rejected.message}", code=EXIT_USAGE) from None
    if not isinstance(data, dict):
        raise CommandError(
            'the request is not a JSON object; it should look like {"files": [{"source": "…"}]}', code=EXIT_USAGE
        )
    return data


def describe_json_error(text: str, error: json.JSONDecodeError) -> list[str]:
    """Return the place of the syntax *error* in *text*: its likely cause, the line, and a caret under the column."""
    if "trailing comma" in error.msg:  # Python 3.13 and later point at the comma; earlier ones at the bracket after it
        after = text[error.pos + 1 :]
        error = json.JSONDecodeError(error.msg, text, len(text) - len(after.lstrip()))
    line = (text.splitlines() or [""])[error.lineno - 1] if error.lineno <= len(text.splitlines()) else ""
    start = max(0, error.colno - 60)
    shown = line[start : start + 100]
    caret = " " * (error.colno - 1 - start) + "^"
    where = f"the request is not JSON: line {error.lineno}, column {error.colno}: {_hint(text, error)}"
    return [where, f"  {shown}", f"  {caret}"] if shown.strip() else [where]


def _hint(text: str, error: json.JSONDecodeError) -> str:
    before, rest = text[: error.pos].rstrip(), text[error.pos :]
    known = (
        (not text.strip(), "it is empty"),
        (not rest, "it ends too early; add the missing closing bracket or quote"),
        (
            (rest[:1] in ("}", "]") and before.endswith(",")) or "trailing comma" in error.msg,
            "trailing comma; remove the comma before the closing bracket",
        ),
        (rest.startswith("'"), "JSON allows double quotes only; write \" instead of '"),
        (rest.startswith(("//", "/*", "#")), "JSON allows no comments; remove this one"),
        ("':' delimiter" in error.msg, "missing colon; write a : between the name and its value"),
        ("',' delimiter" in error.msg, "missing comma; write a , before this"),
    )
    return next((hint for applies, hint in known if applies), error.msg[:1].lower() + error.msg[1:])


def _as_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _source_name(file: str | None) -> str:
    return "the request" if file in (None, "-") else str(file)


def file_count(request: dict[str, Any], what: str = "file") -> str:
    """Return the number of files that *request* names; of one with prefixes or a manifest, that is not known."""
    if "files" not in request and ("command" in request or "parameters" in request):
        return "a command"
    if "files" not in request and "cancel" in request:
        return "a cancellation"
    files = request.get("files") or [{}]
    if all(isinstance(file, dict) and ("source" in file or "inline" in file) for file in files):
        return format_count(len(files), what)
    return f"a selection of {what}s"


def format_count(number: int, what: str = "file") -> str:
    return f"1 {what}" if number == 1 else f"{number:,} {what}s"
