"""`archiver health`: check the worker of this container through its heartbeat file, for the container's HEALTHCHECK."""

import time
from pathlib import Path
from typing import Annotated

import typer

from archiver.cli.console import EXIT_FAILED, EXIT_USAGE, CommandError, environment, print_json, print_line


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: HEARTBEAT_FILE=/dev/shm/archiver.heartbeat archiver health")(health)


def health(json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """
    Check the worker's HEARTBEAT_FILE: exit code 1 if its event loop is stuck or receiving has failed for two minutes.
    """
    from archiver.worker.heartbeat import heartbeat_file_problem

    path = environment("HEARTBEAT_FILE").get("HEARTBEAT_FILE", "").strip()
    if not path:
        raise CommandError(
            "HEARTBEAT_FILE is not set; set it to the same file for the worker and for this command", code=EXIT_USAGE
        )
    problem = heartbeat_file_problem(Path(path), time.time())
    if json_:
        print_json({"healthy": problem is None, "trouble": problem})
    if problem is not None:
        raise CommandError(problem, code=EXIT_FAILED)
    if not json_:
        print_line("healthy")
