"""`archiver ecs-run`: run one request as an ECS task; with `--wait`, follow it to its end."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from archiver.cli import request_input
from archiver.cli.console import EXIT_INTERRUPTED, EXIT_USAGE, CommandError, environment
from archiver.cli.runner import run_async
from archiver.cli.task_run import Following, Order, TaskRun

if TYPE_CHECKING:
    from archiver.settings import Environment

EXAMPLE = (
    "Example: archiver ecs-run --cluster tools --container archiver --task archiver:1 --subnet subnet-1 --wait a.jpg"
)


def add_to(app: typer.Typer) -> None:
    app.command("ecs-run", epilog=EXAMPLE)(ecs_run)


Dsn = Annotated[
    str | None,
    typer.Option(
        "--ecs-dsn",
        metavar="DSN",
        help="region=… credentials=…: how ECS is called. Default: ARCHIVER_ECS_DSN, else the environment.",
    ),
]
RequestFile = Annotated[
    str | None, typer.Option("--request", metavar="FILE|-", help="File with the request as JSON; - is standard input.")
]

Cluster = Annotated[str | None, typer.Option(help="Cluster. Default: ARCHIVER_ECS_CLUSTER.")]
Task = Annotated[str | None, typer.Option(help="Task definition, family:revision. Default: ARCHIVER_ECS_TASK.")]
Container = Annotated[
    str | None, typer.Option(help="Its container with this program. Default: ARCHIVER_ECS_CONTAINER.")
]
Subnet = Annotated[
    list[str] | None, typer.Option(help="Subnets; comma-separated or repeated. Default: ARCHIVER_ECS_SUBNETS.")
]
SecurityGroup = Annotated[
    list[str] | None, typer.Option(help="Security groups, likewise. Default: ARCHIVER_ECS_SECURITY_GROUPS.")
]
PublicIp = Annotated[
    bool | None, typer.Option("--public-ip/--no-public-ip", help="Public IP. Default: ARCHIVER_ECS_PUBLIC_IP.")
]
RequestTo = Annotated[
    str | None,
    typer.Option(
        metavar="s3://BUCKET/PREFIX/",
        envvar="ARCHIVER_ECS_REQUEST_TO",
        help="Where to put a request that is too long for RunTask. Default: orders/ in S3_DESTINATION_BUCKET.",
    ),
]
Wait = Annotated[
    bool,
    typer.Option("--wait", envvar="ARCHIVER_ECS_WAIT", help="Wait for the task; the exit code is its container's."),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        envvar="ARCHIVER_ECS_TIMEOUT",
        help="With --wait: seconds after which the task is stopped. Default: none.",
        min=0,
    ),
]
StartTimeout = Annotated[
    float,
    typer.Option(
        envvar="ARCHIVER_ECS_START_TIMEOUT", help="With --wait: seconds that the task has to start; 0: no limit.", min=0
    ),
]
Logs = Annotated[
    bool, typer.Option("--logs/--no-logs", envvar="ARCHIVER_ECS_LOGS", help="With --wait: show the container's log.")
]
Detach = Annotated[
    bool,
    typer.Option(
        "--detach", envvar="ARCHIVER_ECS_DETACH", help="With --wait: Ctrl-C and --timeout leave the task running."
    ),
]


def ecs_run(
    uris: request_input.Uris = None,
    uri: request_input.MoreUris = None,
    request: RequestFile = None,
    job_id: request_input.JobId = None,
    ecs_dsn: Dsn = None,
    cluster: Cluster = None,
    task: Task = None,
    container: Container = None,
    subnet: Subnet = None,
    security_group: SecurityGroup = None,
    public_ip: PublicIp = None,
    request_to: RequestTo = None,
    wait: Wait = False,
    timeout: Timeout = None,
    start_timeout: StartTimeout = 900.0,
    logs: Logs = True,
    detach: Detach = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the parameters of RunTask; call nothing.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the task and its end as JSON.")] = False,
) -> None:
    """
    Run one request as an ECS task (Fargate) and print the task's ARN.

    Without --wait, the exit code says whether ECS has accepted the task.
    """
    body = request_input.build_body(_input(request, [*(uris or ()), *(uri or ())], job_id))
    options = {
        "ARCHIVER_ECS_CLUSTER": cluster,
        "ARCHIVER_ECS_TASK": task,
        "ARCHIVER_ECS_CONTAINER": container,
        "ARCHIVER_ECS_SUBNETS": ",".join(subnet or ()),
        "ARCHIVER_ECS_SECURITY_GROUPS": ",".join(security_group or ()),
        "ARCHIVER_ECS_PUBLIC_IP": None if public_ip is None else str(int(public_ip)),
        "ARCHIVER_ECS_DSN": ecs_dsn,
    }
    from archiver.cli.error_messages import errors_as_messages

    with errors_as_messages():
        run = _prepare(body, options, request_to)
    if dry_run:
        run.print_call()
        return
    follow = Following(wait, timeout, start_timeout or None, logs, detach)
    try:
        code = run_async(lambda: run.run(follow, as_json=json_), run.dsn.region if run.dsn else None)
    except CommandError as error:
        if error.code != EXIT_INTERRUPTED:
            raise
        raise run.interrupted(detach=detach) from None
    raise typer.Exit(code)


def _prepare(body: str, options: dict[str, str | None], request_to: str | None) -> TaskRun:
    """Raises CommandError, SettingsError."""
    from archiver.cli.dsn import parse_dsn_option
    from archiver.doors.tasks import task_target

    dsn = parse_dsn_option("--ecs-dsn", options.pop("ARCHIVER_ECS_DSN"))
    settings = _load(options)
    if dsn is None and settings.ecs_dsn is not None:
        dsn = parse_dsn_option("ARCHIVER_ECS_DSN", settings.ecs_dsn.get_secret_value())
    target = task_target(settings)
    return TaskRun(target, Order.of(body, target.container, request_to, settings.destination_bucket), dsn)


def _input(file: str | None, uris: Sequence[str], job_id: str | None) -> request_input.RequestInput:
    """Return the request of *file* and of *uris*, which are taken literally. Raises CommandError if there is none."""
    if file is None and not uris:
        message = "nothing to archive; name objects, or with --request a file that has the request"
        raise CommandError(message, code=EXIT_USAGE)
    request_input.check_uris(uris)
    files = [uri.replace("\\", "\\\\").replace("=", "\\=") for uri in uris]
    return request_input.RequestInput(file, files, (("job_id", job_id),))


def _load(options: dict[str, str | None]) -> "Environment":
    """Return the settings; *options* that were given take precedence over their variables."""
    from archiver.settings import load_environment

    given = {name: text for name, text in options.items() if text}
    return load_environment(environment() | given)
