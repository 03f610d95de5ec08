"""A cancelled job ends, wherever it is, and leaves nothing behind; a finished archive stays."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from fakes import FakeHold
from worker.pipeline_env import ARN, RULES, PipelineEnv

from archiver.core.locations import Location, archive_digest, archive_key
from archiver.core.receipt import mark_key
from archiver.errors import ConfigurationError, LeaseLost, Rejected, TransientError
from archiver.jobs.cancellation import MARK, Cancellation, CancelWork
from archiver.jobs.pipeline import Pipeline
from archiver.ports import JobSuccess, StoredArchive
from stages.builders import random_bytes

KEY = archive_key(archive_digest(None, ARN, "j", ""), "download")
MARKED = Location("archives", mark_key(KEY))


class CancelEnv(PipelineEnv):
    """Marks are looked for whenever nothing else is done."""

    period = 0.0

    def make(self) -> Pipeline:
        pipeline, stage = super().make(), self.stage
        works: Any = pipeline._works
        works["archive"]._cancellation = Cancellation(stage.store, self.period)
        works["cancel"] = CancelWork(RULES, ARN, stage.store, stage.receipts)
        return pipeline

    def mark(self) -> None:
        self.stage.s3.put("archives", MARKED.key, MARK)

    async def cancel(self, job_id: str = "j") -> dict[str, Any]:
        message = await self.message(cancel=job_id)
        await self.pipeline.run(message, FakeHold())
        return self.answer

    @property
    def failure(self) -> dict[str, Any]:
        return dict(json.loads(self.failures.sent[-1].body))

    def left(self) -> list[str]:
        """All that is in the bucket of the archives, and incomplete uploads."""
        there = [at.key for at in self.stage.s3.objects if at.bucket == "archives" and at != MARKED]
        return there + list(self.stage.store.pending)


def assert_cancelled(env: CancelEnv, done: JobSuccess) -> None:
    assert done.status == "cancelled"
    assert (env.failure["status"], env.failure["job_id"]) == ("cancelled", "j")
    assert env.answers is not None
    assert env.answers.sent == []
    assert env.left() == []
    assert env.stage.budget.buffers_in_use == 0


async def test_a_message_cancels_a_job_that_comes_later_until_the_mark_is_lifted() -> None:
    env = CancelEnv()
    env.put(a_jpg=b"a")
    answer = await env.cancel()
    assert answer["status"] == "cancelled"
    assert answer["cancel"] == {"job_id": "j", "accepted": True, "problem": None}
    assert MARKED in env.stage.s3.objects
    env.answers.sent.clear()  # type: ignore[union-attr]

    for _ in range(2):
        assert_cancelled(env, await env.run("a.jpg", job_id="j"))
    await env.run("a.jpg", job_id="k")
    assert env.answer["status"] == "succeeded"

    del env.stage.s3.objects[MARKED]
    assert (await env.run("a.jpg", job_id="j")).status == "succeeded"


async def test_a_job_that_is_cancelled_before_it_starts_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CancelEnv, "period", 3600.0)
    env = CancelEnv()
    env.put(a_jpg=b"a")
    env.mark()
    assert_cancelled(env, await env.run("a.jpg", job_id="j"))
    assert (env.stage.reader.gets, env.stage.reader.heads) == ([], [])


async def test_a_finished_archive_can_not_be_cancelled_and_the_answer_says_so() -> None:
    env = CancelEnv()
    env.put(a_jpg=b"a")
    await env.run("a.jpg", job_id="j")

    answer = await env.cancel()

    problem = "the archive is finished: it can't be cancelled"
    assert answer["cancel"] == {"job_id": "j", "accepted": False, "problem": problem}
    assert MARKED not in env.stage.s3.objects
    env.mark()
    assert (await env.run("a.jpg", job_id="j")).reused


def moments(env: CancelEnv) -> dict[str, Any]:
    return {
        "head": env.stage.reader.faults,
        "read": env.stage.reader.faults,
        "begin": env.stage.store.faults,
        "part": env.stage.store.faults,
    }


@pytest.mark.parametrize("compression", ["store", "deflate"])
@pytest.mark.parametrize("moment", ["head", "read", "begin", "part"])
async def test_a_running_job_ends_at_any_moment(moment: str, compression: str) -> None:
    """The call of that moment never answers."""
    env = CancelEnv()
    env.put(a_jpg=random_bytes(12 << 20), b_jpg=b"b")
    moments(env)[moment].plan(moment, delay=3600)
    hold = FakeHold()
    files = [{"source": "a.jpg"}, {"source": "b.jpg"}]
    message = await env.message(files=files, job_id="j", compression=compression, on_missing="skip")
    job = asyncio.create_task(env.pipeline.run(message, hold))
    while not moments(env)[moment].calls[moment]:
        await asyncio.sleep(0)
    env.mark()
    assert_cancelled(env, await job)
    assert hold.ends


async def test_a_waiting_job_ends_and_its_block_waits_for_no_slot() -> None:
    env = CancelEnv()
    hold = FakeHold()
    message = await env.message(files=[{"source": "later.jpg"}], job_id="j", wait_for={"timeout": 3600})
    job = asyncio.create_task(env.pipeline.run(message, hold))
    while not hold.parks:
        await asyncio.sleep(0)
    env.mark()
    assert_cancelled(env, await job)
    assert hold.ends


@pytest.mark.parametrize("moment", ["receipt", "put", "complete"])
async def test_from_the_moment_of_publishing_the_job_goes_on(moment: str) -> None:
    env = CancelEnv()
    env.put(a_jpg=random_bytes(12 << 20) if moment == "complete" else b"a")
    faults = env.stage.receipts.faults if moment == "receipt" else env.stage.store.faults
    gate = asyncio.Event()
    target: Any = env.stage.receipts if moment == "receipt" else env.stage.store
    del faults
    if moment == "complete":
        create = target.create_upload

        async def create_upload(*args: Any) -> Any:
            upload = await create(*args)
            _hold_up(upload, "complete", env, gate)
            return upload

        target.create_upload = create_upload
    else:
        _hold_up(target, "put", env, gate)
    done = await env.run("a.jpg", job_id="j")
    assert done.status == "succeeded"
    assert MARKED in env.stage.s3.objects
    assert len(env.left()) == 2


def _hold_up(target: Any, name: str, env: CancelEnv, gate: asyncio.Event) -> None:
    """Write the mark during the first call of *name*, and let others look for it before it goes on."""
    inner: Callable[..., Any] = getattr(target, name)

    async def call(*args: Any) -> Any:
        if not gate.is_set():
            gate.set()
            env.mark()
            for _ in range(50):
                await asyncio.sleep(0)
        return await inner(*args)

    setattr(target, name, call)


async def test_a_mark_that_can_not_be_looked_for_now_is_looked_for_again() -> None:
    env = CancelEnv()
    env.put(a_jpg=random_bytes(12 << 20))
    env.stage.store.faults.plan("part", delay=3600)
    find, looks = env.stage.store.find, 0

    async def fails(key: str) -> StoredArchive | None:
        nonlocal looks
        looks += key == MARKED.key
        if key == MARKED.key and 2 <= looks <= 7:
            raise TransientError("busy")
        if key == MARKED.key and looks == 8:
            env.mark()
            raise ConfigurationError("denied")
        return await find(key)

    env.stage.store.find = fails  # type: ignore[method-assign]
    assert_cancelled(env, await env.run("a.jpg", job_id="j"))
    assert looks == 9


async def test_a_lost_lease_is_no_cancellation_and_other_errors_stay_what_they_are() -> None:
    env = CancelEnv()
    env.put(a_jpg=b"a")

    def lost() -> None:
        raise LeaseLost("gone")

    message = await env.message(files=[{"source": "a.jpg"}], job_id="j")
    with pytest.raises(LeaseLost):
        await env.pipeline.run(message, FakeHold(lost))
    with pytest.raises(Rejected, match="source_missing"):
        await env.run("b.jpg", job_id="j")
    message = await env.message(files=[{"source": "a.jpg"}], job_id="j")
    env.stage.reader.faults.plan("head", delay=3600)
    env.stage.reader.faults.plan("read", delay=3600)
    job = asyncio.create_task(env.pipeline.run(message, FakeHold()))
    await asyncio.sleep(0)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job


async def test_the_mark_is_no_reason_to_keep_receipts() -> None:
    env = CancelEnv()
    env.put(a_jpg=b"a")
    left_over = f"{KEY.rpartition('/')[0]}/receipt-{'ab' * 16}.json.gz"
    env.stage.s3.put("archives", left_over, b"x")
    await env.run("a.jpg", job_id="j")
    env.stage.s3.put("archives", left_over, b"x")
    env.mark()
    await env.run("a.jpg", job_id="j")
    assert len(env.stage.receipts.keys) == 1


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"cancel": ""}, "cancel"),
        ({"cancel": 7}, "cancel should be text"),
        ({"cancel": "j", "files": [{"source": "a"}]}, "files is there beside cancel"),
        ({"cancel": "j", "manifest": "s3://bucket/list"}, "files is there beside cancel"),
    ],
)
async def test_what_else_stands_beside_cancel_is_refused(body: dict[str, Any], told: str) -> None:
    env = CancelEnv()
    message = await env.message(**body)
    with pytest.raises(Rejected, match=f"invalid_request: .*{told}"):
        await env.pipeline.run(message, FakeHold())


async def test_a_worker_without_the_setting_refuses_and_never_looks() -> None:
    env = PipelineEnv()
    env.put(a_jpg=b"a")
    with pytest.raises(Rejected, match="this worker cancels no jobs: CANCELLATION is not set"):
        await env.pipeline.run(await env.message(cancel="j"), FakeHold())
    env.stage.s3.put("archives", MARKED.key, MARK)
    assert (await env.run("a.jpg", job_id="j")).status == "succeeded"
