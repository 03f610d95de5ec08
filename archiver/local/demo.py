"""`archiver demo`: builds one archive, downloads it and compares every byte."""

import asyncio
import io
import json
import sys
import urllib.request
import zipfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from secrets import token_hex
from time import monotonic
from typing import Any

from archiver.app import serve
from archiver.local.embedded import INPUT_QUEUE, OUTPUT_QUEUE, SOURCE_BUCKET, EmbeddedAws, LocalError, embedded_aws
from archiver.local.samples import PICTURES, draw_picture, read_sample
from archiver.settings import load_settings
from archiver.stages.progress import Progress
from archiver.stages.verify import verify
from archiver.telemetry.logs import configure_logs

DRAWN_COUNT = 200
PICTURES_PER_FOLDER = 50  # drawn pictures in one folder of the archive
ANSWER_TIMEOUT = 60.0  # seconds; wait for the answer, and for the download
MAX_PRINTED_PATHS = 3  # paths of the archive that are printed

_DEMO_SETTINGS = {"SQS_WAIT_SECONDS": "1"}  # a short long poll, so that the demo ends quickly


class DemoError(Exception):
    """The demo failed; the message says at which step."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One object of the demo: its *key*, its *folder* and *path* in the archive, its *content*."""

    key: str
    folder: str
    content: bytes

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.key.rpartition('/')[2]}"


def pictures() -> list[Picture]:
    """Return the objects of the demo: the shipped pictures, then the drawn ones in folders of 50."""
    shipped = [Picture(f"uploads/{name}", "photos", read_sample(name)) for name in PICTURES]
    return shipped + [
        Picture(f"uploads/drawn-{n:03}.png", f"drawn/series {n // PICTURES_PER_FOLDER + 1}", draw_picture(n))
        for n in range(DRAWN_COUNT)
    ]


def run_demo(*, verbose: bool = False) -> int:
    """
    Build one archive on a free port and print each step on stdout. Returns 0, or 1 with the reason on stderr.

    *verbose*: write the worker's log to stderr at once; else only after a failure.
    """
    log = io.StringIO()
    configure_logs(dev_mode=True, stream=sys.stderr if verbose else log)
    began = monotonic()
    try:
        with embedded_aws() as aws:
            _print_step("AWS", f"S3 and SQS in this process, {aws.endpoint}, started in {monotonic() - began:.1f} s")
            asyncio.run(run_round(aws, pictures()))
    except (LocalError, DemoError) as error:
        sys.stderr.write(f"{log.getvalue()}demo: {error}\n")
        return 1
    _print_step("done", f"{monotonic() - began:.1f} s in total, exit code 0")
    return 0


def check(body: bytes, expected: Mapping[str, bytes]) -> list[str]:
    """
    Return the paths in the zip *body*, in its order.

    Raises DemoError unless every CRC-32 is correct and the files equal *expected* (path → content), in that order.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            if (damaged := archive.testzip()) is not None:
                raise DemoError(f"{damaged} is damaged in the archive")
            found = {info.filename: archive.read(info) for info in archive.infolist()}
    except zipfile.BadZipFile as error:
        raise DemoError(f"the download is not a zip file: {error}") from None
    if list(found) != list(expected):
        raise DemoError(
            f"{len(expected)} files were requested; the archive has {len(found)}, with other paths or in another order"
        )
    if differing := [path for path, content in expected.items() if found[path] != content]:
        raise DemoError(f"{len(differing)} files differ from their objects, the first is {differing[0]}")
    return list(found)


class _DownloadedArchive:
    """The downloaded archive, as the ByteSource of `verify`."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.size = len(body)

    async def read(self, start: int, into: memoryview) -> None:
        into[:] = self._body[start : start + len(into)]


async def run_round(aws: EmbeddedAws, album: list[Picture]) -> None:
    total = sum(len(picture.content) for picture in album)
    await asyncio.to_thread(_upload, aws, album)
    kinds = f"{len(PICTURES)} pictures and {DRAWN_COUNT} drawn ones"
    _print_step("sources", f"{len(album)} objects, {total:,} bytes, in s3://{SOURCE_BUCKET}: {kinds}")
    began = monotonic()
    answer = await _run_job(aws, album)
    if answer.get("status") != "succeeded":
        raise DemoError(f"the job failed: {json.dumps(answer)}")
    archive, link = answer["archive"], answer["substitutions"]["archiver_URL"]
    _print_step(
        "answer", f"{answer['status']} after {monotonic() - began:.1f} s, metadata {json.dumps(answer['metadata'])}"
    )
    _print_step(
        "archive",
        f"{archive['files']} files, {archive['size']:,} bytes, {archive['size'] - total:,} of them zip structures",
    )
    _print_step("link", link)
    began = monotonic()
    body = await asyncio.to_thread(_download, link)
    _print_step("download", f"{len(body):,} bytes in {monotonic() - began:.2f} s")
    paths = check(body, {picture.path: picture.content for picture in album})
    _print_step("listing", f"{', '.join(paths[:MAX_PRINTED_PATHS])} … {paths[-1]}")
    _print_step("check", f"every CRC-32 is correct; all {len(paths)} files equal their objects, byte for byte")
    report = await verify(_DownloadedArchive(body), int(archive["crc32"], 16), deep=False, progress=Progress())
    if report.problems:
        raise DemoError("; ".join(report.problems))
    _print_step("verify", report.proof)


def _upload(aws: EmbeddedAws, album: list[Picture]) -> None:
    with closing(aws.client("s3")) as s3:
        for picture in album:
            s3.put_object(Bucket=SOURCE_BUCKET, Key=picture.key, Body=picture.content)


async def _run_job(aws: EmbeddedAws, album: list[Picture]) -> dict[str, Any]:
    """Start a worker, send the request, wait for the answer, stop the worker."""
    files = [{"source": picture.key, "destination": f"{picture.folder}/"} for picture in album]
    request = json.dumps({"job_id": f"demo-{token_hex(4)}", "files": files, "metadata": {"from": "archiver demo"}})
    settings = load_settings({**aws.environment, **_DEMO_SETTINGS})
    stop = asyncio.Event()
    with closing(aws.client("sqs")) as sqs:
        async with asyncio.TaskGroup() as tasks:
            worker = tasks.create_task(serve(settings, stop), name="worker")
            try:
                await asyncio.to_thread(sqs.send_message, QueueUrl=aws.queue_url(INPUT_QUEUE), MessageBody=request)
                _print_step("request", f"{len(request):,} bytes, sent to {INPUT_QUEUE}")
                deadline = monotonic() + ANSWER_TIMEOUT
                while not worker.done() and monotonic() < deadline:
                    if (
                        answer := await asyncio.to_thread(_receive_answer, sqs, aws.queue_url(OUTPUT_QUEUE))
                    ) is not None:
                        return answer
            finally:
                stop.set()
    raise DemoError(f"no answer within {ANSWER_TIMEOUT:.0f} s; the worker's exit code is {worker.result()}")


def _receive_answer(sqs: Any, url: str) -> dict[str, Any] | None:
    for message in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages", ()):
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        answer: dict[str, Any] = json.loads(message["Body"])
        return answer
    return None


def _download(link: str) -> bytes:
    with urllib.request.urlopen(link, timeout=ANSWER_TIMEOUT) as response:  # noqa: S310 - an http link to the embedded server
        body: bytes = response.read()
    return body


def _print_step(what: str, text: str) -> None:
    sys.stdout.write(f"{what:<9} {text}\n")
    sys.stdout.flush()
