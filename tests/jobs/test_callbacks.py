"""Requests that name where their answers are posted to."""

import json
from typing import Any

import pytest
from fakes import FakeHold, FakeNotifier
from worker.pipeline_env import PipelineEnv

from archiver.core.webhooks import CallbackRules
from archiver.errors import Rejected
from archiver.ports import Notifier

URL = "https://hooks.example.com/archives"


class FakeCallbacks:
    """One notifier for each URL that may be named."""

    def __init__(self) -> None:
        self.notifiers: dict[str, FakeNotifier] = {}

    def __call__(self, url: str) -> Notifier:
        CallbackRules(frozenset({"hooks.example.com"})).check(url)
        return self.notifiers.setdefault(url, FakeNotifier())

    def answers(self, url: str = URL) -> list[dict[str, Any]]:
        return [json.loads(note.body) for note in self.notifiers[url].sent]


@pytest.fixture
def callbacks() -> FakeCallbacks:
    return FakeCallbacks()


@pytest.fixture
def env(callbacks: FakeCallbacks) -> PipelineEnv:
    return PipelineEnv(callbacks=callbacks)


async def test_the_answer_is_posted_as_it_is_sent_and_does_not_repeat_the_url(
    env: PipelineEnv, callbacks: FakeCallbacks
) -> None:
    env.put(a_jpg=b"a")

    await env.run("a.jpg", callback_url=URL)

    assert callbacks.answers() == [env.answer]
    assert "hooks.example.com" not in json.dumps(env.answer)


async def test_a_failure_is_posted_too_even_of_a_request_that_is_invalid(
    env: PipelineEnv, callbacks: FakeCallbacks
) -> None:
    message = await env.message(files=[{"source": 7}], callback_url=URL)

    with pytest.raises(Rejected) as rejected:
        await env.pipeline.run(message, FakeHold())
    await env.pipeline.send_failure(message, rejected.value, FakeHold())

    (failure,) = callbacks.answers()
    assert (failure["status"], failure["error"]["code"]) == ("failed", "invalid_request")


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://other.example.com/", "option_not_allowed"),
        ("https://169.254.169.254/latest/meta-data/", "option_not_allowed"),
        ("http://hooks.example.com/", "invalid_request"),
        (7, "invalid_request"),
        ("https://hooks.example.com/" + "x" * 3000, "invalid_request"),
    ],
)
async def test_a_url_that_may_not_be_named_rejects_the_request_before_anything_is_done_and_is_not_posted_to(
    env: PipelineEnv, callbacks: FakeCallbacks, url: object, code: str
) -> None:
    env.put(a_jpg=b"a")
    message = await env.message(files=[{"source": "a.jpg"}], callback_url=url)

    with pytest.raises(Rejected) as rejected:
        await env.pipeline.run(message, FakeHold())
    await env.pipeline.send_failure(message, rejected.value, FakeHold())

    assert (rejected.value.code, callbacks.notifiers, env.stage.receipts.keys) == (code, {}, [])
    assert json.loads(env.failures.sent[-1].body)["error"]["code"] == code


async def test_where_the_operator_lists_no_hosts_no_request_may_name_one() -> None:
    env = PipelineEnv()
    message = await env.message(files=[{"source": "a.jpg"}], callback_url=URL)

    with pytest.raises(Rejected, match="POLICY_FILE") as rejected:
        await env.pipeline.run(message, FakeHold())
    await env.pipeline.send_failure(message, rejected.value, FakeHold())

    assert rejected.value.code == "option_not_allowed"
    assert len(env.failures.sent) == 1


async def test_a_ping_tells_that_its_url_may_not_be_named(env: PipelineEnv, callbacks: FakeCallbacks) -> None:
    await env.run("a.jpg", test=True, callback_url="https://other.example.com/")
    refused = env.answer
    await env.run("a.jpg", test=True, callback_url=URL)

    assert (refused["accepted"], refused["problem"]["code"]) == (False, "option_not_allowed")
    assert callbacks.answers() == [env.answer]


async def test_another_url_is_the_same_request(env: PipelineEnv) -> None:
    env.put(a_jpg=b"a")

    first = await env.run("a.jpg", job_id="j", callback_url=URL)
    second = await env.run("a.jpg", job_id="j")

    assert (first.reused, second.reused) == (False, True)
