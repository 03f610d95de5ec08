"""One archive from beginning to end, and a check of every byte of it: `archiver demo`."""

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
ANSWER_TIMEOUT = 60.0  # seconds until an answer
MAX_PRINTED_PATHS = 3  # paths of the archive that are printed

_DEMO_SETTINGS = {"SQS_WAIT_SECONDS": "1"}  # nobody waits five seconds for the end of a long poll


class DemoError(Exception):
    """The round did not end as it should; the message says where."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One object of the demo: its *key*, where its *folder* in the archive is, and the archive's *path* for it."""

    key: str
    folder: str
    content: bytes

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.key.rpartition('/')[2]}"


def pictures() -> list[Picture]:
    """What the demo archives: the shipped pictures, then the drawn ones in folders of 50."""
    shipped = [Picture(f"uploads/{name}", "photos", read_sample(name)) for name in PICTURES]
    return shipped + [
        Picture(f"uploads/drawn-{n:03}.png", f"drawn/series {n // PICTURES_PER_FOLDER + 1}", draw_picture(n))
        for n in range(DRAWN_COUNT)
    ]


def run_demo(*, verbose: bool = False) -> int:
    """
    Do one round on a free port, and say on stdout what happened. Returns 0, or 1 with the reason on stderr.

    *verbose*: the worker's log goes to stderr as it comes; else only after a failure.
    """
    log = io.StringIO()
    configure_logs(dev_mode=True, stream=sys.stderr if verbose else log)
    began = monotonic()
    try:
        with embedded_aws() as aws:
            _print_step("AWS", f"an S3 and an SQS in this process, {aws.endpoint}, up in {monotonic() - began:.1f} s")
            asyncio.run(run_round(aws, pictures()))
    except (LocalError, DemoError) as problem:
        sys.stderr.write(f"{log.getvalue()}demo: {problem}\n")
        return 1
    _print_step("done", f"{monotonic() - began:.1f} s in all, exit code 0")
    return 0


def check(body: bytes, expected: Mapping[str, bytes]) -> list[str]:
    """
    The paths in the zip *body*, in its order. Raises DemoError unless every CRC is right, and its files are those
    of *expected* (path → content), in that order, byte for byte.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            if (broken := archive.testzip()) is not None:
                raise DemoError(f"{broken} is damaged in the archive")
            found = {info.filename: archive.read(info) for info in archive.infolist()}
    except zipfile.BadZipFile as error:
        raise DemoError(f"the link leads to something that is no zip: {error}") from None
    if list(found) != list(expected):
        raise DemoError(f"{len(expected)} files were asked for; the archive's list of {len(found)} is another one")
    if differing := [path for path, content in expected.items() if found[path] != content]:
        raise DemoError(f"{len(differing)} files are not what was uploaded, {differing[0]} the first")
    return list(found)


class _DownloadedArchive:
    """The archive in memory, for `archiver verify`'s own judgement."""

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
        raise DemoError(f"the answer is {json.dumps(answer)}")
    archive, link = answer["archive"], answer["substitutions"]["archiver_URL"]
    _print_step(
        "answer", f"{answer['status']} after {monotonic() - began:.1f} s, metadata {json.dumps(answer['metadata'])}"
    )
    _print_step(
        "archive",
        f"{archive['files']} files, {archive['size']:,} bytes, {archive['size'] - total:,} of them the zip's own",
    )
    _print_step("link", link)
    began = monotonic()
    body = await asyncio.to_thread(_download, link)
    _print_step("download", f"{len(body):,} bytes in {monotonic() - began:.2f} s")
    paths = check(body, {picture.path: picture.content for picture in album})
    _print_step("listing", f"{', '.join(paths[:MAX_PRINTED_PATHS])} … {paths[-1]}")
    _print_step("check", f"every CRC is right; all {len(paths)} files are equal to their objects, byte for byte")
    report = await verify(_DownloadedArchive(body), int(archive["crc32"], 16), deep=False, progress=Progress())
    if report.problems:
        raise DemoError("; ".join(report.problems))
    _print_step("verify", report.proof)


def _upload(aws: EmbeddedAws, album: list[Picture]) -> None:
    with closing(aws.client("s3")) as s3:
        for picture in album:
            s3.put_object(Bucket=SOURCE_BUCKET, Key=picture.key, Body=picture.content)


async def _run_job(aws: EmbeddedAws, album: list[Picture]) -> dict[str, Any]:
    """Start a worker, send it the request, wait for what it says, stop it."""
    files = [{"source": picture.key, "destination": f"{picture.folder}/"} for picture in album]
    request = json.dumps({"job_id": f"demo-{token_hex(4)}", "files": files, "metadata": {"from": "archiver demo"}})
    settings = load_settings({**aws.environment, **_DEMO_SETTINGS})
    stop = asyncio.Event()
    with closing(aws.client("sqs")) as sqs:
        async with asyncio.TaskGroup() as tasks:
            worker = tasks.create_task(serve(settings, stop), name="worker")
            try:
                await asyncio.to_thread(sqs.send_message, QueueUrl=aws.queue_url(INPUT_QUEUE), MessageBody=request)
                _print_step("request", f"{len(request):,} bytes on {INPUT_QUEUE}; the worker takes it from here")
                deadline = monotonic() + ANSWER_TIMEOUT
                while not worker.done() and monotonic() < deadline:
                    if (
                        answer := await asyncio.to_thread(_receive_answer, sqs, aws.queue_url(OUTPUT_QUEUE))
                    ) is not None:
                        return answer
            finally:
                stop.set()
    raise DemoError(f"no answer came (the worker's exit code is {worker.result()})")


def _receive_answer(sqs: Any, url: str) -> dict[str, Any] | None:
    for message in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages", ()):
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        answer: dict[str, Any] = json.loads(message["Body"])
        return answer
    return None


def _download(link: str) -> bytes:
    with urllib.request.urlopen(link, timeout=ANSWER_TIMEOUT) as response:  # noqa: S310 - our own server's http link
        body: bytes = response.read()
    return body


def _print_step(what: str, text: str) -> None:
    sys.stdout.write(f"{what:<9} {text}\n")
    sys.stdout.flush()
