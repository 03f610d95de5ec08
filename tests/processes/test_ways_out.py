"""A worker whose answers go further than SQS."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import pytest
from faults.worker_process import wait_until
from receivers import Receivers, receivers

from .archiver_process import run_command
from .worker_env import WorkerEnv

if TYPE_CHECKING:
    from emulator import EmulatedAws

__all__ = ["receivers"]


class Webhook:
    """A server on 127.0.0.1 that takes what is posted. The first *hangs* requests get no answer before `let_go`."""

    def __init__(self, hangs: int = 0) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self._gate = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.headers.append({name.lower(): value for name, value in self.headers.items()})
                outer.bodies.append(self.rfile.read(int(self.headers["content-length"])))
                if len(outer.bodies) <= hangs:
                    outer._gate.wait(60)
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}/a-secret-path"

    def let_go(self) -> None:
        self._gate.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def test_every_way_out_gets_successes_and_failures_alike(aws: "EmulatedAws", receivers: Receivers) -> None:
    topic, queue = receivers.topic()
    with WorkerEnv(aws) as env:
        env.put("a.jpg")
        worker = env.worker(
            NOTIFY_SNS_TOPIC=topic, NOTIFY_EVENT_BUS=receivers.bus(), NOTIFY_LAMBDA=receivers.function()
        )
        env.send_request("a.jpg", attributes={"Correlation-Id": "c-1"})
        answer = env.answer()
        env.send_request("nowhere.jpg")
        (failure,) = (json.loads(one["Body"]) for one in env.receive(env.failures))
        env.wait_until_empty()
        worker.terminate()
        assert worker.exit_code() == 0

    published = [(json.loads(body), attributes) for body, attributes in receivers.messages(queue)]
    assert sorted(published, key=str) == sorted(
        [(answer, {"status": "succeeded", "Correlation-Id": "c-1"}), (failure, {"status": "failed"})], key=str
    )
    assert "answer.unsent" not in worker.log


def test_answers_may_go_to_a_topic_alone(aws: "EmulatedAws", receivers: Receivers) -> None:
    topic, queue = receivers.topic(fifo=True)
    arrived: list[dict[str, Any]] = []

    def all_there() -> bool:
        arrived.extend(json.loads(body) for body, _ in receivers.messages(queue))
        return len(arrived) >= 2

    with WorkerEnv(aws) as env:
        env.put("a.jpg")
        env.worker(NOTIFY_SNS_TOPIC=topic, SQS_DESTINATION_QUEUE="", SQS_FAILURE_QUEUE="")
        env.send_request("a.jpg", progress=True)
        env.send_request("nowhere.jpg")
        wait_until(all_there, "two answers")
        env.wait_until_empty()

    assert sorted(answer["status"] for answer in arrived) == ["failed", "succeeded"], "progress goes to a queue"


def test_a_webhook_of_the_settings_gets_answers_and_one_that_hangs_holds_up_nothing(aws: "EmulatedAws") -> None:
    secret = f"whsec_{base64.b64encode(b'k' * 32).decode()}"
    with WorkerEnv(aws) as env, Webhook(hangs=1) as webhook:
        env.put("a.jpg")
        worker = env.worker(NOTIFY_WEBHOOK_URL=webhook.url, NOTIFY_WEBHOOK_SECRET=secret)
        env.send_request("a.jpg", job_id="first")
        assert env.answer()["status"] == "succeeded"
        env.wait_until_empty()
        env.send_request("a.jpg", job_id="second")
        answer = env.answer()
        wait_until(lambda: len(webhook.bodies) == 2, "the second answer to be posted")
        env.wait_until_empty()
        webhook.let_go()
        worker.terminate()
        assert worker.exit_code() == 0

    assert json.loads(webhook.bodies[1]) == answer
    assert webhook.headers[1]["webhook-id"] == answer["notification_id"]
    assert webhook.headers[1]["webhook-signature"].startswith("v1,")
    assert secret not in worker.log and webhook.url not in worker.log


def test_what_does_not_exist_stops_the_start_and_each_is_named(aws: "EmulatedAws") -> None:
    with WorkerEnv(aws) as env:
        settings = env.settings(
            NOTIFY_SNS_TOPIC="arn:aws:sns:eu-west-1:123456789012:none",
            NOTIFY_EVENT_BUS="none",
            NOTIFY_LAMBDA="none",
            NOTIFY_LAMBDA_TYPE="RequestResponse",
        )
        ended = run_command("run", env=settings)
        checked = run_command("check", "--json", env=settings)

    assert ended.returncode == 2
    lines = [line for line in ended.stderr.splitlines() if line.startswith("NOTIFY_")]
    assert [line.partition(":")[0] for line in lines] == ["NOTIFY_SNS_TOPIC", "NOTIFY_EVENT_BUS", "NOTIFY_LAMBDA"]
    assert all("does not exist" in line for line in lines)
    found = {one["what"]: one["state"] for one in json.loads(checked.stdout)}
    assert {found[kind] for kind in ("topic", "event bus", "function")} == {"bad"}


def test_check_and_policy_know_what_exists(aws: "EmulatedAws", receivers: Receivers) -> None:
    topic, _ = receivers.topic()
    with WorkerEnv(aws) as env:
        settings = env.settings(
            NOTIFY_SNS_TOPIC=topic,
            NOTIFY_EVENT_BUS=receivers.bus(),
            NOTIFY_LAMBDA=receivers.function(),
            NOTIFY_WEBHOOK_URL="https://hooks.example.com/x",
        )
        checked = run_command("check", "--json", env=settings)
        policy = run_command("iam-policy", env=settings)

    found = {one["what"]: one["state"] for one in json.loads(checked.stdout)}
    assert {found[kind] for kind in ("topic", "event bus", "function", "webhook")} == {"ok"}
    statements = {one["Sid"]: one["Resource"] for one in json.loads(policy.stdout)["Statement"]}
    assert statements["PublishAnswers"] == [topic]
    assert {"PutAnswers", "InvokeWithAnswers"} <= statements.keys()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("NOTIFY_SNS_TOPIC", "archives", "the ARN of a topic"),
        ("NOTIFY_EVENT_BUS", "a b", "the name or the ARN of an event bus"),
        ("NOTIFY_LAMBDA", "https://f", "the name or the ARN of a function"),
        ("NOTIFY_WEBHOOK_URL", "https://user:hunter2@a.b/", "an http or https URL without user"),
        ("NOTIFY_WEBHOOK_SECRET", "hunter2", "echo whsec_"),
        ("NOTIFY_LAMBDA_TYPE", "Event", "has an effect only with NOTIFY_LAMBDA"),
    ],
)
def test_a_setting_that_names_nothing_is_told(name: str, value: str, told: str) -> None:
    from archiver.settings import SettingsError, load_settings  # noqa: PLC0415

    with pytest.raises(SettingsError, match=told) as caught:
        load_settings({"SQS_SOURCE_QUEUE": "in", "S3_DESTINATION_BUCKET": "zips", name: value})
    assert "hunter2" not in str(caught.value)
