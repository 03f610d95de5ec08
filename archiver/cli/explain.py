"""
`archiver explain`: what a code means, and what to do about it.

Its words, in codes.md, are the table of docs/operating.md, line for line.
"""

import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Annotated

import typer

from archiver.cli.console import EXIT_USAGE, CommandError, print_json, print_line, suggest


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: archiver explain source_denied")(explain)


@dataclass(frozen=True, slots=True)
class CodeExplanation:
    """One row of the table: what a code *means*, and what *to_do*. Markdown."""

    means: str
    to_do: str


def explain(
    code: Annotated[
        str | None, typer.Argument(metavar="[CODE]", help="As in an answer or dead letter; else all.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell what the code of a rejection means, and what to do about it."""
    explanations = load_explanations()
    if code not in (None, *explanations):
        raise CommandError(
            f"{code}: there is no such code{suggest(str(code), explanations)}; there are {', '.join(explanations)}",
            code=EXIT_USAGE,
        )
    chosen = explanations if code is None else {code: explanations[code]}
    if json_:
        print_json({name: {"means": one.means, "to_do": one.to_do} for name, one in chosen.items()})
        return
    for name, one in chosen.items():
        print_line(f"{name}: {one.means}")
        print_line(f"  → {one.to_do}")


def load_explanations() -> dict[str, CodeExplanation]:
    """Every code's row, in the order of the page."""
    text = (files("archiver.cli") / "codes.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|$", text, re.MULTILINE)
    return {code: CodeExplanation(means, to_do) for code, means, to_do in rows}
