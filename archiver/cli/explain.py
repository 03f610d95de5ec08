"""
`archiver explain`: print what an error code means and what to do.

The texts are in codes.md, which must equal the table of docs/operating.md line for line.
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
    """One row of the table, as Markdown: what the code *means* and what *to_do*."""

    means: str
    to_do: str


def explain(
    code: Annotated[
        str | None, typer.Argument(metavar="[CODE]", help="A code from an answer or a dead letter. Default: all codes.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what an error code means and what to do about it."""
    explanations = load_explanations()
    if code not in (None, *explanations):
        raise CommandError(
            f"{code}: unknown code{suggest(str(code), explanations)}; known codes: {', '.join(explanations)}",
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
    """Return the explanation of every code, in the order of codes.md."""
    text = (files("archiver.cli") / "codes.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|$", text, re.MULTILINE)
    return {code: CodeExplanation(means, to_do) for code, means, to_do in rows}
