"""Entries from `--prefix` with its filters, and from a `--manifest`; and requests that are too long for a message."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archiver.cli.console import EXIT_USAGE, CommandError, print_json, print_note

if TYPE_CHECKING:
    from archiver.core.locations import Location
    from archiver.settings import Environment

_CONDITION = re.compile(r"\s*(size|age|count)\s*(<=|>=|<|>)\s*(\S.*?)\s*")
_BOUNDS = {
    ("size", ">"): "gt",
    ("size", "<"): "lt",
    ("age", ">"): "gt",
    ("age", "<"): "lt",
    ("count", ">="): "min",
    ("count", "<="): "max",
}

# Options of every command that takes a request.
Prefixes = Annotated[
    list[str] | None,
    typer.Option(
        "--prefix",
        metavar="PREFIX[=FOLDER]",
        help="All objects whose keys begin with PREFIX, and their folder in the zip; may be repeated.",
    ),
]
Regex = Annotated[
    str | None, typer.Option("--regex", help="With --prefix: RE2 expression for the whole path below its last slash.")
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="CONDITION",
        help="With --prefix: a bound of size, age (seconds) or count, such as size>0 or count>=1; may be repeated.",
    ),
]
Recursive = Annotated[
    bool, typer.Option("--recursive/--no-recursive", help="With --prefix: also objects in deeper folders, or not.")
]
Folders = Annotated[
    bool, typer.Option("--folders", help="With --prefix: keep folder markers (keys that end in /) as folders.")
]
OnEmpty = Annotated[
    str | None, typer.Option("--on-empty", metavar="fail|skip", help="What to do with a prefix that selects nothing.")
]
Manifest = Annotated[
    str | None,
    typer.Option(
        "--manifest",
        metavar="FILE|s3://…",
        help="List of files: a local file, or an object that the worker reads. JSON, JSON lines, or CSV.",
    ),
]
ManifestTo = Annotated[
    str | None,
    typer.Option(
        "--manifest-to",
        metavar="s3://BUCKET/PREFIX/",
        help="Where to upload the files of a request that is too long for SQS; the worker must be allowed to read it.",
    ),
]


@dataclass(frozen=True, slots=True)
class SelectionInput:
    """The options of a command that select objects."""

    prefixes: Sequence[str] = ()
    regex: str | None = None
    where: Sequence[str] = ()
    recursive: bool = True
    manifest: str | None = None
    folders: bool = False

    @property
    def pointer(self) -> str | None:
        """The manifest, if it is an object."""
        return self.manifest if self.manifest and self.manifest.lower().startswith("s3://") else None

    def entries(self) -> list[Any]:
        """Return the entries of `files`, unchecked. Raises CommandError."""
        from archiver.cli.request_input import parse_file

        if not self.prefixes and (self.regex or self.where or not self.recursive or self.folders):
            raise CommandError("--regex, --where, --no-recursive and --folders need a --prefix", code=EXIT_USAGE)
        filters: dict[str, Any] = {"regex": self.regex} if self.regex else {}
        if not self.recursive:
            filters["recursive"] = False
        if self.folders:
            filters["folders"] = True
        if self.where:
            filters["where"] = parse_where(self.where)
        entries: list[Any] = []
        for text in self.prefixes:
            given = parse_file(text, "--prefix")
            entries.append({"prefix": given.pop("source"), **given, **filters})
        if self.manifest and not self.pointer:
            entries += read_manifest_file(self.manifest)
        return entries


def parse_where(conditions: Sequence[str]) -> dict[str, Any]:
    """Parse conditions such as `size>0`. Raises CommandError."""
    where: dict[str, Any] = {}
    for text in conditions:
        found = _CONDITION.fullmatch(text)
        bound = _BOUNDS.get((found[1], found[2])) if found else None
        if found is None or bound is None:
            raise CommandError(
                f"--where {text}: should be like size>0, size<10MiB, age>60, age<3600, count>=1 or count<=5000",
                code=EXIT_USAGE,
            )
        value, bounds = found[3], where.setdefault(found[1], {})
        if bound in bounds:
            raise CommandError(f"--where {text}: {found[1]} has this bound already: name one", code=EXIT_USAGE)
        bounds[bound] = int(value) if value.isascii() and value.isdigit() else value
    return where


def read_manifest_file(file: str) -> list[Any]:
    """Return the entries of the manifest *file*, unchecked. Raises CommandError."""
    from archiver.core.manifest import MAX_MANIFEST_BYTES, read_values
    from archiver.core.manifest_json import ManifestError

    try:
        with Path(file).open("rb") as opened:
            data = opened.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise CommandError(f"{file}: can't be read: {error.strerror}", code=EXIT_USAGE) from None
    if len(data) > MAX_MANIFEST_BYTES:
        raise CommandError(f"{file}: has more than {MAX_MANIFEST_BYTES:,} bytes", code=EXIT_USAGE)
    try:
        entries = read_values(file, data)
    except ManifestError as error:
        raise CommandError(f"{file}: {error}", code=EXIT_USAGE) from None
    if not entries:
        raise CommandError(f"{file}: has no entry", code=EXIT_USAGE)
    return entries


def report_skipped(*, as_json: bool) -> None:
    """Print that a request has `on_empty: skip`, and nothing to archive."""
    print_note("skipped: the prefixes select no object, so there is no archive")
    if as_json:
        print_json({"status": "skipped"})


def parse_place(place: str, option: str = "--manifest-to") -> "Location":
    """Return the folder that *option* names, where files are put, with its `/`. Raises CommandError."""
    from archiver.core.locations import Location, parse_prefix
    from archiver.errors import Rejected

    try:
        location = parse_prefix(place, None)
    except Rejected:
        raise CommandError(f"{option} {place}: should be s3://bucket/prefix/", code=EXIT_USAGE) from None
    key = location.key if location.key.endswith("/") or not location.key else f"{location.key}/"
    return Location(location.bucket, key)


@dataclass(frozen=True, slots=True)
class Upload:
    """The files of a *request* that is too long: they become a manifest below *place*, `s3://bucket/prefix/`."""

    request: dict[str, Any]
    place: str

    @property
    def body(self) -> bytes:
        """The content of the manifest."""
        from archiver.core.strict_json import dump

        return dump({"files": self.request["files"]}).encode()

    @property
    def location(self) -> "Location":
        """The manifest. The same files have the same key. Raises CommandError."""
        from archiver.core.locations import Location

        prefix = parse_place(self.place)
        return Location(prefix.bucket, f"{prefix.key}{hashlib.sha256(self.body).hexdigest()}.json")

    @property
    def pointer(self) -> dict[str, Any]:
        """The request that names the manifest. Raises CommandError."""
        kept = {name: value for name, value in self.request.items() if name != "files"}
        return {**kept, "manifest": str(self.location)}

    async def run(self, settings: "Environment") -> None:
        """Upload the manifest. Raises CommandError, ConfigurationError, TransientError."""
        from archiver.app import open_aws
        from archiver.aws.clients import ClientLimits
        from archiver.aws.s3_store import S3Store

        location = self.location
        async with open_aws(ClientLimits(), settings) as (clients, _):
            await S3Store(clients, location.bucket).put_small(location.key, self.body, "application/json")
        print_note(f"the request is too long for a message: its files are in {location}")
