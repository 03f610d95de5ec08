"""The request alone decides which objects go into an archive, and under which names."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NoReturn, TypeVar

from archiver.core.locations import AllowList, Location, parse_source
from archiver.core.messages import (
    PROBLEMS_TOLD,
    Compression,
    File,
    OnDuplicate,
    OnMissing,
    Renamed,
    Request,
    told_briefly,
)
from archiver.core.paths import name_file
from archiver.core.pathset import TakenPaths, find_conflicts
from archiver.errors import Code, Rejected, SourceProblem

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rules:
    """
    What of the settings bears on what goes into an archive and where it goes. *compression* is for requests that name
    none; *key_secret* None: keys of archives can be guessed.
    """

    source_bucket: str | None
    destination_bucket: str
    allowed: AllowList
    compression: Compression = "store"
    file_prefix: str = "download"
    key_secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class DraftFile:
    """One file of a request: *source* as the request writes it, where that lies, and its final *path* in the zip."""

    source: str
    location: Location
    path: str


@dataclass(frozen=True, slots=True)
class Draft:
    """
    An archive as far as the request alone decides it. *skipped* are files left out under `on_duplicate: skip`, which
    *files* does not hold; *request_hash* is 64 hex digits that are equal for "the same request".
    """

    files: tuple[DraftFile, ...]
    skipped: tuple[SourceProblem, ...]
    renamed: tuple[Renamed, ...]
    on_missing: OnMissing
    compression: Compression
    request_hash: str


def draft_archive(request: Request, rules: Rules) -> Draft:
    """
    Settle all that can be settled without asking S3.

    Raises Rejected: `invalid_request`, `source_not_allowed`, `name_unsafe` or `name_conflict`, with all such files.
    """
    files = request.files
    locations = _for_each(files, "source", lambda file, _: parse_source(file.source, rules.source_bucket))
    _check_allowed(files, locations, rules.allowed)
    names = _for_each(files, "", lambda file, index: name_file(locations[index].key, file.destination, file.name))
    asked = [name.path for name in names]
    paths = _settle_conflicts(files, asked, request.on_duplicate)
    compression = request.compression or rules.compression
    settled = list(zip(files, locations, names, paths, strict=True))
    return Draft(
        files=tuple(DraftFile(file.source, location, path) for file, location, _, path in settled if path is not None),
        skipped=tuple(SourceProblem(file.source, "name_conflict") for file, _, _, path in settled if path is None),
        renamed=tuple(
            Renamed(file.source, name.asked, path)
            for file, _, name, path in settled
            if path is not None and path != name.asked
        ),
        on_missing=request.on_missing,
        compression=compression,
        request_hash=_hash(locations, asked, (request.on_missing, request.on_duplicate, compression)),
    )


def _for_each(files: Sequence[File], field_name: str, decide: Callable[[File, int], T]) -> list[T]:
    """Decide on each file. Raises Rejected for all that were refused: for `invalid_request`, where that is among it."""
    made: list[T] = []
    refused: list[tuple[int, Rejected]] = []
    for index, file in enumerate(files):
        try:
            made.append(decide(file, index))
        except Rejected as rejected:
            refused.append((index, rejected))
    if refused:
        code = "invalid_request" if any(each.code == "invalid_request" for _, each in refused) else refused[0][1].code
        _reject(code, files, {index: each.message for index, each in refused if each.code == code}, field_name)
    return made


def _check_allowed(files: Sequence[File], locations: Sequence[Location], allowed: AllowList) -> None:
    outside = {
        index: f"{str(location)[:200]} is outside of what requests may name here"
        for index, location in enumerate(locations)
        if not allowed.allows(location)
    }
    if outside:
        _reject("source_not_allowed", files, outside, "source")


def _settle_conflicts(files: Sequence[File], asked: list[str], on_duplicate: OnDuplicate) -> list[str | None]:
    """Give each file its final path, or None where it is skipped. Raises Rejected `name_conflict`."""
    paths: list[str | None] = list(asked)
    losers = find_conflicts(asked)
    if losers and on_duplicate == "fail":
        told = {index: f"needs {asked[index][:200]}, which another file takes, or a folder" for index in losers}
        _reject("name_conflict", files, told, "")
    taken = TakenPaths(asked) if losers and on_duplicate == "rename" else None
    for index in losers:
        paths[index] = taken.claim(asked[index]) if taken else None
    return paths


def _reject(code: Code, files: Sequence[File], told: Mapping[int, str], field_name: str) -> NoReturn:
    """Reject the request for the files that *told* holds by index, each with what is wrong."""
    dotted = f".{field_name}" if field_name else ""
    lines = [f"$.files[{index}]{dotted} {what}" for index, what in islice(told.items(), PROBLEMS_TOLD)]
    sources = [SourceProblem(files[index].source, code) for index in told]
    raise Rejected(code, told_briefly(lines, len(told)), sources)


def _hash(locations: Sequence[Location], asked: Sequence[str], options: tuple[str, ...]) -> str:
    triples = [(location.bucket, location.key, path) for location, path in zip(locations, asked, strict=True)]
    return hashlib.sha256(json.dumps([triples, *options], separators=(",", ":")).encode()).hexdigest()
