"""
Commands: the work that runs a program of the operator's over objects in S3.

    order ─▶ remembered? ─▶ inputs ─▶ program ─▶ outputs ─▶ remembered

A command runs at least once, and its success is remembered, so a redelivery is answered from it; or, where the operator
wants that instead, it is started at most once.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import monotonic

import structlog

from archiver.command.files import create_file
from archiver.command.space import JobDirectory
from archiver.core.archive_rules import ArchiveRules
from archiver.core.command_order import CommandOrder, Confined
from archiver.core.command_result import CommandResult
from archiver.core.command_verdict import ProgramEnd, judge
from archiver.core.messages import Request
from archiver.errors import ConfigurationError, Rejected, SourceProblem, TransientError
from archiver.jobs.command_inputs import InputReader
from archiver.jobs.command_memory import CommandMemory, Mark, Remembered
from archiver.jobs.command_outputs import OutputBuckets, OutputWriter, patiently
from archiver.jobs.command_run import RunEnd, Runner
from archiver.jobs.identity import JobIdentity
from archiver.jobs.work import Result
from archiver.ports import Hold
from archiver.stages.progress import Progress

log = structlog.get_logger(__name__)

FIRST_LOOK_SECONDS, MAX_LOOK_SECONDS = 1.0, 60.0
"""Between two looks for files that must exist first: 1, 2, 4 … seconds."""


@dataclass(frozen=True, slots=True)
class JobOrder:
    """One command to run, for one job."""

    order: CommandOrder
    job: JobIdentity

    @property
    def remembered(self) -> Remembered:
        return Remembered(self.job, self.order.request_hash)


class CommandWork:
    """Runs commands. One for the process; it keeps no state of a job."""

    def __init__(
        self, rules: ArchiveRules, *, inputs: InputReader, runner: Runner, buckets: OutputBuckets, memory: CommandMemory
    ) -> None:
        self._rules = rules
        self._inputs = inputs
        self._runner = runner
        self._buckets = buckets
        self._memory = memory

    def prepare(self, request: Request, job: JobIdentity) -> JobOrder:
        """Raises Rejected."""
        return JobOrder(self._rules.order_command(request), job)

    async def do(self, order: JobOrder, hold: Hold, progress: Progress) -> Result:
        """Raises Rejected (CommandRejected, if the command ran), TransientError, ConfigurationError, LeaseLost."""
        remembered = await self._memory.find(order.remembered)
        if remembered is not None:
            return _result(remembered)
        await self._await(order.order.awaited, hold, progress)
        disk = order.order.command.limits.disk
        if disk > self._runner.space.total:
            raise ConfigurationError(f"the command's disk of {disk:,} bytes is more than WORK_DISK_MIB")
        async with self._runner.space.job(disk) as directory:
            result = await self._run(order, directory, hold, progress)
        return _result(result)

    async def _run(self, order: JobOrder, directory: JobDirectory, hold: Hold, progress: Progress) -> CommandResult:
        outputs = OutputWriter(self._buckets, order.order, order.job, hold)
        await outputs.check()
        create = partial(create_file, directory.descriptor)
        inputs = await self._inputs.read(order.order, create, progress)
        check_confined(order.order.confined)
        outputs.make_folders(directory)
        async with AsyncExitStack() as stack:
            mark = Mark()
            if order.order.command.at_most_once:
                mark = await stack.enter_async_context(self._memory.started(order.remembered, hold))
            hold.confirm()
            end = await self._start(order.order, directory, outputs, mark, progress)
            result = _described(order.order, end, inputs)
            problem = judge(order.order.command, _program_end(end), result)
            log.info(
                "command.ended",
                command=result.name,
                exit_code=result.exit_code,
                signal=result.signal,
                stopped=end.ended.stopped,
                seconds=round(result.seconds, 3),
            )
            if problem is not None:
                mark.may_run_again = isinstance(problem, TransientError | ConfigurationError)
                raise problem
            stored, left_behind = await outputs.store(directory, result.streamed)
            result = replace(result, outputs=stored, left_behind=left_behind)
            return await patiently(lambda: self._memory.remember(order.remembered, result, hold))

    async def _start(
        self, order: CommandOrder, directory: JobDirectory, outputs: OutputWriter, mark: Mark, progress: Progress
    ) -> RunEnd:
        """Run the command; one that could not be started may run again."""
        try:
            return await self._runner.run(order, directory, outputs, progress)
        except ConfigurationError:
            mark.may_run_again = True
            raise

    async def _await(self, paths: Sequence[Confined], hold: Hold, progress: Progress) -> None:
        """Wait without a slot until all *paths* exist. Raises Rejected (`source_missing`) when the time is over."""
        missing = await asyncio.to_thread(find_missing, paths)
        if not missing:
            return
        deadline, pause = monotonic() + self._rules.waiting.limit, FIRST_LOOK_SECONDS
        async with hold.parked():
            while missing:
                progress.awaited = len(missing)
                if monotonic() + pause > deadline:
                    sources = [SourceProblem(path, "source_missing") for path in missing]
                    shown = ", ".join(path[:200] for path in missing[:3])
                    raise Rejected("source_missing", f"{len(missing)} required files do not exist: {shown}", sources)
                await asyncio.sleep(pause)
                pause = min(MAX_LOOK_SECONDS, 2 * pause)
                missing = await asyncio.to_thread(find_missing, paths)
        progress.awaited = 0


def check_confined(paths: Sequence[Confined]) -> None:
    """Raise Rejected (`command_not_allowed`) for a path that leaves its folder by a symbolic link."""
    for one in paths:
        path, under = Path(one.path).resolve(), Path(one.under).resolve()
        if path != under and under not in path.parents:
            raise Rejected("command_not_allowed", f"{one.path[:200]} leads out of {one.under} by a symbolic link")


def find_missing(paths: Sequence[Confined]) -> list[str]:
    """Return those of *paths* that do not exist. Raises as `check_confined` does."""
    check_confined(paths)
    return [one.path for one in paths if not Path(one.path).exists()]


def _program_end(end: RunEnd) -> ProgramEnd:
    return ProgramEnd(end.ended.exit.code, end.ended.exit.signal, end.ended.stopped)


def _described(order: CommandOrder, end: RunEnd, inputs: int) -> CommandResult:
    ended = end.ended
    return CommandResult(
        order.command.name,
        ended.exit.code,
        ended.exit.signal,
        round(ended.seconds, 3),
        end.stdout,
        end.stderr,
        inputs=inputs,
    )


def _result(result: CommandResult) -> Result:
    size = sum(output.size for output in result.outputs)
    return Result("succeeded", files=len(result.outputs), size=size, command=result, reused=result.reused)
