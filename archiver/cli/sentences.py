"""Errors as sentences that a person can act on, and the exit code that goes with each."""

from collections.abc import Iterator
from contextlib import contextmanager

from archiver.aws.faults import NotThere
from archiver.cli.console import LATER, NO, USAGE, Problem
from archiver.errors import ArchiverError, ConfigurationFault, Rejected, Temporary
from archiver.settings import SettingsError


@contextmanager
def told() -> Iterator[None]:
    """Errors of ours that leave the block become a Problem."""
    try:
        yield
    except SettingsError as error:
        raise Problem(*error.problems, code=USAGE) from error
    except ArchiverError as error:
        raise problem_of(error) from error


def problem_of(error: ArchiverError) -> Problem:
    """What to say of *error*."""
    if isinstance(error, Rejected):
        return Problem(f"{error.code}: {error.message}", code=NO)
    if isinstance(error, NotThere):
        return Problem(f"this does not exist: {error}", code=USAGE)
    if isinstance(error, ConfigurationFault):
        return Problem(str(error), code=USAGE)
    if isinstance(error, Temporary):
        return Problem(f"{error}: try again", code=LATER)
    return Problem(str(error), code=NO)
