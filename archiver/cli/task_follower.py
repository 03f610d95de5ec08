"""Waits for a one-off task: looks at its state, and shows what its container writes meanwhile."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from archiver.core.task_wait import TaskEnd, TaskWait
from archiver.core.tasks import StartedTask, TaskState
from archiver.errors import ArchiverError, TransientError

POLL_SECONDS = 6.0  # between two looks, as of the SDK's own waiter
MAX_FAILED_LOOKS = 20  # in a row, each of several attempts: ten minutes at least
LAST_LOOKS = 3  # at the log of a task that has stopped: CloudWatch shows the last lines some seconds later
LAST_LOOK_SECONDS = 2.0


class Tasks(Protocol):
    """What looks at tasks."""

    async def describe(self, cluster: str, arn: str, container: str) -> TaskState | None: ...


class Log(Protocol):
    """What a container writes."""

    async def read(self) -> list[str]: ...


@dataclass(slots=True)
class TaskFollower:
    """
    Follows *task* in *cluster* with *tasks*. Lines of *log* (None: it is not shown) go to *show*; what else a person
    wants to know goes to *note*.
    """

    tasks: Tasks
    log: Log | None
    task: StartedTask
    cluster: str
    container: str
    show: Callable[[str], None]
    note: Callable[[str], None]
    _failed: int = field(default=0, init=False)
    _status: str = field(default="", init=False)

    async def follow(self, wait: TaskWait) -> TaskEnd:
        """Return the end of *wait*. Raises ArchiverError if the task can't be looked at."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        while True:
            looked, state = await self._look()
            await self._show_log()
            end = wait.look(state, loop.time() - start) if looked else wait.over(loop.time() - start)
            if end is not None:
                await self._show_last_lines(end)
                return end
            await asyncio.sleep(POLL_SECONDS)

    async def _look(self) -> tuple[bool, TaskState | None]:
        """Return whether ECS has answered, and what."""
        try:
            state = await self.tasks.describe(self.cluster, self.task.arn, self.container)
        except TransientError as error:
            self._failed += 1
            if self._failed >= MAX_FAILED_LOOKS:
                raise TransientError(f"{error} ({self._failed} times in a row)") from error
            if self._failed == 1:
                self.note(f"{error}; the task is looked at again in {POLL_SECONDS:g} s")
            return False, None
        self._failed = 0
        if state is not None and state.status != self._status:
            self._status = state.status
            self.note(f"task {self.task.id}: {state.status}")
        return True, state

    async def _show_log(self) -> bool:
        """Show the log's new lines; return whether there were any. A log that can't be read is given up."""
        if self.log is None:
            return False
        try:
            lines = await self.log.read()
        except TransientError:
            return False  # the next look shows them
        except ArchiverError as error:
            self.note(f"the container's log can't be shown: {error}")
            self.log = None
            return False
        for line in lines:
            self.show(line.rstrip("\n"))
        return bool(lines)

    async def _show_last_lines(self, end: TaskEnd) -> None:
        if end.is_running or self.log is None:
            return
        quiet = 0
        while quiet < LAST_LOOKS:
            await asyncio.sleep(LAST_LOOK_SECONDS)
            quiet = 0 if await self._show_log() else quiet + 1
