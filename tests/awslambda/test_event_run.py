"""Events become archives, and what the function returns says which messages have to come again."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from emulator import EmulatedAws

from archiver.awslambda.event_run import EventRun, NotDone
from archiver.awslambda.service import Service
from archiver.errors import ConfigurationError, TransientError

from .function_env import FunctionEnv, broken, failed_items, invocation, invoke, request

EVENTS = Path(__file__).parent / "events"
MIB = 1024 * 1024


def event_of(name: str) -> Any:
    return json.loads((EVENTS / f"{name}.json").read_text())


def created(bucket: str, key: str, etag: str = "e") -> dict[str, Any]:
    return {
        "Records": [
            {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": bucket}, "object": {"key": key, "eTag": etag}}}
        ]
    }


async def test_of_a_batch_only_what_may_succeed_later_comes_again(env: FunctionEnv, service: Service) -> None:
    """Done and rejected messages are settled: these are in the dead-letter queue, with their answers sent."""
    failing, _ = broken(service, "unlucky", TransientError("the store is down"))
    good, bad = request("a.jpg", job_id="good"), request("a.jpg", archive_name="unlucky")
    event = env.batch(good, request("gone.jpg"), bad, "no request")

    returned = await invoke(failing, event)

    bodies = [record["body"] for record in event["Records"]]
    assert returned == failed_items(event, bodies.index(bad))
    (answer,) = env.sent(env.answers)
    assert (answer["job_id"], answer["status"]) == ("good", "succeeded")
    assert env.archive(answer["archive"]["key"]) == {"a.jpg": b"a"}
    assert sorted(one["error"]["code"] for one in env.sent(env.failures)) == ["invalid_json", "source_missing"]
    assert sorted(one["Body"] for one in env.aws.all_messages(env.dead)) == sorted([request("gone.jpg"), "no request"])


@pytest.mark.slow
async def test_a_message_that_comes_again_is_answered_from_its_archive(env: FunctionEnv, service: Service) -> None:
    event = env.batch(request("a.jpg"))
    assert await invoke(service, event) == {"batchItemFailures": []}
    assert await invoke(service, event) == {"batchItemFailures": []}
    assert len(env.archives_made()) == 1
    assert len({one["archive"]["etag"] for one in env.sent(env.answers)}) == 1


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 6 * MIB])
async def test_a_job_that_outlasts_the_invocation_leaves_no_upload_and_comes_again(
    env: FunctionEnv, service: Service, size: int
) -> None:
    """Also under a multipart upload. The other job of the batch is done."""
    hanging, store = broken(service, "slow")
    env.put("big.bin", bytes(size))
    slow = request("big.bin", archive_name="slow")
    event = env.batch(slow, request("a.jpg"))

    returned = await invoke(hanging, event, seconds=6.0)

    assert store.reached.is_set()
    assert returned == failed_items(event, [record["body"] for record in event["Records"]].index(slow))
    assert env.aws.s3.list_multipart_uploads(Bucket=env.archives).get("Uploads", []) == []
    assert len(env.archives_made()) == 1


@pytest.mark.slow
async def test_a_job_that_outlasts_its_last_invocation_is_rejected(env: FunctionEnv, service: Service) -> None:
    hanging, _ = broken(service)
    event = env.batch(request("a.jpg"))
    event["Records"][0]["attributes"]["ApproximateReceiveCount"] = "5"

    assert await invoke(hanging, event, seconds=12.0) == {"batchItemFailures": []}

    (failure,) = env.sent(env.failures)
    assert failure["error"]["code"] == "time_limit"
    assert [one["Body"] for one in env.aws.all_messages(env.dead)] == [request("a.jpg")]


async def test_jobs_that_are_stopped_come_again_and_those_that_wait_are_not_begun(
    env: FunctionEnv, service: Service
) -> None:
    settings = service.settings.model_copy(update={"max_concurrent_jobs": 1})
    hanging, store = broken(replace(service, settings=settings))
    event = env.batch(request("a.jpg"), request("a.jpg", job_id="second"))
    run = EventRun(hanging, invocation())
    running = asyncio.create_task(run.run(event))
    await store.reached.wait()

    run.stop()

    assert await running == failed_items(event, 0, 1)
    assert env.archives_made() == []
    assert await invoke(service, event) == {"batchItemFailures": []}  # the next invocation works


async def test_of_a_fifo_queue_a_group_ends_at_its_first_failure(aws: EmulatedAws) -> None:
    env = FunctionEnv(aws, fifo=True)
    env.put("a.jpg")
    async with env.service() as service:
        failing, _ = broken(service, "unlucky", TransientError("the store is down"))
        bodies = [request("a.jpg"), request("a.jpg", archive_name="unlucky"), request("a.jpg", job_id="behind")]
        event = env.batch(*bodies, MessageGroupId="one", MessageDeduplicationId="{}")
        other = env.batch(request("a.jpg", job_id="other"), MessageGroupId="two", MessageDeduplicationId="x{}")
        event["Records"] += other["Records"]

        assert await invoke(failing, event) == failed_items(event, 1, 2)

    assert {one["job_id"] for one in env.sent(env.answers)} == {None, "other"}


async def test_an_order_file_is_a_request_and_its_answer_is_returned(env: FunctionEnv, service: Service) -> None:
    env.put("orders/2026 + ü.json", b"\xef\xbb\xbf" + request("a.jpg", job_id="filed").encode())
    event = event_of("s3")
    event["Records"][0]["s3"]["bucket"]["name"] = env.sources

    answer = await invoke(service, event)

    assert (answer["job_id"], answer["status"]) == ("filed", "succeeded")
    assert [one["job_id"] for one in env.sent(env.answers)] == ["filed"]
    assert env.archive(answer["archive"]["key"]) == {"a.jpg": b"a"}


@pytest.mark.parametrize(
    ("content", "code"),
    [(None, "source_missing"), (b"\xff", "invalid_json"), (b"", "invalid_json"), (bytes(MIB + 1), "too_large")],
)
async def test_an_order_file_that_is_no_request_is_rejected(
    env: FunctionEnv, service: Service, content: bytes | None, code: str
) -> None:
    if content is not None:
        env.put("orders/bad.json", content)

    answer = await invoke(service, created(env.sources, "orders/bad.json"))

    assert (answer["status"], answer["error"]["code"]) == ("failed", code)
    if code != "invalid_json":
        assert f"the order file s3://{env.sources}/orders/bad.json" in answer["error"]["message"]


@pytest.mark.slow
async def test_an_order_file_may_be_told_of_by_a_queue_whose_dead_letters_keep_the_event(
    env: FunctionEnv, service: Service
) -> None:
    env.put("orders/good.json", request("a.jpg", job_id="filed").encode())
    env.put("orders/bad.json", request("gone.jpg", metadata={"k": "v"}).encode())
    bodies = [json.dumps(created(env.sources, f"orders/{name}.json")) for name in ("good", "bad")]

    assert await invoke(service, env.batch(*bodies, '{"Event": "s3:TestEvent"}')) == {"batchItemFailures": []}

    assert [one["job_id"] for one in env.sent(env.answers)] == ["filed"]
    assert [one["metadata"] for one in env.sent(env.failures)] == [{"k": "v"}]
    assert [one["Body"] for one in env.aws.all_messages(env.dead)] == [bodies[1]]


async def test_other_objects_are_archived_as_the_template_says(env: FunctionEnv, service: Service) -> None:
    env.put("photos/new one.jpg", b"new")

    answer = await invoke(service, created(env.sources, "photos/new+one.jpg"))

    assert (answer["status"], answer["metadata"]) == ("succeeded", {"by": "event"})
    assert env.archive(answer["archive"]["key"]) == {"new one.jpg": b"new"}


async def test_archives_that_appear_ask_for_nothing(env: FunctionEnv, service: Service) -> None:
    answer = await invoke(service, created(env.archives, "d/download.zip"))
    assert answer["status"] == "ignored"
    assert env.archives_made() == []


@pytest.mark.parametrize(("name", "job_id"), [("request", None), ("scheduler", "nightly"), ("eventbridge", "by-rule")])
async def test_a_request_is_answered_in_what_is_returned(
    env: FunctionEnv, service: Service, name: str, job_id: str | None
) -> None:
    answer = await invoke(service, event_of(name))

    assert (answer["status"], answer["job_id"]) == ("succeeded", job_id)
    assert env.sent(env.answers) == [answer]
    assert '"Jobs":1' in env.lines[0]


async def test_a_request_that_is_wrong_is_answered_and_not_repeated(service: Service) -> None:
    answer = await invoke(service, {"files": []})
    assert answer["error"] == {"code": "invalid_request", "message": "$.files should not be empty", "sources": []}


async def test_a_list_of_requests_gets_a_list_of_answers(service: Service) -> None:
    answers = await invoke(service, [json.loads(request("a.jpg")), request("gone.jpg"), 7])
    assert [one["status"] for one in answers] == ["succeeded", "failed", "failed"]
    assert await invoke(service, []) == []


async def test_without_rules_a_new_object_is_named_as_a_mistake(env: FunctionEnv) -> None:
    async with env.service() as service:
        answer = await invoke(service, created(env.sources, "orders/a.json"))
    assert "$ is an S3 event notification" in answer["error"]["message"]


async def test_a_single_request_that_may_succeed_later_is_raised_for_lambda_to_repeat(service: Service) -> None:
    failing, _ = broken(service, error=TransientError("the store is down"))
    with pytest.raises(NotDone, match="the store is down"):
        await invoke(failing, event_of("request"))


async def test_a_single_request_does_not_wait_for_the_operator(service: Service) -> None:
    """Nobody has to pay for a function that waits for a quarter of an hour, nor to wait for its answer."""
    failing, _ = broken(service, error=ConfigurationError("the bucket is gone"))
    run = EventRun(failing, invocation())
    with pytest.raises(NotDone, match="the bucket is gone"):
        await run.run(event_of("request"))
    assert run.misconfigured


@pytest.mark.slow
async def test_a_batch_is_held_while_the_operator_must_act_and_comes_again_late(
    env: FunctionEnv, service: Service
) -> None:
    failing, _ = broken(service, error=ConfigurationError("the bucket is gone"))
    event = env.batch(request("a.jpg"))
    event["Records"][0]["attributes"]["ApproximateReceiveCount"] = "5"
    run = EventRun(failing, invocation(seconds=2.0))

    assert await run.run(event) == failed_items(event, 0)

    assert run.misconfigured
    assert env.aws.all_messages(env.dead) == []
