"""Orders as the backend of Media Cloud AI sends them, and replies that its consumers take."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from emulator import EmulatedAws

from .amqp_env import COMPLETED, ERROR, PROGRESSION, QUEUE, AmqpEnv
from .mcai_backend import ACCEPTS
from .rabbit import Broker


@pytest.fixture
def env(aws: EmulatedAws, broker: Broker) -> Iterator[AmqpEnv]:
    with AmqpEnv(aws, broker) as opened:
        yield opened


def parameter(name: str, value: Any, kind: str = "string", **more: Any) -> dict[str, Any]:
    return {"id": name, "type": kind, "value": value, **more}


def order(env: AmqpEnv, job_id: int, *parameters: dict[str, Any]) -> None:
    """Publish an order with a priority and no other property, as the backend does."""
    env.client.publish(json.dumps({"job_id": job_id, "parameters": parameters}), QUEUE, "job_submit", priority=9)


def taken(env: AmqpEnv, queue: str) -> dict[str, Any]:
    """The next reply, which the backend's consumer accepts."""
    reply = env.raw_reply(queue)
    assert ACCEPTS[queue](reply.body), reply.body
    return dict(json.loads(reply.body))


def test_an_order_for_an_archive_is_completed(env: AmqpEnv) -> None:
    env.put("a.jpg", b"a")
    env.worker()
    order(env, 123, parameter("files", ["a.jpg"], "array_of_strings"))

    reply = taken(env, COMPLETED)

    assert (reply["job_id"], reply["status"]) == (123, "completed")
    [path] = reply["destination_paths"]
    bucket, _, key = path.removeprefix("s3://").partition("/")
    assert bucket == env.archives
    assert env.archive(key) == {"a.jpg": b"a"}
    first = taken(env, PROGRESSION)
    assert (first["job_id"], first["progression"]) == (123, 0)
    for rest in env.client.take_all(PROGRESSION):
        assert ACCEPTS[PROGRESSION](rest.body), rest.body


@pytest.mark.parametrize(
    "parameters",
    [
        [parameter("files", ["gone.jpg"], "array_of_strings")],
        [parameter("files", "[", "string")],
        [parameter("text", "no files, no command")],
        [parameter("command_template", "rm -rf /")],
        [parameter("files", "HOME", "string", store="env")],
        [parameter("files", "x", "array_of_strings")],
        [],
    ],
    ids=[
        "missing source",
        "no JSON",
        "no files",
        "no command of ours",
        "a variable of ours",
        "another type",
        "nothing",
    ],
)
def test_an_order_that_fails_has_one_error_that_the_backend_takes(
    env: AmqpEnv, parameters: list[dict[str, Any]]
) -> None:
    """The seed lets some of these circle for ever, without a reply."""
    env.worker()
    order(env, 7, *parameters)

    reply = taken(env, ERROR)

    assert (reply["job_id"], reply["status"]) == (7, "error")
    assert [one["id"] for one in reply["parameters"]] == ["message"]
    env.wait_until_empty()
