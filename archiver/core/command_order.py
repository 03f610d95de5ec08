"""
What a request for a command becomes once it is decided: words, files and limits. Nothing in it is interpreted again.

Files of a run are in its own directory: `in/{bucket}/{key}` and `out/{bucket}/{key}`, so that objects that lie beside
each other in S3 do so here, under their own names.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from archiver.core.commands import Command
from archiver.core.locations import Location
from archiver.core.paths import MAX_COMPONENT_BYTES
from archiver.errors import Rejected, SourceProblem


@dataclass(frozen=True, slots=True)
class LocalPath:
    """A part of a word that is a file: *path* is relative to the run's directory."""

    path: str


@dataclass(frozen=True, slots=True)
class Word:
    """One word of the command line, whatever characters it contains."""

    pieces: tuple[str | LocalPath, ...]

    def render(self, directory: str) -> str:
        """Return the word. *directory*: of the run, as the command sees it, without a `/` at its end."""
        return "".join(piece if isinstance(piece, str) else f"{directory}/{piece.path}" for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class Input:
    """
    An object that is read before the command starts, or all objects whose keys begin with that key (*is_prefix*).
    *source*: as the request writes it. *path*: of the object, relative to the run's directory; "" for a prefix.
    """

    source: str
    location: Location
    path: str
    is_prefix: bool = False


@dataclass(frozen=True, slots=True)
class Output:
    """
    What is uploaded after the command succeeded. An argument's output is one file, or all files below a directory of
    that name, and must be there; otherwise (*is_prefix*) whatever has a path that begins with *path*.
    """

    destination: str
    location: Location
    path: str
    is_prefix: bool = False


@dataclass(frozen=True, slots=True)
class Confined:
    """
    A local path that, with all symbolic links followed, must be the folder *under* or below it. Who runs the command
    looks: here, only the text of the path is known to be.
    """

    path: str
    under: str


@dataclass(frozen=True, slots=True)
class CommandOrder:
    """
    One run of *command*. *argv*: its words. *stdin*: text, or one of the *inputs*. *stdout*, *stderr*: the object
    that is written, whatever the command's end; None: the answer has the text. *confined*: checked right before the
    start; *awaited*: these must exist first.
    """

    command: Command
    argv: tuple[Word, ...]
    request_hash: str
    stdin: str | Input = ""
    stdout: Location | None = None
    stderr: Location | None = None
    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] = ()
    confined: tuple[Confined, ...] = ()
    awaited: tuple[Confined, ...] = ()

    def words(self, directory: str) -> list[str]:
        """Return the command line for a run in *directory*, as the command sees it."""
        return [word.render(directory) for word in self.argv]


def local_path(side: Literal["in", "out"], location: Location) -> str:
    """
    Return the path of the file for *location*, relative to the run's directory.

    Raises Rejected (`name_unsafe`) for a key that is no path of a file as it stands: a part of it is
    empty, `.`, `..` or too long, or it has a NUL.
    """
    problem = _path_problem(location)
    if problem is not None:
        source = SourceProblem(str(location), "name_unsafe")
        raise Rejected("name_unsafe", f"{str(location)[:200]} {problem}", [source])
    return f"{side}/{location.bucket}/{location.key}"


def _path_problem(location: Location) -> str | None:
    parts = location.key.split("/")
    if any(part in {"", ".", ".."} for part in parts):
        return "can't be a file: a part of its key is empty, `.` or `..`"
    if "\0" in location.key:
        return "can't be a file: its key has a NUL"
    if any(len(part.encode()) > MAX_COMPONENT_BYTES for part in parts):
        return f"can't be a file: a part of its key has more than {MAX_COMPONENT_BYTES} bytes"
    return None


def check_tree(paths: Iterable[str]) -> None:
    """
    Refuse files of which one is where another needs a folder. *paths*: of `local_path`.

    Raises Rejected (`name_conflict`).
    """
    files = set(paths)
    for path in sorted(files):
        folder = path
        while folder := folder.rpartition("/")[0]:
            if folder in files:
                raise Rejected("name_conflict", f"{path[:200]} needs a folder where {folder[:200]} is a file")
