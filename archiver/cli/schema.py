"""`archiver schema`: print the JSON schemas of requests and answers."""

import typer

from archiver.cli.console import print_json


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: archiver schema | jq .request")(schema)


def schema() -> None:
    """Print the JSON schemas of requests, answers and progress events."""
    from archiver.core.schema import json_schema

    print_json(json_schema())
