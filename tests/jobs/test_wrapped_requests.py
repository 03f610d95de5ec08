"""Requests that arrive wrapped are the same jobs as the requests alone; what is kept of them is what arrived."""

import json
from dataclasses import replace

import pytest
from fakes import FakeHold
from worker.pipeline_env import PipelineEnv

from archiver.errors import Rejected

REQUEST = json.dumps({"files": [{"source": "a.jpg"}], "job_id": "j", "metadata": {"k": "v"}})
ENVELOPE = {"Type": "Notification", "TopicArn": "arn:aws:sns:eu-west-1:1:t", "Message": REQUEST}


async def test_a_wrapped_request_and_the_request_alone_are_one_job() -> None:
    env = PipelineEnv()
    env.put(a_jpg=b"a")
    message = await env.message(files=[])
    wrapped = replace(message, body=json.dumps(ENVELOPE))

    assert env.pipeline.read_job_id(wrapped) == "j"
    first = await env.pipeline.run(wrapped, FakeHold())
    again = await env.pipeline.run(replace(message, body=REQUEST), FakeHold())

    assert (first.reused, again.reused, first.key) == (False, True, again.key)
    assert env.answer["metadata"] == {"k": "v"}


async def test_a_ping_in_a_json_string_is_answered() -> None:
    env = PipelineEnv()
    ping = json.dumps(json.dumps({"test": True}))

    done = await env.pipeline.run(replace(await env.message(files=[]), body=ping), FakeHold())

    assert done.status == "alive"
    assert env.answer["accepted"] is False


async def test_a_rejected_request_is_kept_in_its_wrapper() -> None:
    env = PipelineEnv()
    body = json.dumps({**ENVELOPE, "Message": REQUEST.replace("a.jpg", "")})
    message = replace(await env.message(files=[]), body=body)
    with pytest.raises(Rejected) as caught:
        await env.pipeline.run(message, FakeHold())

    await env.pipeline.reject(message, caught.value, FakeHold())

    assert [one.body for one in env.dead.messages] == [body]
