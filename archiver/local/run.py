"""The worker and an AWS of its own until Ctrl-C: `archiver local`, for trying things out with nothing but Python."""

import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path

from archiver.app import serve
from archiver.local.embedded import (
    ACCOUNT,
    INPUT_QUEUE,
    OUTPUT_QUEUE,
    SAMPLE_KEY,
    SOURCE_BUCKET,
    EmbeddedAws,
    LocalError,
    embedded_aws,
)
from archiver.settings import load_settings
from archiver.telemetry.logs import configure_logs
from archiver.worker.signals import EXIT_INTERRUPTED

GRACE_SECONDS = 2  # seconds for running jobs

_GUIDE = """\
S3 and SQS (embedded, in memory) are on {endpoint}. Ask for an archive from another terminal:

  export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1

{send}

and read the answer, with the link in it:

  aws sqs receive-message --queue-url {output_url} \\
    --endpoint-url {endpoint} --wait-time-seconds 20

Or see the job as it goes, with the settings of .envrc.dist in that terminal:

  eval "$(grep ^export .envrc.dist)"
  {archiver} send --file {sample}=album_1 --wait

Photos of your own go there first, and are asked for under their keys:

  aws s3 cp photo.jpg s3://{sources}/ --endpoint-url {endpoint}

Ctrl-C ends it all; what is in S3 and SQS here is gone then.

"""

_BODY = '{ "files": [ { "source": "%s", "destination": "album_1" } ], "metadata": {"user_email": "user@example.com"}}'


def send_command(endpoint: str) -> str:
    """The README's shell command that asks for one archive."""
    return (
        f"aws sqs send-message --queue-url {endpoint}/{ACCOUNT}/{INPUT_QUEUE} \\\n"
        f"  --endpoint-url {endpoint} --message-body \\\n"
        f"  '{_BODY % SAMPLE_KEY}'"
    )


def _archiver_command() -> str:
    """How this command is typed here: with its path where the shell would not find it."""
    return "archiver" if shutil.which("archiver") else str(Path(sys.executable).with_name("archiver"))


def run_local(port: int = 4566) -> int:
    """Serve until SIGINT or SIGTERM. Returns the worker's exit code, 1 where the embedded AWS can't start."""
    configure_logs(dev_mode=True)
    try:
        with embedded_aws(port) as aws:
            guide = _GUIDE.format(
                endpoint=aws.endpoint,
                send=send_command(aws.endpoint),
                output_url=aws.queue_url(OUTPUT_QUEUE),
                sample=SAMPLE_KEY,
                sources=SOURCE_BUCKET,
                archiver=_archiver_command(),
            )
            sys.stdout.write(guide)
            sys.stdout.flush()
            return asyncio.run(_serve_until_signal(aws))
    except LocalError as problem:
        sys.stderr.write(f"{problem}\n")
        return 1


async def _serve_until_signal(aws: EmbeddedAws) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            sys.stdout.flush()
            os._exit(EXIT_INTERRUPTED)  # there is nothing to undo: all that there is, is in the memory of this process
        sys.stdout.write(f"ending: running jobs have {GRACE_SECONDS} s; Ctrl-C again ends it at once\n")
        sys.stdout.flush()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    # A short long poll and a short grace: what is waited for is gone with this process anyway.
    overrides = {"SQS_WAIT_SECONDS": "1", "SHUTDOWN_GRACE_SECONDS": str(GRACE_SECONDS)}
    return await serve(load_settings({**aws.environment, **overrides}), stop)
