"""The handler: one loop and one set of clients for all invocations, opened anew where the operator had to act."""

import json
import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from otlp_collector import collecting

from archiver import awslambda
from archiver.awslambda import FunctionError, handler
from archiver.awslambda.event_run import NotDone
from archiver.telemetry.stdout import NonBlockingWriter

from .function_env import FUNCTION, FunctionEnv, request


class Context:
    aws_request_id = "invocation-1"
    invoked_function_arn = f"{FUNCTION}:live"

    def get_remaining_time_in_millis(self) -> int:
        return 30_000


@pytest.fixture
def _logging_as_before() -> Iterator[None]:
    root, told = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**told)


@pytest.fixture
def invoke(
    env: FunctionEnv, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, _logging_as_before: None
) -> Iterator[Callable[..., Any]]:
    """Invoke the handler as Lambda does, in one environment. Its output is in a file."""
    for name, value in env.settings(METRICS="emf").items():
        monkeypatch.setenv(name, value)
    output = os.open(tmp_path / "output", os.O_WRONLY | os.O_CREAT)
    environment = awslambda.ExecutionEnvironment(NonBlockingWriter(output))
    monkeypatch.setattr(awslambda, "_environment", environment)
    yield lambda event: handler(event, Context())
    environment.end()
    os.close(output)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "output").read_text().splitlines()]


def test_invocations_share_what_was_opened_and_all_is_written_when_they_return(
    env: FunctionEnv, invoke: Callable[..., Any], tmp_path: Path
) -> None:
    """The identity of a direct request is the function's, whatever alias it was invoked by."""
    before = signal.getsignal(signal.SIGTERM)
    first = invoke(json.loads(request("a.jpg", job_id="j")))
    opened = awslambda._environment
    assert opened is not None
    service = opened.service
    written = lines(tmp_path)
    second = invoke(json.loads(request("a.jpg", job_id="j")))

    assert opened.service is service is not None
    assert (first["status"], second["archive"]) == ("succeeded", first["archive"])
    done = next(line for line in written if line.get("message") == "job.done")
    assert (done["job_id"], done["request_id"]) == ("j", "invocation-1")
    assert any("Jobs" in line for line in written)
    assert any("Memory" in line for line in written)
    assert signal.getsignal(signal.SIGTERM) == before


def test_after_a_configuration_error_everything_is_opened_anew(
    env: FunctionEnv, invoke: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Credentials that have expired, or a bucket that was not there, are no reason to fail for ever."""
    monkeypatch.setenv("S3_DESTINATION_BUCKET", "not-there")
    with pytest.raises(NotDone, match="NoSuchBucket"):
        invoke(json.loads(request("a.jpg")))

    monkeypatch.setenv("S3_DESTINATION_BUCKET", env.archives)
    assert invoke(json.loads(request("a.jpg")))["status"] == "succeeded"


def test_settings_that_are_wrong_are_listed_in_the_error(
    invoke: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S3_DESTINATION_BUCKET", "")
    monkeypatch.setenv("ORDERS_PREFIX", "orders")
    monkeypatch.setenv("EVENT_REQUEST", '{"job_id": "j"}')
    with pytest.raises(FunctionError) as caught:
        invoke({})
    problems = str(caught.value).split("; ")
    assert [problem.partition(":")[0] for problem in problems] == [
        "ORDERS_PREFIX",
        "EVENT_REQUEST",
        "S3_DESTINATION_BUCKET",
    ]


def test_orders_are_not_looked_for_among_archives(
    env: FunctionEnv, invoke: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORDERS_PREFIX", f"{env.archives}/orders/")
    with pytest.raises(FunctionError, match="ORDERS_PREFIX: is in S3_DESTINATION_BUCKET"):
        invoke({})


def test_traces_are_sent_before_the_handler_returns_and_continue_those_of_the_queue(
    env: FunctionEnv, invoke: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("opentelemetry.sdk")
    event = env.batch(request("a.jpg"), request("absent.jpg"))
    for number, record in enumerate(event["Records"]):
        header = f"Root=1-0af76519-16cd43dd8448eb211c80319{number};Parent=b7ad6b7169203331;Sampled=1"
        record["attributes"]["AWSTraceHeader"] = header
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("TRACES_SAMPLED", "0")
        assert invoke(event) == {"batchItemFailures": []}

        jobs = {job.trace[-1]: job for job in collector.jobs()}
    assert {number: job.attributes["archiver.outcome"] for number, job in jobs.items()} == {
        "0": "done",
        "1": "rejected",
    }
    assert {job.parent for job in jobs.values()} == {"b7ad6b7169203331"}
    assert list(collector.below(jobs["0"])) == ["receive", "plan", "upload", "fetch", "assemble", "notify"]
    assert {"receive", "plan", "notify"} <= {one.name for one in collector.spans if one.parent == jobs["1"].id}
