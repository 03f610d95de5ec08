"""The start: its checks side by side, bounded, against the signal to stop; settings that contradict each other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
from aws.failing_clients import answer, client_error, make_failing_clients, make_s3_calls
from emulator import EmulatedAws
from fakes.objects import FakeReader, FakeS3
from structlog.testing import capture_logs

from archiver.aws.clients import Clients
from archiver.aws.error_mapping import CredentialsError
from archiver.aws.queues import SqsNotifier
from archiver.core.locations import Location
from archiver.doors.start import (
    StartupResources,
    check_and_open_source,
    check_reachable,
    open_with_credentials,
    probe_locations,
    run_until_stopped,
)
from archiver.errors import ConfigurationError, SourceUnavailable, TransferInterrupted
from archiver.settings import Settings, SettingsError, load_settings
from archiver.worker.heartbeat import Heartbeat

MISSING = SourceUnavailable("source_missing", "")


def settings(source: str = "jobs", **more: str) -> Settings:
    given = {"SQS_SOURCE_QUEUE": source, "S3_DESTINATION_BUCKET": "archives", **more}
    return load_settings(given)


class Reader:
    """Raises *error* at each HEAD, or never answers."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.asked: list[Location] = []

    async def head(self, location: Location) -> Any:
        self.asked.append(location)
        if self.error is None:
            await asyncio.Event().wait()
        raise self.error or AssertionError

    async def list(self, *_: Any) -> Any:
        raise AssertionError

    async def serve(self, *_: Any) -> Any:
        raise AssertionError

    async def read(self, *_: Any) -> None:
        raise AssertionError


@asynccontextmanager
async def logged() -> AsyncIterator[list[Any]]:
    before = structlog.get_config()
    structlog.reset_defaults()
    try:
        with capture_logs() as lines:
            yield lines
    finally:
        structlog.configure(**before)


def outlets(clients: Clients, **named: str | None) -> dict[str, SqsNotifier | None]:
    return {name: SqsNotifier(clients.sqs_control, queue) if queue else None for name, queue in named.items()}


def redriving(aws: EmulatedAws) -> tuple[str, str]:
    """A source queue and its dead-letter queue."""
    dead = aws.queue()
    return aws.queue({"RedrivePolicy": f'{{"deadLetterTargetArn":"{aws.arn(dead)}","maxReceiveCount":"3"}}'}), dead


@pytest.mark.parametrize("variable", ["SQS_DESTINATION_QUEUE", "SQS_FAILURE_QUEUE", "PROGRESS_QUEUE"])
@pytest.mark.parametrize("spelling", ["name", "URL", "ARN"])
@pytest.mark.parametrize("told", ["the source queue", "the source queue's dead-letter queue"])
async def test_queue_that_is_sent_to_is_neither_source_nor_dead_letter_queue_in_any_spelling(
    variable: str, spelling: str, told: str, aws: EmulatedAws, clients: Clients
) -> None:
    queues = redriving(aws)
    url = queues[told.endswith("dead-letter queue")]
    given = {"name": url.rpartition("/")[2], "URL": url, "ARN": aws.arn(url)}[spelling]
    resources = StartupResources(
        clients, outlets(clients, **{variable: given}), Reader(SourceUnavailable("source_missing", ""))
    )
    with pytest.raises(SettingsError) as caught:
        await check_and_open_source(settings(queues[0]), resources, Heartbeat(), asyncio.Event())
    assert any(problem.startswith(f"{variable}: {told}: ") for problem in caught.value.problems)


async def test_queue_whose_arn_may_not_be_asked_for_is_known_by_its_url(aws: EmulatedAws, clients: Clients) -> None:
    source = aws.queue()
    denied = make_failing_clients(client_error("AccessDenied", 403), get_queue_url={"QueueUrl": source})
    queues: dict[str, SqsNotifier | None] = {"SQS_FAILURE_QUEUE": SqsNotifier(denied.sqs_control, "jobs")}
    resources = StartupResources(clients, queues, Reader(MISSING))
    with pytest.raises(SettingsError, match="SQS_FAILURE_QUEUE: the source queue"):
        await check_and_open_source(settings(source), resources, Heartbeat(), asyncio.Event())


async def test_redrive_policy_that_names_the_queue_itself_stops_the_start(aws: EmulatedAws, clients: Clients) -> None:
    source = aws.queue()
    itself = f'{{"deadLetterTargetArn":"{aws.arn(source)}","maxReceiveCount":"3"}}'
    aws.sqs.set_queue_attributes(QueueUrl=source, Attributes={"RedrivePolicy": itself})
    resources = StartupResources(clients, {"SQS_FAILURE_QUEUE": None}, Reader(MISSING))
    with pytest.raises(SettingsError, match="RedrivePolicy names the queue itself"):
        await check_and_open_source(settings(source), resources, Heartbeat(), asyncio.Event())


async def test_queues_of_their_own_are_fine(aws: EmulatedAws, clients: Clients) -> None:
    source, _ = redriving(aws)
    queues = outlets(clients, SQS_DESTINATION_QUEUE=aws.queue(), SQS_FAILURE_QUEUE=aws.queue())
    resources = StartupResources(clients, queues, Reader(MISSING))
    given = settings(source, S3_DESTINATION_BUCKET=aws.bucket())
    assert await check_and_open_source(given, resources, Heartbeat(), asyncio.Event()) is not None


@pytest.mark.parametrize(
    "error", [TransferInterrupted("no connection to archives: gaierror"), ConfigurationError("the proxy p:1 refuses")]
)
async def test_store_that_our_own_client_does_not_reach_is_warned_of_before_any_message(
    error: Exception, aws: EmulatedAws, clients: Clients
) -> None:
    reader = Reader(error)
    given = settings(aws.queue(), S3_DESTINATION_BUCKET=aws.bucket(), S3_SOURCE_BUCKET=aws.bucket())
    async with logged() as lines:
        assert (
            await check_and_open_source(given, StartupResources(clients, {}, reader), Heartbeat(), asyncio.Event())
            is not None
        )
    warned = {line["setting"]: line["reason"] for line in lines if line["event"] == "start.unchecked"}
    assert warned.keys() == {"S3_DESTINATION_BUCKET", "S3_SOURCE_BUCKET"}
    assert all(str(error) in reason for reason in warned.values())


@pytest.mark.parametrize("code", ["source_missing", "source_denied"])
async def test_any_answer_of_the_store_about_the_probe_is_fine(code: Any) -> None:
    await check_reachable(Reader(SourceUnavailable(code, "")), Location("archives", "x"))


async def test_probe_is_what_a_request_might_name() -> None:
    given = settings(S3_SOURCE_BUCKET="photos", S3_ALLOWED_SOURCES="photos/team/")
    assert [(name, str(place)) for name, place in probe_locations(given)] == [
        ("S3_DESTINATION_BUCKET", "s3://archives/.archiver-check"),
        ("S3_SOURCE_BUCKET", "s3://photos/team/.archiver-check"),
    ]


async def test_checks_that_hang_are_given_up_together_and_named(aws: EmulatedAws, clients: Clients) -> None:
    given = settings(aws.queue(), S3_DESTINATION_BUCKET=aws.bucket(), S3_SOURCE_BUCKET=aws.bucket())
    async with logged() as lines:
        assert (
            await check_and_open_source(
                given, StartupResources(clients, {}, Reader(None), timeout=0.2), Heartbeat(), asyncio.Event()
            )
            is not None
        )
    late = [line["setting"] for line in lines if line["event"] == "start.unchecked" and "no answer" in line["reason"]]
    assert set(late) >= {"S3_DESTINATION_BUCKET", "S3_SOURCE_BUCKET"}


async def test_signal_to_stop_is_heard_while_checks_hang(aws: EmulatedAws, clients: Clients) -> None:
    stop, reader = asyncio.Event(), Reader(None)
    resources = StartupResources(clients, {}, reader)
    opening = asyncio.create_task(check_and_open_source(settings(aws.queue()), resources, Heartbeat(), stop))
    while not reader.asked:
        await asyncio.sleep(0.01)
    stop.set()
    assert await opening is None
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_signal_to_stop_is_heard_while_the_source_queue_hangs(aws: EmulatedAws) -> None:
    stop, begun = asyncio.Event(), asyncio.Event()

    class Hanging:
        def __getattr__(self, name: str) -> Any:
            async def call(**_: Any) -> Any:
                if name == "get_queue_url":
                    begun.set()
                    await asyncio.Event().wait()
                return {}

            return call

    one: Any = Hanging()
    resources = StartupResources(
        Clients(one, one, one, one, make_s3_calls(client_error("NoSuchBucket", 404), head_object=answer())),
        {},
        FakeReader(FakeS3()),
    )
    opening = asyncio.create_task(check_and_open_source(settings(), resources, Heartbeat(), stop))
    await begun.wait()
    stop.set()
    assert await opening is None


async def test_provider_of_credentials_that_comes_late_is_waited_for() -> None:
    faults = [CredentialsError("credentials can't be had: container-role"), None]

    async def connect() -> str:
        fault = faults.pop(0)
        if fault is not None:
            raise fault
        return "clients"

    async with logged() as lines:
        assert await open_with_credentials(connect, Heartbeat(), asyncio.Event(), lambda _: 0.0) == "clients"
    assert [(line["event"], line["reason"]) for line in lines] == [
        ("worker.paused", "credentials can't be had: container-role")
    ]


async def test_wait_for_credentials_ends_with_the_signal_to_stop() -> None:
    stop, heartbeat = asyncio.Event(), Heartbeat()

    async def connect() -> str:
        asyncio.get_running_loop().call_later(0.01, stop.set)
        raise CredentialsError("credentials can't be had")

    assert await open_with_credentials(connect, heartbeat, stop) is None
    assert heartbeat.failing


async def test_settings_of_no_use_are_not_waited_for() -> None:
    async def connect() -> str:
        raise ConfigurationError("AWS_REGION: no")

    with pytest.raises(SettingsError, match="AWS_REGION: no"):
        await open_with_credentials(connect, Heartbeat(), asyncio.Event())


async def test_work_that_is_done_at_the_moment_of_the_signal_is_kept() -> None:
    stop = asyncio.Event()

    async def work() -> str:
        stop.set()
        return "done"

    assert await run_until_stopped(work(), stop) == "done"
