"""`archiver health`: whether the worker beside us is well. What a container's HEALTHCHECK asks."""

import time
from pathlib import Path
from typing import Annotated

import typer

from archiver.cli.console import NO, USAGE, Problem, environment, say, say_json


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: HEARTBEAT_FILE=/dev/shm/archiver.heartbeat archiver health")(health)


def health(json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """
    Look at the worker's HEARTBEAT_FILE: exit 1 where its event loop is stuck, or receiving has failed for two minutes.
    """
    from archiver.worker.heartbeat import trouble_of

    name = environment().get("HEARTBEAT_FILE", "").strip()
    if not name:
        raise Problem(
            "HEARTBEAT_FILE is not set: set it to the same file for the worker and for this command", code=USAGE
        )
    trouble = trouble_of(Path(name), time.time())
    if json_:
        say_json({"healthy": trouble is None, "trouble": trouble})
    if trouble is not None:
        raise Problem(trouble, code=NO)
    if not json_:
        say("well")
