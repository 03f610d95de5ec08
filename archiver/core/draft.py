"""Determine an archive's objects and paths from the request alone, before S3 is called."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn, TypeVar

from archiver.core.locations import AllowList, Location, parse_source
from archiver.core.messages import (
    Compression,
    File,
    OnArchived,
    OnDuplicate,
    OnMissing,
    Renamed,
    Request,
)
from archiver.core.paths import ArchivePath, resolve_path
from archiver.core.problems import MAX_PROBLEMS_LISTED, join_problems
from archiver.core.unique_paths import UniquePaths, find_conflicts
from archiver.core.waiting import Wait, WaitRules, plan_wait
from archiver.errors import Code, Rejected, SourceProblem

T = TypeVar("T")

_HASHED_OPTIONS = ("on_missing", "on_duplicate", "compression", "on_archived")
"""The options that, with `files`, identify a request."""

FOLDER_MARKER_PROBLEM = (
    "names a folder: its key ends in /. A prefix is not expanded: list the objects under it, "
    "or give the path of a file in `name`"
)


@dataclass(frozen=True, slots=True)
class ArchiveRules:
    """
    Settings that determine an archive's content and key. *compression*: for requests that do not set it. *key_secret*
    None: keys of archives can be guessed. *max_files*, *max_bytes* (of all bodies together) None: no limit.
    """

    source_bucket: str | None
    destination_bucket: str
    allowed: AllowList
    compression: Compression = "store"
    file_prefix: str = "download"
    key_secret: str | None = field(default=None, repr=False)
    max_files: int | None = None
    max_bytes: int | None = None
    waiting: WaitRules = field(default_factory=WaitRules)


@dataclass(frozen=True, slots=True)
class DraftFile:
    """One file of a request: its *source* as written in the request, the object, and its final *path* in the zip."""

    source: str
    location: Location
    path: str


@dataclass(frozen=True, slots=True)
class Draft:
    """
    The part of a plan that follows from the request alone. *files* excludes *unusable* sources, which
    `on_missing: skip` omits before S3 is called, and *skipped* files, which `on_duplicate: skip` omits.
    *request_hash*: 64 hex digits that identify the request. *wait*: what to wait for before the archive is built.
    """

    files: tuple[DraftFile, ...]
    unusable: tuple[SourceProblem, ...]
    skipped: tuple[SourceProblem, ...]
    renamed: tuple[Renamed, ...]
    on_missing: OnMissing
    compression: Compression
    request_hash: str
    on_archived: OnArchived | None = None
    wait: Wait | None = None

    def rejects(self, code: Code) -> bool:
        """Whether an object that can't be read, for the reason *code*, rejects the request."""
        if code == "source_archived" and self.on_archived in ("fail", "skip"):
            return self.on_archived == "fail"
        return self.on_missing == "fail"


def draft_archive(request: Request, rules: ArchiveRules) -> Draft:
    """
    Resolve the sources and paths of *request*, without calling S3.

    Raises Rejected: `invalid_request`, `source_not_allowed`, `name_unsafe` or `name_conflict`. It lists all such files.
    """
    wait = plan_wait(request, rules.waiting)
    files = request.files
    locations = _map_files(files, "source", lambda file, _: parse_source(file.source, rules.source_bucket))
    _check_allowed(files, locations, rules.allowed)
    fails = request.on_missing == "fail"
    names = _map_files(files, "", lambda file, index: _path_or_reject(file, locations[index].key, fails=fails))
    # Equal sources are the same object: if one is unusable for one file, it is for the others.
    unusable = {file.source for file, name in zip(files, names, strict=True) if name is None}
    requested = [
        None if name is None or file.source in unusable else name for file, name in zip(files, names, strict=True)
    ]
    paths = _resolve_conflicts(files, requested, request.on_duplicate)
    resolved = list(zip(files, locations, requested, paths, strict=True))
    return Draft(
        files=tuple(DraftFile(file.source, location, path) for file, location, _, path in resolved if path is not None),
        unusable=tuple(
            SourceProblem(file.source, "invalid_request", FOLDER_MARKER_PROBLEM)
            for file in files
            if file.source in unusable
        ),
        skipped=tuple(
            SourceProblem(file.source, "name_conflict") for file, _, name, path in resolved if name and not path
        ),
        renamed=tuple(
            Renamed(file.source, name.requested, path)
            for file, _, name, path in resolved
            if name and path not in (None, name.requested)
        ),
        on_missing=request.on_missing,
        compression=request.compression or rules.compression,
        request_hash=_request_hash(request),
        on_archived=request.on_archived,
        wait=wait,
    )


def _path_or_reject(file: File, key: str, *, fails: bool) -> ArchivePath | None:
    """Resolve the file's path; None for a folder marker. With *fails*, a folder marker raises Rejected."""
    name = resolve_path(key, file.destination, file.name)
    if name is None and fails:
        raise Rejected("invalid_request", FOLDER_MARKER_PROBLEM)
    return name


def _map_files(files: Sequence[File], field_name: str, decide: Callable[[File, int], T]) -> list[T]:
    """
    Call *decide* for each file. If calls raise Rejected, raises one Rejected that lists all files with the same code:
    `invalid_request` if it occurred, else the first code.
    """
    dotted = f".{field_name}" if field_name else ""
    results: list[T] = []
    refused: dict[Code, list[int]] = {}
    problems: dict[Code, list[str]] = {}  # texts, because exceptions would keep their tracebacks in memory
    for index, file in enumerate(files):
        try:
            results.append(decide(file, index))
        except Rejected as rejected:
            refused.setdefault(rejected.code, []).append(index)
            if len(lines := problems.setdefault(rejected.code, [])) < MAX_PROBLEMS_LISTED:
                lines.append(f"$.files[{index}]{dotted} {rejected.message}")
    if refused:
        worst: Code = "invalid_request" if "invalid_request" in refused else next(iter(refused))
        _reject(worst, files, refused[worst], problems[worst])
    return results


def _check_allowed(files: Sequence[File], locations: Sequence[Location], allowed: AllowList) -> None:
    outside = [index for index, location in enumerate(locations) if not allowed.allows(location)]
    if outside:
        problems = [
            f"$.files[{index}].source {str(locations[index])[:200]} is outside the allowed sources"
            for index in outside[:MAX_PROBLEMS_LISTED]
        ]
        _reject("source_not_allowed", files, outside, problems)


def _resolve_conflicts(
    files: Sequence[File], requested: Sequence[ArchivePath | None], on_duplicate: OnDuplicate
) -> list[str | None]:
    """Return each file's final path; None if it has no path or is skipped. Raises Rejected `name_conflict`."""
    paths = [None if name is None else name.path for name in requested]
    wanted = {index: path for index, path in enumerate(paths) if path is not None}
    indices, named = list(wanted), list(wanted.values())
    losers = [indices[loser] for loser in find_conflicts(named)]
    if losers and on_duplicate == "fail":
        problems = [
            f"$.files[{index}] has the path {wanted[index][:200]}, which another file or a folder uses"
            for index in losers[:MAX_PROBLEMS_LISTED]
        ]
        _reject("name_conflict", files, losers, problems)
    taken = UniquePaths(named) if losers and on_duplicate == "rename" else None
    for index in losers:
        paths[index] = taken.allocate(wanted[index]) if taken else None
    return paths


def _reject(code: Code, files: Sequence[File], refused: Sequence[int], problems: Sequence[str]) -> NoReturn:
    """Raise Rejected for the files with the indices *refused*. *problems*: texts of the first ones."""
    sources = [SourceProblem(files[index].source, code) for index in refused]
    raise Rejected(code, join_problems(problems, len(refused)), sources)


def _request_hash(request: Request) -> str:
    """
    Hash the request as written. Settings, defaults and repaired names are not included, so that a deployment or a
    release does not change the hash. Null and empty text count as absent, and `directory` counts as `destination`.
    """
    options = {name: getattr(request, name) for name in _HASHED_OPTIONS if name in request.model_fields_set}
    digest = hashlib.sha256()
    digest.update(_json_line(options))
    for file in request.files:
        digest.update(_json_line([file.source, file.destination or None, file.name or None]))
    return digest.hexdigest()


def _json_line(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode() + b"\n"
