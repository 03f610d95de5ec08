"""`archiver send`: send a request to the service; with `--wait`, show progress until the archive exists."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from secrets import token_hex
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archiver.cli import request_input, selection_input, send_amqp
from archiver.cli.answer import FINAL_STATUSES, print_answer
from archiver.cli.console import (
    EXIT_RETRY_LATER,
    EXIT_USAGE,
    CommandError,
    environment,
    print_json,
    print_line,
    print_note,
)
from archiver.cli.runner import run_async

if TYPE_CHECKING:
    from archiver.settings import Environment

ARCHIVE_POLL_INTERVAL = 10.0  # seconds between two HEADs of the archive


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: archiver send --file source.jpg=album_1 --meta user=42 --wait")(send)


def send(
    request: request_input.RequestFile = None,
    file: request_input.Files = None,
    prefix: selection_input.Prefixes = None,
    regex: selection_input.Regex = None,
    where: selection_input.Where = None,
    recursive: selection_input.Recursive = True,
    folders: selection_input.Folders = False,
    manifest: selection_input.Manifest = None,
    manifest_to: selection_input.ManifestTo = None,
    job_id: request_input.JobId = None,
    meta: request_input.Meta = None,
    archive_name: request_input.ArchiveName = None,
    on_missing: request_input.OnMissing = None,
    on_duplicate: request_input.OnDuplicate = None,
    on_empty: selection_input.OnEmpty = None,
    on_archived: request_input.OnArchived = None,
    wait_for: request_input.WaitFor = None,
    compression: request_input.Compression = None,
    strategy: request_input.Strategy = None,
    callback_url: request_input.CallbackUrl = None,
    queue: Annotated[
        str | None, typer.Option(help="Source queue: name, URL or ARN. Default: SQS_SOURCE_QUEUE.")
    ] = None,
    amqp: send_amqp.Amqp = False,
    wait: Annotated[bool, typer.Option("--wait", help="Show the job's progress, then print the link.")] = False,
    timeout: Annotated[float, typer.Option(help="With --wait: maximum wait in seconds.")] = 3600.0,
    json_: Annotated[
        bool, typer.Option("--json", help="Print the sent message, or with --wait the answer, as JSON.")
    ] = False,
) -> None:
    """
    Check a request and send it to the source queue.

    With --wait, the command reads the job's events from PROGRESS_QUEUE. If that is not set, it reads the answer queue
    and the failure queue, which then must have no other consumer. Ctrl-C stops the command, not the job.
    """
    options = {
        "job_id": job_id,
        "archive_name": archive_name,
        "on_missing": on_missing,
        "on_duplicate": on_duplicate,
        "on_empty": on_empty,
        "on_archived": on_archived,
        "wait_for": request_input.wait_for(wait_for),
        "compression": compression,
        "strategy": strategy,
        "callback_url": callback_url,
    }
    selection = selection_input.SelectionInput(prefix or (), regex, where or (), recursive, manifest, folders)
    given = request_input.RequestInput(request, file or (), tuple(options.items()), meta or (), selection)
    if amqp and wait:
        send_amqp.refuse_wait()
    body = request_input.build_body(given, max_bytes=None if manifest_to else request_input.MAX_BODY_BYTES)
    to_queue = Destination(queue, amqp)
    run_async(lambda: _send(body, to_queue, manifest_to, timeout if wait else None, as_json=json_))


@dataclass(frozen=True, slots=True)
class Destination:
    """Where requests are sent: *queue* in place of the setting's; *amqp*: at RabbitMQ."""

    queue: str | None
    amqp: bool


async def _send(
    body: str, to: Destination, manifest_to: str | None, wait_seconds: float | None, *, as_json: bool
) -> None:
    """
    Check and send *body*; its files are uploaded to *manifest_to* if it is too long. With *wait_seconds*, wait for the
    answer that long.
    """
    from archiver.cli.build_context import check_request
    from archiver.settings import load_environment

    settings = load_environment(environment())
    check_request(body, settings)
    request = json.loads(body)
    if manifest_to and len(body.encode()) > request_input.MAX_BODY_BYTES:
        upload = selection_input.Upload(request, manifest_to)
        check_request(_dump_request(upload.pointer), settings)
        await upload.run(settings)
        request = upload.pointer
    if to.amqp:
        await send_amqp.send_to_broker(_dump_request(request), request, settings, to.queue, as_json=as_json)
        return
    operation = SendOperation(request, settings, to.queue, wait_seconds or 0.0)
    await (operation.send_only(as_json) if wait_seconds is None else operation.send_and_wait(as_json))


@dataclass
class ReceivedProgress:
    """Progress of the job, from its latest progress event."""

    files: int = 0
    bytes: int = 0
    files_planned: int = 0
    bytes_planned: int = 0
    awaited: int = 0
    fraction: float | None = None


@dataclass
class SendOperation:
    """Sends one request and waits for its answer. *to*: the queue instead of SQS_SOURCE_QUEUE; *timeout* in seconds."""

    request: dict[str, Any]
    settings: "Environment"
    to: str | None
    timeout: float
    counts: ReceivedProgress = field(default_factory=ReceivedProgress)
    activity: str = "waiting for a worker"

    @property
    def queue(self) -> str:
        from archiver.cli.source import require_sqs

        if self.to:
            return self.to
        require_sqs(self.settings, "send the request to RabbitMQ with --amqp")
        return str(self.settings.source_queue)

    async def send_only(self, as_json: bool) -> None:
        """Send the request and print its message id."""
        from archiver.aws.request_client import send_request, sqs_client

        queue, job_id = self.queue, self.request.get("job_id")
        async with sqs_client() as client:
            message = await send_request(client, queue, _dump_request(self.request), job_id)
        if as_json:
            print_json({"message_id": message, "job_id": job_id, "queue": queue})
        else:
            print_line(
                f"sent {request_input.file_count(self.request)} to {queue}: message {message}"
                + (f", job {job_id}" if job_id else "")
            )

    async def send_and_wait(self, as_json: bool) -> None:
        """Send the request, show progress, print the link. Raises CommandError with the reason if it is rejected."""
        from archiver.aws.request_client import AnswerPoller, get_queue_arn, send_request, sqs_client
        from archiver.cli.progress_bar import show_progress

        queue, queues = self.queue, self._queues_to_poll()
        self.request.setdefault("job_id", f"send-{token_hex(8)}")  # identifies the events of this request
        job_id = self.request["job_id"]
        if self.settings.progress_queue is None:
            self.request["progress"] = True
        async with sqs_client() as client:
            arn = await get_queue_arn(client, queue)
            message = await send_request(client, queue, _dump_request(self.request), job_id)
            print_note(f"sent {request_input.file_count(self.request)} to {queue}: message {message}, job {job_id}")
            try:
                bar = show_progress(f"job {job_id}", self.counts, first=lambda: self.activity)
                async with asyncio.timeout(self.timeout), bar:
                    answer = await self._wait_for_answer(AnswerPoller(client), queues, arn)
            except TimeoutError:
                raise CommandError(
                    f"no answer within {self.timeout:g} s; the job {job_id} continues", code=EXIT_RETRY_LATER
                ) from None
            except asyncio.CancelledError:
                raise CommandError(f"stopped waiting; the job {job_id} continues", code=130) from None
        print_answer(answer, as_json=as_json)

    def _queues_to_poll(self) -> list[str]:
        """Return the queues that receive success and failure of the job. Raises CommandError if there are none."""
        settings = self.settings
        if settings.progress_queue:
            return [settings.progress_queue]
        if settings.destination_queue and settings.failure_queue:
            return list(dict.fromkeys((settings.destination_queue, settings.failure_queue)))
        raise CommandError(
            "--wait: no queue to receive the answer from; set PROGRESS_QUEUE to the worker's value (or both "
            "SQS_DESTINATION_QUEUE and SQS_FAILURE_QUEUE)",
            code=EXIT_USAGE,
        )

    async def _wait_for_answer(self, poller: Any, queues: Sequence[str], arn: str) -> dict[str, Any]:
        """Return the first answer from one of *queues*, or one made up when the archive exists in S3."""
        polls = [self._poll_queue(poller, name) for name in queues]
        polls.append(self._find_archive(arn))
        tasks = [asyncio.create_task(poll, name="send.poll") for poll in polls]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return next(iter(done)).result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _poll_queue(self, poller: Any, queue: str) -> dict[str, Any]:
        job_id = self.request["job_id"]
        while True:
            for body in await poller.poll(queue, lambda text: _job_id_of(text) == job_id):
                event = json.loads(body)
                if event.get("status") in FINAL_STATUSES:
                    return dict(event)
                self.activity = f"a worker is checking {request_input.file_count(self.request, 'object')}"
                for name, value in event.get("progress", {}).items():
                    setattr(self.counts, name, value)

    async def _find_archive(self, arn: str) -> dict[str, Any]:
        """Poll S3 for the archive's key: another consumer may have taken the answer. Returns a made-up answer."""
        if self.settings.destination_bucket is None or self.request.get("test"):
            await asyncio.Event().wait()
        from archiver.app import open_aws
        from archiver.aws.clients import ClientLimits
        from archiver.aws.s3_store import S3Store
        from archiver.core.locations import archive_digest, archive_key
        from archiver.doors.links import open_links
        from archiver.errors import ArchiverError

        settings = self.settings
        bucket = str(settings.destination_bucket)
        secret = settings.key_secret.get_secret_value() if settings.key_secret else None
        key = archive_key(archive_digest(secret, arn, self.request["job_id"], ""), settings.file_prefix)
        began = monotonic()
        async with open_aws(ClientLimits(), settings) as (clients, _), open_links(settings, clients.session) as links:
            store, found = S3Store(clients, bucket), None
            while found is None:
                await asyncio.sleep(ARCHIVE_POLL_INTERVAL)
                try:
                    found = await store.find(key)
                except ArchiverError:  # without the right to read the bucket, only the queues have the answer
                    continue
            await asyncio.sleep(ARCHIVE_POLL_INTERVAL)  # prefer the real answer, which is sent after the archive
            link = await links.link(key)
        return {
            "metadata": self.request.get("metadata"),
            "substitutions": {"archiver_URL": link.url},
            "job_id": self.request["job_id"],
            "status": found.metadata.get("archiver-outcome", "succeeded"),
            "archive": {"bucket": bucket, "key": key, "size": found.size},
            "seconds": round(monotonic() - began, 1),
        }


def _job_id_of(body: str) -> object:
    try:
        data = json.loads(body)
    except ValueError:
        return None
    return data.get("job_id") if isinstance(data, dict) else None


def _dump_request(request: dict[str, Any]) -> str:
    from archiver.core.strict_json import dump

    return dump(request)
