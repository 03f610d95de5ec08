"""The options `--ecs-dsn` and `--lambda-dsn`."""

from typing import TYPE_CHECKING

from archiver.cli.console import EXIT_USAGE, CommandError

if TYPE_CHECKING:
    from archiver.core.dsn import Dsn


def parse_dsn_option(name: str, text: str | None) -> "Dsn | None":
    """Return the DSN *text* of the option or variable *name*; None if there is none. Raises CommandError."""
    from archiver.core.dsn import DsnError, parse_dsn

    if not text:
        return None
    try:
        return parse_dsn(text)
    except DsnError as error:
        raise CommandError(f"{name}: {error}", code=EXIT_USAGE) from None
