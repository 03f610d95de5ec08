"""One message to its end: each row of the table in `archiver.worker.settle`, on the queue in memory."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import cast

import pytest
from fakes import FakeDeadLetters, FakeObserver, FakeQueue
from structlog.testing import capture_logs

from archiver.core.traffic import Traffic
from archiver.errors import ConfigurationError, LeaseLost, Rejected, TransientError
from archiver.ports import Hold, JobSuccess, Message, QueueFacts, Rejection
from archiver.worker import settle
from archiver.worker.gate import ReceiveGate
from archiver.worker.settle import Settler
from archiver.worker.slots import Claim, Slots

DONE = JobSuccess("succeeded", 3, 100, "key", reused=False)


@dataclass
class ScriptedJob:
    """A Job that does *acts*, one a run; the last one again and again. Rejections go to *queue*."""

    queue: FakeQueue
    acts: list[JobSuccess | Exception | Callable[[], Awaitable[JobSuccess]]]
    rejecting: list[Exception] = field(default_factory=list)
    answering: list[Exception] = field(default_factory=list)
    runs: int = 0
    answered: int = 0

    def read_job_id(self, message: Message) -> str | None:
        return "job"

    async def run(self, message: Message, hold: Hold) -> JobSuccess:
        self.runs += 1
        act = self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]
        if isinstance(act, Exception):
            raise act
        return act if isinstance(act, JobSuccess) else await act()

    async def reject(self, message: Message, rejection: Rejected, hold: Hold) -> None:
        hold.confirm()
        if self.rejecting:
            raise self.rejecting.pop(0)
        await FakeDeadLetters(self.queue.dead_letters).put(
            message, Rejection(rejection.code, rejection.message, "g", "d")
        )

    async def send_failure(self, message: Message, rejection: Rejected, hold: Hold) -> None:
        hold.confirm()
        if self.answering:
            raise self.answering.pop(0)
        self.answered += 1


TWELVE_HOURS = 43_200


def claimed_slot() -> Claim:
    """A slot of a worker's own, taken."""
    return Slots(1, lambda _: None).claim()


@dataclass
class SettleEnv:
    queue: FakeQueue
    dead: FakeQueue
    gate: ReceiveGate
    observer: FakeObserver = field(default_factory=FakeObserver)

    async def settle(
        self, *acts: JobSuccess | Exception | Callable[[], Awaitable[JobSuccess]], **kwargs: object
    ) -> ScriptedJob:
        job = ScriptedJob(self.queue, list(acts))
        job.rejecting = list(kwargs.pop("rejecting", []))  # type: ignore[call-overload]
        job.answering = list(kwargs.pop("answering", []))  # type: ignore[call-overload]
        if "longest" in kwargs:
            self.queue.facts = replace(self.queue.facts, longest=cast("float", kwargs["longest"]))
        settler = Settler(self.queue, job, self.gate, self.observer)
        self.queue.put("body")
        (message,) = await self.queue.receive(1)
        await settler.handle(message, claimed_slot())
        return job

    async def again(self, job: ScriptedJob) -> None:
        """The message that was given back is received once more."""
        self.queue.make_visible()
        (message,) = await self.queue.receive(1)
        await Settler(self.queue, job, self.gate, self.observer).handle(message, claimed_slot())


@pytest.fixture
def env() -> SettleEnv:
    dead = FakeQueue()
    facts = QueueFacts("arn", 30, TWELVE_HOURS, 3)
    return SettleEnv(FakeQueue(facts, dead_letters=dead), dead, ReceiveGate())


@pytest.fixture(autouse=True)
def logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, object]]]:
    monkeypatch.setattr(settle, "configuration_retry_delay", lambda attempt: 0.01 * attempt)
    with capture_logs() as captured:
        yield captured  # type: ignore[misc]


def events(logs: list[dict[str, object]]) -> list[object]:
    return [line["event"] for line in logs]


async def test_a_done_job_deletes_its_message_and_says_what_it_did(
    env: SettleEnv, logs: list[dict[str, object]]
) -> None:
    await env.settle(DONE)

    assert env.queue.messages == []
    assert events(logs) == ["job.received", "job.done"]
    assert {"files": 3, "bytes": 100, "status": "succeeded", "key": "key"}.items() <= logs[-1].items()


async def test_a_job_without_an_archive_is_logged_without_a_key(env: SettleEnv, logs: list[dict[str, object]]) -> None:
    """A ping, a command, a job that was cancelled: nobody should look for an archive there."""
    await env.settle(replace(DONE, status="alive", key=""))

    assert (logs[-1]["event"], logs[-1]["status"]) == ("job.done", "alive")
    assert "key" not in logs[-1]


async def test_the_log_and_the_observers_are_told_which_bytes_the_store_copied(
    env: SettleEnv, logs: list[dict[str, object]]
) -> None:
    await env.settle(DONE)
    await env.settle(replace(DONE, traffic=Traffic(copied=80, streamed=20, requests=9)))

    assert [seen.traffic for seen in env.observer.seen] == [None, Traffic(80, 20, 9)]
    without, copied = (line for line in logs if line["event"] == "job.done")
    assert copied.keys() - without.keys() == {"bytes_copied", "bytes_streamed", "requests"}
    assert (copied["bytes_copied"], copied["bytes_streamed"]) == (80, 20)


async def test_a_failed_delete_is_no_failed_job(env: SettleEnv, logs: list[dict[str, object]]) -> None:
    """The message comes again, and the archive is found there."""
    env.queue.faults.plan("delete", TransientError("500"), times=0)

    await env.settle(DONE)

    assert len(env.queue.messages) == 1
    assert events(logs)[-2:] == ["job.done", "job.delete_failed"]


async def test_a_rejection_goes_to_the_dead_letter_queue_and_deletes(env: SettleEnv) -> None:
    await env.settle(Rejected("too_large", "huge"))

    assert env.queue.messages == []
    assert env.dead.messages[0].attributes["ErrorCode"].value == "too_large"


async def test_a_rejection_that_cannot_be_sent_keeps_the_message(env: SettleEnv, logs: list[dict[str, object]]) -> None:
    await env.settle(Rejected("too_large", "huge"), rejecting=[TransientError("no dead-letter queue")])

    assert len(env.queue.messages) == 1
    assert events(logs)[-1] == "job.rejection_failed"
    assert env.queue.released[-1][1] >= 1


async def test_a_temporary_failure_gives_the_message_back_for_a_while(
    env: SettleEnv, logs: list[dict[str, object]]
) -> None:
    """Never for 0 seconds: that would be a hot loop."""
    await env.settle(TransientError("throttled"))

    assert events(logs)[-1] == "job.retried"
    assert 1 <= env.queue.released[-1][1] <= 4


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TransientError("throttled"), "retries_exhausted"),
        (TransientError("denied", rejection=Rejected("source_denied", "all")), "source_denied"),
    ],
)
async def test_the_last_receive_that_the_redrive_policy_allows_ends_in_a_rejection(
    env: SettleEnv, error: TransientError, code: str
) -> None:
    env.queue.facts = QueueFacts("arn", 30, TWELVE_HOURS, 1)

    await env.settle(error)

    assert env.dead.messages[0].attributes["ErrorCode"].value == code


async def test_a_defect_of_ours_is_tried_once_more_and_then_rejected(env: SettleEnv) -> None:
    """A defect of one moment is none of the request; and it never ends the worker."""
    job = await env.settle(ZeroDivisionError("ours"))
    assert env.dead.messages == []

    await env.again(job)

    assert env.dead.messages[0].attributes["ErrorCode"].value == "internal"


async def test_a_defect_on_the_only_receive_that_is_allowed_is_rejected_as_that(env: SettleEnv) -> None:
    env.queue.facts = QueueFacts("arn", 30, TWELVE_HOURS, 1)

    await env.settle(ZeroDivisionError("ours"))

    assert env.dead.messages[0].attributes["ErrorCode"].value == "internal"


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't start new thread")])
async def test_memory_and_threads_that_run_out_are_no_fault_of_the_message(
    env: SettleEnv, logs: list[dict[str, object]], error: Exception
) -> None:
    job = await env.settle(error)
    await env.again(job)

    assert events(logs).count("job.retried") == 2
    assert env.dead.messages == []


async def test_an_error_of_the_machine_is_temporary(env: SettleEnv, logs: list[dict[str, object]]) -> None:
    """No file descriptors left, say."""
    await env.settle(OSError(24, "Too many open files"))

    assert events(logs)[-1] == "job.retried"


async def test_a_configuration_fault_holds_the_message_and_shuts_the_gate_until_it_is_mended(
    env: SettleEnv, logs: list[dict[str, object]]
) -> None:
    """Not given back: every receive counts towards the dead-letter queue."""
    shut: list[float | None] = []

    async def look() -> JobSuccess:
        shut.append(env.gate.reopens_in)
        return DONE

    job = await env.settle(ConfigurationError("denied"), ConfigurationError("denied"), look)

    assert job.runs == 3
    assert shut == [None]
    assert env.gate.reopens_in == 0
    assert env.queue.messages == []
    assert events(logs) == ["job.received", "worker.paused", "worker.paused", "worker.resumed", "job.done"]


async def test_a_configuration_fault_while_rejecting_is_held_too(env: SettleEnv) -> None:
    """The failure queue is gone: the rejection waits, and is sent when it is back."""
    await env.settle(Rejected("too_large", "x"), rejecting=[ConfigurationError("gone")])

    assert len(env.dead.messages) == 1
    assert env.queue.messages == []


async def test_a_failure_queue_that_is_gone_is_waited_for_without_a_second_dead_letter(env: SettleEnv) -> None:
    job = await env.settle(Rejected("too_large", "x"), answering=[ConfigurationError("gone")] * 2)

    assert len(env.dead.messages) == 1
    assert job.answered == 1
    assert env.queue.messages == []


async def test_a_delete_that_hangs_is_given_up_before_the_lease_ends(
    env: SettleEnv, logs: list[dict[str, object]]
) -> None:
    """Begun again later, it might delete what is someone else's by then."""
    env.queue.facts = QueueFacts("arn", 1, TWELVE_HOURS, 3)
    env.queue.faults.plan("delete", delay=60, times=0)

    await env.settle(DONE)

    assert env.queue.faults.calls["delete"] == 1
    assert events(logs)[-1] == "job.delete_failed"


@pytest.mark.parametrize("where", ["run", "reject"])
async def test_a_fault_that_outlasts_the_twelve_hours_gives_the_message_back_for_fifteen_minutes(
    env: SettleEnv, where: str
) -> None:
    """Never rejected: a bad deploy must not empty the queue."""
    fault = ConfigurationError("denied")
    if where == "run":
        await env.settle(fault, longest=0.07)
    else:
        await env.settle(Rejected("too_large", "x"), rejecting=[fault] * 100, longest=0.07)

    assert env.queue.released[-1][1] == 900
    assert env.dead.messages == []


async def test_a_job_that_nears_the_twelve_hours_is_rejected(env: SettleEnv) -> None:
    """`time_limit`, while SQS still lets us keep the message."""

    async def long() -> JobSuccess:
        await asyncio.sleep(60)
        return DONE

    await env.settle(long, longest=0.07)

    assert env.dead.messages[0].attributes["ErrorCode"].value == "time_limit"


async def test_a_job_whose_time_ends_while_a_store_is_down_goes_back(env: SettleEnv) -> None:
    """Never rejected: the twelve hours were not the job's."""
    env.gate.pause_receiving()

    async def long() -> JobSuccess:
        await asyncio.sleep(60)
        return DONE

    await env.settle(long, longest=0.07)

    assert env.queue.released[-1][1] == 900
    assert env.dead.messages == []


async def test_a_delete_that_is_refused_holds_the_message_until_it_is_allowed(
    env: SettleEnv, logs: list[dict[str, object]]
) -> None:
    """Done and answered, it would come again and again, until the redrive policy takes it."""
    env.queue.facts = QueueFacts("arn", 1, TWELVE_HOURS, 3)
    env.queue.faults.plan("delete", ConfigurationError("denied"), times=15)  # 1.2 s: three renewals
    shut: list[float | None] = []
    extend = env.queue.extend

    async def looked(message: Message, seconds: int) -> None:
        shut.append(env.gate.reopens_in)
        await extend(message, seconds)

    env.queue.extend = looked  # type: ignore[method-assign]
    job = await env.settle(DONE)

    assert job.runs == 1
    assert env.queue.messages == []
    assert len(shut) > 1 and set(shut) == {None}  # renewed meanwhile, and nothing else received
    assert env.gate.reopens_in == 0
    assert events(logs)[-1] == "worker.resumed"


async def test_a_lease_that_sqs_does_not_let_us_renew_makes_the_worker_rest(env: SettleEnv) -> None:
    env.queue.facts = QueueFacts("arn", 1, TWELVE_HOURS, 3)
    env.queue.faults.plan("extend", ConfigurationError("denied"), times=0)

    async def long() -> JobSuccess:
        await asyncio.sleep(60)
        return DONE

    await env.settle(long)

    assert env.observer.seen[-1].outcome == "lease_lost"
    assert (env.gate.reopens_in or 0) > 50


async def test_a_time_out_of_the_jobs_own_is_temporary(env: SettleEnv, logs: list[dict[str, object]]) -> None:
    await env.settle(TimeoutError("inner"))

    assert events(logs)[-1] == "job.retried"


async def test_a_lost_lease_leaves_the_message_alone(env: SettleEnv, logs: list[dict[str, object]]) -> None:
    await env.settle(LeaseLost("stale"))

    assert events(logs)[-1] == "job.lease_lost"
    assert env.queue.released == []
    assert len(env.queue.messages) == 1


async def test_a_lease_lost_before_the_rejection_rejects_nothing(env: SettleEnv) -> None:
    """The heartbeat finds it out while the job fails: nothing is sent."""
    env.queue.facts = QueueFacts("arn", 1, TWELVE_HOURS, 3)
    env.queue.faults.plan("extend", LeaseLost("stale"), times=0)

    async def slow() -> JobSuccess:
        try:
            await asyncio.sleep(60)
        finally:
            raise Rejected("too_large", "late")

    await env.settle(slow)

    assert env.dead.messages == []


async def test_a_job_cancelled_by_a_shutdown_goes_back_after_a_short_delay(
    env: SettleEnv, logs: list[dict[str, object]]
) -> None:
    begun = asyncio.Event()

    async def long() -> JobSuccess:
        begun.set()
        await asyncio.sleep(60)
        return DONE

    task = asyncio.create_task(env.settle(long))
    await begun.wait()
    task.cancel()
    await task

    assert events(logs)[-1] == "job.returned"
    assert env.queue.released[-1][1] == settle.SHUTDOWN_REDELIVERY_DELAY


async def test_a_process_that_stood_still_asks_nothing_about_a_message_that_is_not_its_own_any_more(
    env: SettleEnv, logs: list[dict[str, object]]
) -> None:
    """Frozen past its lease and then stopped: giving the message back would cut short what is someone else's."""
    env.queue.facts = QueueFacts("arn", 1, TWELVE_HOURS, 3)
    begun = asyncio.Event()

    async def frozen() -> JobSuccess:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            time.sleep(1.0)  # noqa: ASYNC251 - nothing goes on meanwhile, the heartbeat neither
        return DONE

    task = asyncio.create_task(env.settle(frozen))
    await begun.wait()
    task.cancel()
    await task

    assert env.queue.faults.calls["extend"] == env.queue.faults.calls["release"] == 0
    assert events(logs)[-1] == "job.return_failed"


async def test_a_job_that_ends_after_its_lease_is_lost_and_not_done(
    env: SettleEnv, logs: list[dict[str, object]]
) -> None:
    env.queue.facts = QueueFacts("arn", 1, TWELVE_HOURS, 3)

    async def frozen() -> JobSuccess:
        time.sleep(1.0)  # noqa: ASYNC251 - nothing goes on meanwhile, the heartbeat neither
        return DONE

    await env.settle(frozen)

    assert events(logs)[-1] == "job.lease_lost"
    assert env.queue.faults.calls["delete"] == 0
    assert env.observer.seen[-1].outcome == "lease_lost"


async def test_a_message_that_came_too_late_goes_back_at_once(env: SettleEnv, logs: list[dict[str, object]]) -> None:
    settler = Settler(env.queue, ScriptedJob(env.queue, [DONE]), env.gate, env.observer)
    env.queue.put("body")
    (message,) = await env.queue.receive(1)
    env.queue.faults.plan("release", TransientError("500"))

    await settler.release_unstarted(message)

    assert env.queue.visible == [message.id]
    assert events(logs) == ["job.returned"]


async def test_a_message_that_cannot_be_given_back_comes_back_by_itself(
    env: SettleEnv, logs: list[dict[str, object]]
) -> None:
    env.queue.faults.plan("release", TransientError("500"), times=0)

    await env.settle(TransientError("throttled"))

    assert events(logs)[-1] == "job.return_failed"


async def test_a_shorter_rest_does_not_end_a_longer_one(env: SettleEnv) -> None:
    env.gate.pause_for(60)
    env.gate.pause_for(1)

    reopens_in = env.gate.reopens_in
    assert reopens_in is not None
    assert reopens_in > 50


async def test_a_job_that_is_cancelled_while_a_fault_holds_it_holds_nothing_any_more(env: SettleEnv) -> None:
    failed = asyncio.Event()

    async def fail() -> JobSuccess:
        failed.set()
        raise ConfigurationError("denied")

    task = asyncio.create_task(env.settle(fail))
    await failed.wait()
    await asyncio.sleep(0)
    assert env.gate.pause_count == 1
    task.cancel()
    await task

    assert env.gate.pause_count == 0


async def test_a_rest_shuts_the_gate_for_its_time(env: SettleEnv) -> None:
    await env.settle(TransientError("denied", receive_pause=60))

    reopens_in = env.gate.reopens_in
    assert reopens_in is not None
    assert 59 < reopens_in <= 60


async def test_a_failure_on_the_way_out_of_a_shutdown_rejects_nothing(
    env: SettleEnv, logs: list[dict[str, object]]
) -> None:
    """A group of tasks that is failing already swallows the cancellation: what it raises is no verdict on the job."""
    begun = asyncio.Event()

    async def failing() -> JobSuccess:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ValueError("late") from None
        return DONE

    task = asyncio.create_task(env.settle(failing))
    await begun.wait()
    env.gate.grace_expired = True
    task.cancel()
    await task

    assert env.dead.messages == []
    assert events(logs)[-1] == "job.returned"


async def test_a_message_is_not_given_back_after_the_lease(env: SettleEnv, logs: list[dict[str, object]]) -> None:
    """It would cut short what is someone else's by then."""
    env.queue.facts = QueueFacts("arn", 1, TWELVE_HOURS, 3)
    env.queue.faults.plan("release", delay=60, times=0)

    await env.settle(TransientError("throttled"))

    assert events(logs)[-1] == "job.return_failed"
    assert env.queue.released == []


async def test_a_failure_inside_a_group_of_tasks_is_sorted_as_any_other(env: SettleEnv) -> None:
    """A group that fails while it is waited for leaves its parent marked as cancelled, which nobody asked for."""

    async def part() -> None:
        await asyncio.sleep(0)
        raise Rejected("too_large", "x")

    async def grouped() -> JobSuccess:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(part())
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        return DONE

    await env.settle(grouped)

    assert env.dead.messages[0].attributes["ErrorCode"].value == "too_large"
