"""Waits for tasks: canned responses of ECS and CloudWatch in every order, in hours that pass at once."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aws.failing_clients import client_error
from instant_loop import run_instantly

from archiver.aws.task_log import TaskLog
from archiver.aws.tasks import EcsTasks
from archiver.cli.task_follower import MAX_FAILED_LOOKS, TaskFollower
from archiver.core.task_wait import TaskEnd, TaskWait
from archiver.core.tasks import LogStream, StartedTask
from archiver.errors import ArchiverError, TransientError

ARN = "arn:aws:ecs:eu-west-1:123456789012:task/tools/0123"
THROTTLED = client_error("ThrottlingException")
NO_STREAM = client_error("ResourceNotFoundException")
MISSING: dict[str, Any] = {"tasks": [], "failures": [{"arn": ARN, "reason": "MISSING"}]}


def told(status: str, code: int | None = None, **more: Any) -> dict[str, Any]:
    """DescribeTasks' response about a task whose container `archiver` has the exit code *code*."""
    container = {"name": "archiver"} if code is None else {"name": "archiver", "exitCode": code}
    return {"tasks": [{"taskArn": ARN, "lastStatus": status, "containers": [container], **more}]}


def page(token: str, *lines: str) -> dict[str, Any]:
    """GetLogEvents' response."""
    return {"events": [{"message": line} for line in lines], "nextForwardToken": token}


@dataclass
class Canned:
    """A client that gives *responses* in turn, and the last one for ever. Errors are raised."""

    responses: list[Any]
    calls: list[dict[str, Any]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(**parameters: Any) -> Any:
            self.calls.append(parameters)
            response = self.responses.pop(0) if len(self.responses) > 1 else self.responses[0]
            if isinstance(response, Exception):
                raise response
            return response

        return call


@dataclass
class Followed:
    """What came of a wait."""

    end: TaskEnd | None = None
    lines: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    error: ArchiverError | None = None


def follow(looks: list[Any], pages: list[Any] | None = None, wait: TaskWait | None = None) -> Followed:
    """Follow a task of which ECS says *looks*, and CloudWatch *pages*."""
    done = Followed()
    log = None if pages is None else TaskLog(Canned(pages), LogStream("group", "task/archiver/0123", ""))

    async def work() -> None:
        task = StartedTask(ARN, "archiver:1")
        follower = TaskFollower(
            EcsTasks(Canned(looks)), log, task, "tools", "archiver", done.lines.append, done.notes.append
        )
        try:
            done.end = await follower.follow(wait or TaskWait())
        except ArchiverError as error:
            done.error = error

    run_instantly(work())
    return done


STATUSES = ("PROVISIONING", "PENDING", "ACTIVATING", "RUNNING", "DEACTIVATING", "STOPPING", "DEPROVISIONING")


def orders() -> Iterator[tuple[str, ...]]:
    """Statuses as they can be seen: some of them, each once, in their order; and with steps back."""
    for number in range(len(STATUSES) + 1):
        yield from itertools.combinations(STATUSES, number)
    yield from itertools.permutations(("PENDING", "RUNNING", "STOPPING"))


@pytest.mark.parametrize("code", [0, 1, 137])
def test_whatever_statuses_are_seen_the_end_is_the_exit_code_of_the_container(code: int) -> None:
    for order in orders():
        done = follow([*(told(status) for status in order), told("STOPPED", code)])

        assert done.end is not None and done.end.exit_code == code, order
        assert not done.end.is_running


@pytest.mark.parametrize(
    ("looks", "code", "sentence"),
    [
        ([told("RUNNING"), told("STOPPED", 1, stoppedReason="Essential container in task exited")], 1, "Essential"),
        (
            [told("PENDING"), told("STOPPED", stopCode="TaskFailedToStart", stoppedReason="CannotPullContainerError")],
            3,
            "no exit code: TaskFailedToStart: CannotPullContainerError",
        ),
        ([MISSING, MISSING, told("PENDING"), told("STOPPED", 0)], 0, "exit code 0"),
        ([told("RUNNING"), MISSING], 3, "no longer knows"),
        ([MISSING], 3, "does not know the task"),
        ([told("PROVISIONING")], 3, "has not started within 900 s (status PROVISIONING)"),
        ([told("PENDING")], 3, "has not started within 900 s (status PENDING)"),
    ],
)
def test_every_other_end_is_told_in_a_sentence(looks: list[Any], code: int, sentence: str) -> None:
    done = follow(looks)

    assert done.end is not None and done.end.exit_code == code
    assert sentence in done.end.sentence


def test_a_task_that_never_stops_is_left_after_the_limit_only() -> None:
    done = follow([told("RUNNING")], wait=TaskWait(limit=86_400))

    assert done.end is not None and done.end.is_running
    assert "within 86400 s" in done.end.sentence


def test_failed_looks_are_noted_once_and_change_nothing() -> None:
    done = follow([told("RUNNING"), THROTTLED, THROTTLED, TimeoutError(), told("RUNNING"), told("STOPPED", 4)])

    assert done.end is not None and done.end.exit_code == 4
    assert [note for note in done.notes if "looked at again" in note] == done.notes[1:2]


def test_a_task_that_can_not_be_looked_at_any_more_may_still_run() -> None:
    done = follow([told("RUNNING"), THROTTLED])

    assert isinstance(done.error, TransientError)
    assert f"{MAX_FAILED_LOOKS} times in a row)" in str(done.error)


def test_the_limit_holds_while_looks_fail() -> None:
    done = follow([told("RUNNING"), THROTTLED], wait=TaskWait(limit=60))

    assert done.end is not None and done.end.is_running and "(status RUNNING)" in done.end.sentence


def test_a_refused_look_ends_the_wait() -> None:
    done = follow([client_error("AccessDeniedException")])

    assert done.error is not None and "DescribeTasks" in str(done.error)


def test_statuses_are_noted_once_each() -> None:
    done = follow([told("PENDING"), told("PENDING"), told("RUNNING"), told("RUNNING"), told("STOPPED", 0)])

    assert [note.rpartition(" ")[2] for note in done.notes] == ["PENDING", "RUNNING", "STOPPED"]


# ---- the log


def test_every_line_of_every_page_is_shown_once_and_those_that_come_after_the_end_too() -> None:
    pages = [
        NO_STREAM,
        page("t1", "a"),
        page("t2", "b", "c"),
        page("t2"),
        page("t3"),  # empty, and not the last
        page("t4", "d\n"),
        page("t4"),
        page("t4"),  # the task has stopped: nothing new
        page("t5", "e"),
        page("t5"),
    ]
    done = follow([told("PENDING"), told("RUNNING"), told("RUNNING"), told("STOPPED", 0)], pages)

    assert done.lines == ["a", "b", "c", "d", "e"]


def test_each_page_is_asked_for_with_the_token_of_the_last_from_the_head_of_the_stream() -> None:
    canned = Canned([page("t1", "a"), page("t2"), page("t2")])

    async def work() -> None:
        await TaskLog(canned, LogStream("group", "task/archiver/0123", "")).read()

    run_instantly(work())
    place = {"logGroupName": "group", "logStreamName": "task/archiver/0123", "startFromHead": True}
    assert canned.calls == [place, {**place, "nextToken": "t1"}, {**place, "nextToken": "t2"}]


def test_a_container_that_writes_without_pause_does_not_hide_the_end_of_its_task() -> None:
    class Endless:
        number = 0

        async def get_log_events(self, **_: Any) -> Any:
            self.number += 1
            return page(f"t{self.number}", "x")

    done: list[int] = []

    async def work() -> None:
        done.append(len(await TaskLog(Endless(), LogStream("g", "s", "")).read()))

    run_instantly(work())
    assert done == [100]


def test_a_log_that_may_not_be_read_is_noted_once_and_the_wait_goes_on() -> None:
    looks = [told("RUNNING"), told("RUNNING"), told("STOPPED", 0)]
    done = follow(looks, [client_error("AccessDeniedException")])

    assert done.end is not None and done.end.exit_code == 0
    assert len([note for note in done.notes if "log can't be shown: GetLogEvents group" in note]) == 1


def test_a_log_that_can_not_be_read_now_is_read_at_the_next_look() -> None:
    done = follow([told("RUNNING"), told("STOPPED", 0)], [THROTTLED, page("t1", "a"), page("t1")])

    assert done.lines == ["a"]
