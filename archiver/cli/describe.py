"""`archiver describe`: what a worker with these settings does, as JSON."""

from collections.abc import Mapping

import typer

from archiver.cli.console import EXIT_USAGE, CommandError, environment, print_json


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: DESCRIBE=1 archiver")(describe)


def describe() -> None:
    """
    Print what a worker with these settings does, as JSON: queue, version, and the parameters of its jobs.

    AWS is not called.
    """
    from archiver.settings import SettingsError

    try:
        print_description(environment())
    except SettingsError as error:
        raise CommandError(*error.problems, code=EXIT_USAGE) from None


def print_description(environ: Mapping[str, str]) -> None:
    """Print the description of a worker with the settings in *environ*. Raises SettingsError."""
    from archiver.doors.description import description_of
    from archiver.settings import load_environment

    print_json(description_of(load_environment(environ)))
