"""One run of a command: its words, environment and limits, and what becomes of what it prints."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from secrets import token_hex

from archiver.command.docker import DIRECTORY, ContainerRun, docker_spec, open_to_container
from archiver.command.files import open_file
from archiver.command.native import Spec
from archiver.command.run import Ended, RunLimits, environment, file_pieces, run
from archiver.command.space import JobDirectory, WorkSpace
from archiver.command.streams import Meter, Metered, ProgressLines, Sink, Streams, Tail, text_pieces
from archiver.core.command_order import CommandOrder
from archiver.core.command_result import StreamResult
from archiver.core.commands import CommandCredentials
from archiver.core.locations import Location
from archiver.jobs.command_outputs import OutputWriter, patiently
from archiver.stages.budget import BufferPool, Reservation
from archiver.stages.from_files import StreamedObject
from archiver.stages.progress import Progress

MAX_PROCESSES = 512
"""That a native command may have more than its user has at its start."""

OPEN_FILES = 1024

VariablesOf = Callable[[CommandCredentials], Awaitable[Mapping[str, str]]]
"""Returns the variables that make a command use its credentials."""


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended, and what it printed."""

    ended: Ended
    stdout: StreamResult
    stderr: StreamResult


class Runner:
    """
    Runs commands in *space*. *variables*: of commands with credentials. *longest*: seconds that any may take, which is
    less than its source holds a message.
    """

    def __init__(self, space: WorkSpace, budget: BufferPool, variables: VariablesOf, longest: float) -> None:
        self.space = space
        self._budget = budget
        self._variables = variables
        self._longest = longest

    async def run(
        self, order: CommandOrder, directory: JobDirectory, outputs: OutputWriter, progress: Progress
    ) -> RunEnd:
        """
        Run the command. Streams with objects are stored whatever its end.

        Raises ConfigurationError if it can't be started; Rejected, TransientError, LeaseLost of the streams; OSError.
        """
        secrets: Mapping[str, str] = {}
        if order.command.credentials is not None:
            secrets = await self._variables(order.command.credentials)
        spec = self._spec(order, directory, secrets)
        limits = RunLimits(min(order.command.limits.timeout, self._longest), order.command.limits.disk)
        progress.fraction = 0.0

        def report(fraction: float) -> None:
            progress.fraction = fraction

        async with AsyncExitStack() as stack:
            stdout, stderr = await _open_sinks(stack, order, outputs, self._budget)
            stdin = await stack.enter_async_context(_stdin(order, directory))
            meter = Meter(limits.disk)
            streams = Streams(stdin, _bounded(stdout, meter), ProgressLines(_bounded(stderr, meter), report), meter)
            ended = await run(spec, directory, limits, streams)
            return RunEnd(ended, await _finish(stdout, order.stdout), await _finish(stderr, order.stderr))

    def _spec(self, order: CommandOrder, directory: JobDirectory, secrets: Mapping[str, str]) -> Spec:
        command = order.command
        if command.container is not None:
            open_to_container(directory.path)
            run_id, has_stdin = token_hex(8), bool(order.stdin)
            argv, worker = order.words(DIRECTORY), self.space.worker
            container_run = ContainerRun(command, argv, run_id, worker, directory.path, has_stdin, secrets)
            return docker_spec(container_run, command.container)
        limits = {
            "RLIMIT_AS": command.limits.memory,
            "RLIMIT_FSIZE": command.limits.disk,
            "RLIMIT_NPROC": MAX_PROCESSES,
            "RLIMIT_NOFILE": OPEN_FILES,
            "RLIMIT_CORE": 0,
        }
        env = environment(directory.path, {**secrets, **command.env})
        return Spec(order.words(str(directory.path)), env, directory.path / "work", limits)


@asynccontextmanager
async def _stdin(order: CommandOrder, directory: JobDirectory) -> AsyncIterator[AsyncIterator[bytes]]:
    if isinstance(order.stdin, str):
        yield text_pieces(order.stdin)
        return
    with open_file(directory.descriptor, order.stdin.path) as descriptor:
        yield file_pieces(descriptor)


async def _open_sinks(
    stack: AsyncExitStack, order: CommandOrder, outputs: OutputWriter, budget: BufferPool
) -> tuple[Tail | StreamedObject, Tail | StreamedObject]:
    """Return what takes standard output and error. Both buffers are reserved together, or jobs could wait in a ring."""
    places = [one for one in (order.stdout, order.stderr) if one is not None]
    buffers: Reservation | None = None
    if places:
        size = outputs.writer(places[0]).stream_part_size()
        buffers = await stack.enter_async_context(budget.reservation(size, len(places)))

    async def sink(location: Location | None) -> Tail | StreamedObject:
        if location is None or buffers is None:
            return Tail(order.command.limits.output)
        opened = outputs.writer(location).stream(outputs.target(location), buffers)
        return await stack.enter_async_context(opened)

    return await sink(order.stdout), await sink(order.stderr)


def _bounded(sink: Tail | StreamedObject, meter: Meter) -> Sink:
    """Objects are outputs: together, they have no more bytes than the command's disk."""
    return sink if isinstance(sink, Tail) else Metered(sink, meter)


async def _finish(sink: Tail | StreamedObject, location: Location | None) -> StreamResult:
    if isinstance(sink, Tail):
        return StreamResult(sink.size, sink.text(), truncated=sink.truncated)
    stored = await patiently(sink.finish)
    return StreamResult(stored.size, uri=str(location))
