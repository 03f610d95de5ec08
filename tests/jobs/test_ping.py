"""A request with `"test": true` is checked to its end and answered; nothing else happens."""

from typing import Any

import pytest
from fakes import FakeHold
from worker.pipeline_env import RULES, PipelineEnv

from archiver.core.archive_rules import ArchiveRules
from archiver.core.locations import AllowList
from archiver.errors import LeaseLost, Rejected
from archiver.ports import JobSuccess

FILES = [{"source": "a.jpg"}]


def untouched(env: PipelineEnv) -> bool:
    """Whether no call was made to S3."""
    stage = env.stage
    calls = (stage.reader.faults.calls, stage.store.faults.calls, stage.receipts.faults.calls)
    return not any(count.total() for count in calls)


async def test_a_ping_is_answered_and_no_object_is_looked_at() -> None:
    env = PipelineEnv()

    done = await env.run("a.jpg", job_id="j", metadata={"k": 1}, test=True)

    assert done == JobSuccess("alive", 0, 0, "", reused=False)
    assert env.answer == {
        "metadata": {"k": 1},
        "job_id": "j",
        "message_id": env.answer["message_id"],
        "status": "alive",
        "accepted": True,
        "problem": None,
        "notification_id": env.answer["notification_id"],
    }
    assert env.answers is not None
    assert env.answers.sent[0].status == "alive"
    assert untouched(env)


STRICT = ArchiveRules("source", "archives", AllowList.parse("source/album/", "archives"), max_files=2)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"files": [{"source": "../a"}, {"source": "album/b"}]}, "source_not_allowed"),
        ({"files": [{"source": "album/a", "name": "../x"}]}, "name_unsafe"),
        ({"files": [{"source": "album/a"}] * 2, "on_duplicate": "fail"}, "name_conflict"),
        ({"files": [{"source": "album/a"}] * 3}, "too_large"),
        ({"files": []}, "invalid_request"),
        ({"files": [{"source": 7}]}, "invalid_request"),
        ({"files": [{"source": "album/a"}], "on_missing": "shrug"}, "invalid_request"),
        ({}, "invalid_request"),
    ],
)
async def test_a_ping_says_what_a_worker_would_reject(request_: dict[str, Any], code: str) -> None:
    env = PipelineEnv(rules=STRICT)
    message = await env.message(test=True, job_id="j", **request_)

    done = await env.pipeline.run(message, FakeHold())

    answer = env.answer
    assert done.status == answer["status"] == "alive"
    assert (answer["accepted"], answer["problem"]["code"]) == (False, code)
    assert answer["job_id"] == "j"
    assert answer["problem"]["message"]
    assert untouched(env)


@pytest.mark.parametrize(
    "body",
    [
        '{"files": [',
        '["test", true]',
        '{"files": [{"source": "a.jpg"}], "test": "yes"}',
        '{"files": [{"source": "a.jpg"}], "test": 1}',
        '{"files": [{"source": "a.jpg"}], "test": true, "test": true}',
        '{"files": [], "test": false}',
    ],
)
async def test_what_cannot_be_read_as_a_ping_is_rejected_as_ever(body: str) -> None:
    env = PipelineEnv(rules=RULES)
    env.queue.put(body)
    (message,) = await env.queue.receive(1)

    with pytest.raises(Rejected):
        await env.pipeline.run(message, FakeHold())
    assert untouched(env)


@pytest.mark.parametrize("test", [False, None])
async def test_without_test_a_request_is_done(test: bool | None) -> None:
    env = PipelineEnv()
    env.put(a_jpg=b"a")
    assert (await env.run("a.jpg", test=test)).status == "succeeded"


async def test_a_ping_neither_reads_nor_sweeps_the_archive_of_its_job() -> None:
    """It has the job's identity, and a notification id of its own."""
    env = PipelineEnv()
    env.put(a_jpg=b"a")
    message = await env.message(files=FILES, job_id="j", test=True)
    await env.run("a.jpg", job_id="j")
    before = dict(env.stage.s3.objects), env.answer["notification_id"]

    await env.pipeline.run(message, FakeHold())

    assert env.stage.s3.objects == before[0]
    assert env.answer["notification_id"] != before[1]


async def test_no_answer_to_a_ping_is_sent_once_the_lease_is_lost() -> None:
    env = PipelineEnv()

    def confirm() -> None:
        raise LeaseLost("late")

    with pytest.raises(LeaseLost):
        await env.pipeline.run(await env.message(files=FILES, test=True), FakeHold(confirm))
    assert env.answers is not None
    assert env.answers.sent == []


async def test_a_problem_with_many_sources_is_shortened_to_what_a_message_holds() -> None:
    env = PipelineEnv(rules=STRICT)
    assert env.answers is not None
    env.answers.max_body_bytes = lambda _: 5000  # type: ignore[method-assign, assignment]
    await env.pipeline.run(await env.message(files=[{"source": f"{n:0300}"} for n in range(99)], test=True), FakeHold())

    assert env.answer["truncated"] == {"problem.sources": 99}
