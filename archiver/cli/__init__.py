"""
The command line, for people, scripts and containers.

    command                            module
    run, local, demo                   worker                       the service
    send, create, plan                 send, create, plan           requests, with and without a queue
    verify, receipt, status            verify, receipt, status      archives
    touch                              touch                        flags: empty objects
    cancel                             cancel                       ends jobs
    sweep                              sweep                        what interrupted builds have left
    ecs-run, invoke, handle            ecs_run, invoke, handle      requests to ECS and Lambda; their other end
    check, iam-policy, dlq, health     check, policy, dlq, health   operation
    explain, schema                    explain, schema              error codes; format of requests and answers
    describe                           describe                     what the worker does, as JSON

Exit codes, the same for every command: 0 done; 1 negative result (rejected, damaged, unhealthy); 2 wrong arguments or
settings; 3 not determined, or may work later; 70 internal error; 130 after Ctrl-C; 141 if the reader of the output has
closed it.

Each command imports its heavy modules itself, so that `--version` and `--help` start quickly.
"""

import sys
from typing import Annotated

import typer

from archiver import __version__
from archiver.cli import (
    cancel,
    check,
    create,
    describe,
    dlq,
    ecs_run,
    explain,
    handle,
    health,
    invoke,
    plan,
    policy,
    receipt,
    schema,
    send,
    status,
    sweep,
    touch,
    verify,
    worker,
)
from archiver.cli.console import EXIT_BROKEN_PIPE, CommandError, discard_buffer, print_line
from archiver.cli.plain import Command, Group

app = typer.Typer(
    cls=Group,
    name="archiver",
    help="Builds zip archives from S3 objects, on request: a message in, an archive and a link out.",
    pretty_exceptions_enable=False,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(given: bool) -> None:
    if given:
        print_line(f"archiver {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", "-V", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """
    Builds zip archives from S3 objects, on request: a message in, an archive and a link out.

    Without a command: run the worker. Settings come from the environment.
    """
    del version
    if context.invoked_subcommand is None:
        worker.run()


for module in (
    worker,
    send,
    status,
    create,
    plan,
    verify,
    receipt,
    touch,
    cancel,
    sweep,
    check,
    policy,
    dlq,
    explain,
    health,
    schema,
    describe,
    ecs_run,
    invoke,
    handle,
):
    module.add_to(app)
for registered in (app, *(group.typer_instance for group in app.registered_groups)):
    for command in registered.registered_commands if registered else ():
        command.cls = Command


def main() -> None:
    """Run the command named by the arguments and exit with its code."""
    try:
        app(args=sys.argv[1:])
    except CommandError as error:
        error.report()
        sys.exit(error.code)
    except SystemExit as exit_:
        if isinstance(exit_.__context__, BrokenPipeError):  # raised while printing help
            discard_buffer(sys.stdout)
            sys.exit(EXIT_BROKEN_PIPE)
        raise
