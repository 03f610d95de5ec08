"""Waiting for a one-off ECS task: when the wait is over, and with which exit code."""

from dataclasses import dataclass

from archiver.core.tasks import TaskState

NOT_DETERMINED = 3
"""Exit code if the container's own is not known."""

UNKNOWN_SECONDS = 60.0
"""For which ECS may not know a task that it has just started: DescribeTasks is eventually consistent."""

_MAX_EXIT_CODE = 255  # of a process


@dataclass(frozen=True, slots=True)
class TaskEnd:
    """The end of a wait. *sentence* says what happened to the task. *is_running*: it may still run."""

    exit_code: int
    sentence: str
    is_running: bool = False


@dataclass(slots=True)
class TaskWait:
    """
    Decides when to stop waiting: after *limit* seconds in total, or *start_limit* seconds without a running container.
    None: never.
    """

    limit: float | None = None
    start_limit: float | None = 900.0
    _was_seen: bool = False
    _was_started: bool = False
    _status: str = "unknown"

    def look(self, state: TaskState | None, seconds: float) -> TaskEnd | None:
        """Return the end, or None to wait on. *state*: as of *seconds* after the start; None: ECS does not know it."""
        if state is None and (self._was_seen or seconds >= UNKNOWN_SECONDS):
            told = "no longer knows" if self._was_seen else "does not know"
            return TaskEnd(NOT_DETERMINED, f"ECS {told} the task: its exit code can't be determined")
        if state is not None:
            self._was_seen, self._status = True, state.status
            self._was_started = self._was_started or state.is_started
            if state.is_stopped:
                return _end(state)
        return self.over(seconds)

    def over(self, seconds: float) -> TaskEnd | None:
        """Return the end of a wait that has taken too long, whatever ECS may say of the task now; None: wait on."""
        if self.limit is not None and seconds >= self.limit:
            sentence = f"the task has not stopped within {self.limit:g} s (status {self._status}); it goes on"
            return TaskEnd(NOT_DETERMINED, sentence, is_running=True)
        if not self._was_started and self.start_limit is not None and seconds >= self.start_limit:
            sentence = (
                f"the task has not started within {self.start_limit:g} s (status {self._status}); check that its "
                "subnets reach the image's registry and CloudWatch Logs (a NAT gateway, endpoints, or --public-ip)"
            )
            return TaskEnd(NOT_DETERMINED, sentence, is_running=True)
        return None


def _end(state: TaskState) -> TaskEnd:
    reason = f": {state.reason}" if state.reason else ""
    if state.exit_code is None:
        return TaskEnd(NOT_DETERMINED, f"the task stopped, and its container has no exit code{reason}")
    code = state.exit_code if 0 <= state.exit_code <= _MAX_EXIT_CODE else 1
    if code == 0:
        return TaskEnd(0, "the task stopped with exit code 0")
    return TaskEnd(code, f"the task stopped with exit code {state.exit_code}{reason}")
