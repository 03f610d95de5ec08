"""Which of the files that a command left go where."""

from collections.abc import Sequence
from dataclasses import dataclass

from archiver.core.command_order import Output
from archiver.core.locations import MAX_KEY_BYTES, Location
from archiver.errors import Rejected, SourceProblem


@dataclass(frozen=True, slots=True)
class Assigned:
    """*files*: the path of each, and where it goes; *left_behind*: the number of those that nobody asked for."""

    files: Sequence[tuple[str, Location]]
    left_behind: int


def assign_outputs(outputs: Sequence[Output], found: Sequence[str]) -> Assigned:
    """
    Assign the files at the paths *found*, which are relative to the run's directory. The first output that fits a file
    has it; those that are named come before prefixes.

    Raises Rejected: `output_missing` for a named one that is not there, `name_unsafe` for a name that is no key.
    """
    ordered = sorted(outputs, key=lambda output: output.is_prefix)
    made, files = set[str](), list[tuple[str, Location]]()
    for path in found:
        output = next((one for one in ordered if _fits(one, path)), None)
        if output is not None:
            made.add(output.path)
            files.append((path, _location(output, path)))
    missing = [output for output in ordered if not output.is_prefix and output.path not in made]
    if missing:
        names = ", ".join(output.destination[:200] for output in missing[:3]) + (", …" if len(missing) > 3 else "")  # noqa: PLR2004
        sources = [SourceProblem(output.destination, "output_missing") for output in missing]
        raise Rejected("output_missing", f"the command made no file for {names}", sources)
    return Assigned(files, len(found) - len(files))


def _fits(output: Output, path: str) -> bool:
    if output.is_prefix:
        return path.startswith(output.path)
    return path == output.path or path.startswith(f"{output.path}/")


def _location(output: Output, path: str) -> Location:
    """Return where the file goes: what its path has more than that of the output, the key has as well."""
    key = output.location.key + path[len(output.path) :]
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise Rejected("name_unsafe", f"the command made a file whose name is not UTF-8: {path[:200]!a}") from None
    if size > MAX_KEY_BYTES:
        raise Rejected("name_unsafe", f"the command made a file whose key would have {size} bytes: {path[:200]!a}")
    return Location(output.location.bucket, key)
