"""One run of a one-off ECS task: its order, its start, its end, and what becomes of it after Ctrl-C."""

import hashlib
import shlex
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from archiver.cli.console import (
    EXIT_INTERRUPTED,
    EXIT_RETRY_LATER,
    EXIT_USAGE,
    CommandError,
    print_json,
    print_line,
    print_note,
    write_error,
)
from archiver.cli.runner import run_async

if TYPE_CHECKING:
    from archiver.aws.dsn_session import Access
    from archiver.aws.task_log import TaskLog
    from archiver.aws.tasks import EcsTasks
    from archiver.core.dsn import Dsn
    from archiver.core.locations import Location
    from archiver.core.task_wait import TaskEnd
    from archiver.core.tasks import StartedTask, TaskTarget

STOP_REASON = "archiver ecs-run: interrupted, or the time is over"
ORDERS_FOLDER = "orders/"  # in the bucket of the archives


@dataclass(frozen=True, slots=True)
class Following:
    """Whether and how long a task is waited for. *limit* and *start_limit* in seconds; None: no limit."""

    wait: bool
    limit: float | None
    start_limit: float | None
    logs: bool
    detach: bool


@dataclass(frozen=True, slots=True)
class Order:
    """What the task does. *body*: the request; *location*: where it is put if it is too long for the call."""

    body: str
    location: "Location | None" = None

    @classmethod
    def of(cls, body: str, container: str, place: str | None, bucket: str | None) -> "Order":
        """
        Return the order *body* for *container*. *place*: `s3://bucket/prefix/` for one that is too long; None: a folder
        of *bucket*. Raises CommandError if it is too long and there is neither.
        """
        from archiver.cli.selection_input import parse_place
        from archiver.core.locations import Location
        from archiver.core.tasks import fits_overrides

        if fits_overrides(container, body):
            return cls(body)
        if place is None and bucket is None:
            message = "the request is too long for RunTask; name a place for it with --request-to s3://bucket/prefix/"
            raise CommandError(message, code=EXIT_USAGE)
        folder = parse_place(place or f"s3://{bucket}/{ORDERS_FOLDER}", "--request-to")
        name = hashlib.sha256(body.encode()).hexdigest()
        return cls(body, Location(folder.bucket, f"{folder.key}{name}.json"))

    @property
    def text(self) -> str:
        """The order, as the task gets it."""
        return str(self.location) if self.location else self.body


@dataclass(slots=True)
class TaskRun:
    """
    One task, from its start to its end. *dsn*: how ECS is called, None: as the environment says. *asked*: ECS was asked
    to start it; *task*: it has.
    """

    target: "TaskTarget"
    order: Order
    dsn: "Dsn | None" = None
    asked: bool = False
    task: "StartedTask | None" = None
    _token: str = field(default_factory=lambda: token_hex(16))

    def call(self) -> dict[str, Any]:
        """Return the parameters of RunTask. The token is new for each command: botocore's retries have the same."""
        from archiver.core.tasks import run_task_call

        return run_task_call(self.target, self.order.text, self._token)

    def print_call(self) -> None:
        if self.order.location:
            print_note(f"the request would be put to {self.order.location}")
        print_json(self.call())

    async def run(self, follow: Following, *, as_json: bool) -> int:
        """Start the task and, if asked to, wait for its end; return the exit code. Raises ArchiverError."""
        from archiver.aws.dsn_session import open_access
        from archiver.aws.task_input import put_order
        from archiver.aws.tasks import EcsTasks

        access = open_access(self.dsn)
        if self.order.location:
            await put_order(access, self.order.location, self.order.body)
            print_note(f"the request is too long for RunTask: it is in {self.order.location}")
        async with access.client("ecs", read=15) as client:
            tasks = EcsTasks(client)
            self.asked = True
            self.task = await tasks.run(self.call())
            if not as_json:
                print_line(self.task.arn)
            with self._still_running():
                end = await self._follow(tasks, access, follow, as_json=as_json) if follow.wait else None
        if as_json:
            ending = {"exit_code": end.exit_code, "message": end.sentence} if end else {}
            print_json({"task": self.task.arn, **ending})
        return end.exit_code if end else 0

    @contextmanager
    def _still_running(self) -> Iterator[None]:
        """
        Errors after the start say nothing of the task: it goes on. Their exit code must not be that of a task that was
        never started.
        """
        from archiver.cli.error_messages import to_command_error
        from archiver.errors import ArchiverError

        try:
            yield
        except ArchiverError as error:
            told = to_command_error(error, self.dsn.region if self.dsn else None)
            arn = self.task.arn if self.task else "task"
            raise CommandError(
                *told.sentences, f"the task was started and may still run: {arn}", code=EXIT_RETRY_LATER
            ) from error

    async def _follow(self, tasks: "EcsTasks", access: "Access", follow: Following, *, as_json: bool) -> "TaskEnd":
        from archiver.cli.task_follower import TaskFollower
        from archiver.core.task_wait import TaskWait

        if self.task is None:
            raise AssertionError
        cluster, container = self.target.cluster, self.target.container
        opening = open_log(tasks, access, self.task, container) if follow.logs else nullcontext()
        async with opening as log:
            show = print_note if as_json else print_line
            follower = TaskFollower(tasks, log, self.task, cluster, container, show, print_note)
            end = await follower.follow(TaskWait(follow.limit, follow.start_limit))
        if end.is_running and not follow.detach:
            await tasks.stop(cluster, self.task.arn, STOP_REASON)
            end = replace(end, sentence=f"{end.sentence}; it is being stopped (--detach leaves it running)")
        print_note(end.sentence)
        return end

    def interrupted(self, *, detach: bool) -> CommandError:
        """Return what to say after Ctrl-C; a person is asked whether the task goes on."""
        cluster = shlex.quote(self.target.cluster)
        if not self.asked:
            return CommandError("interrupted; no task was started", code=EXIT_INTERRUPTED)
        if self.task is None:
            look = f"aws ecs list-tasks --cluster {cluster} --started-by archiver"
            return CommandError(f"interrupted; the task may have been started: see {look}", code=EXIT_INTERRUPTED)
        refused: tuple[str, ...] = ()
        if not detach and asks_to_stop(self.task.id):
            try:
                run_async(self._stop)
            except CommandError as error:
                refused = error.sentences
            else:
                return CommandError(f"interrupted; the task is being stopped: {self.task.arn}", code=EXIT_INTERRUPTED)
        stop = f"aws ecs stop-task --cluster {cluster} --task {self.task.id}"
        return CommandError(*refused, f"interrupted; the task goes on; to stop it: {stop}", code=EXIT_INTERRUPTED)

    async def _stop(self) -> None:
        from archiver.aws.dsn_session import open_access
        from archiver.aws.tasks import EcsTasks

        if self.task is None:
            raise AssertionError
        async with open_access(self.dsn).client("ecs", read=15) as client:
            await EcsTasks(client).stop(self.target.cluster, self.task.arn, STOP_REASON)


def asks_to_stop(task_id: str) -> bool:
    """Ask a person whether the task *task_id* is to be stopped. Without a terminal it is not."""
    if sys.stdin is None or not sys.stdin.isatty():
        return False
    write_error(f"stop the task {task_id}? [y/N] ")
    try:
        return sys.stdin.readline().strip().lower() in {"y", "yes"}
    except KeyboardInterrupt:
        return False


@asynccontextmanager
async def open_log(
    tasks: "EcsTasks", access: "Access", task: "StartedTask", container: str
) -> AsyncIterator["TaskLog | None"]:
    """The log of *container*; None, with a note, if it can't be read."""
    from archiver.aws.task_log import TaskLog
    from archiver.errors import ArchiverError

    try:
        stream = await tasks.log_stream(task, container)
    except ArchiverError as error:
        print_note(f"the container's log can't be shown: {error}")
        stream = None
    else:
        if stream is None:
            print_note("the container's log can't be shown: it has no log driver awslogs with a stream prefix")
    if stream is None:
        yield None
        return
    async with access.client("logs", read=15, region=stream.region or None) as client:
        yield TaskLog(client, stream)
