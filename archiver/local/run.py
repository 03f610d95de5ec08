"""`archiver local`: runs the worker with an embedded S3 and SQS until Ctrl-C; needs nothing but Python."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from archiver.app import serve
from archiver.local.embedded import (
    ACCOUNT,
    INPUT_QUEUE,
    OUTPUT_QUEUE,
    SAMPLE_KEY,
    SOURCE_BUCKET,
    LocalError,
    embedded_aws,
)
from archiver.settings import Settings, load_settings, variables
from archiver.telemetry.logs import configure_logs
from archiver.worker.signals import EXIT_INTERRUPTED

GRACE_SECONDS = 2  # seconds for running jobs
HONOURED = ("POLICY_FILE", "WORK_DIR", "WORK_DISK_MIB", "AWS_PROFILES_CREDENTIALS")
"""Settings of the shell that count here, too: what requests may ask for, and where. All others are given below."""

# A short long poll and a short grace period: unfinished jobs are lost with this process anyway.
_OVERRIDES = {"SQS_WAIT_SECONDS": "1", "SHUTDOWN_GRACE_SECONDS": str(GRACE_SECONDS)}

_GUIDE = """\
S3 and SQS (embedded) are at {endpoint}. To request an archive, in another terminal:

  export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1

{send}

To read the answer with the link:

  aws sqs receive-message --queue-url {output_url} \\
    --endpoint-url {endpoint} --wait-time-seconds 20

Or send a request and show its progress, with the settings of .envrc.dist in that terminal:

  eval "$(grep ^export .envrc.dist)"
  {archiver} send --file {sample}=album_1 --wait

To use your own photos, upload them first and request them by their keys:

  aws s3 cp photo.jpg s3://{sources}/ --endpoint-url {endpoint}

Ctrl-C stops the worker and deletes everything in this S3 and SQS.

"""

_BODY = '{ "files": [ { "source": "%s", "destination": "album_1" } ], "metadata": {"user_email": "user@example.com"}}'


def send_command(endpoint: str) -> str:
    """Return the README's shell command that requests one archive."""
    return (
        f"aws sqs send-message --queue-url {endpoint}/{ACCOUNT}/{INPUT_QUEUE} \\\n"
        f"  --endpoint-url {endpoint} --message-body \\\n"
        f"  '{_BODY % SAMPLE_KEY}'"
    )


def _archiver_command() -> str:
    """Return the command's name, with its path if it is not on PATH."""
    return "archiver" if shutil.which("archiver") else str(Path(sys.executable).with_name("archiver"))


def run_local(port: int = 4566, environ: Mapping[str, str] = os.environ) -> int:
    """
    Serve until SIGINT or SIGTERM, with the settings of *environ* that are `HONOURED`. Returns the worker's exit code,
    or 1 if the embedded S3 and SQS can't start. Raises SettingsError.
    """
    configure_logs(dev_mode=True)
    environ = dict(environ)  # the embedded server removes AWS_*
    try:
        with embedded_aws(port) as aws:
            settings = local_settings(aws.environment, environ)
            guide = _GUIDE.format(
                endpoint=aws.endpoint,
                send=send_command(aws.endpoint),
                output_url=aws.queue_url(OUTPUT_QUEUE),
                sample=SAMPLE_KEY,
                sources=SOURCE_BUCKET,
                archiver=_archiver_command(),
            )
            if unused := find_unused(aws.environment, environ):
                guide += f"Settings of this shell that are not used here: {', '.join(unused)}\n\n"
            sys.stdout.write(guide)
            sys.stdout.flush()
            return asyncio.run(_serve_until_signal(settings))
    except LocalError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def local_settings(own: Mapping[str, str], environ: Mapping[str, str]) -> Settings:
    """Return the settings: *own* of the embedded AWS, and those of *environ* that count. Raises SettingsError."""
    honoured = {name: environ[name] for name in HONOURED if name in environ}
    return load_settings({**own, **honoured, **_OVERRIDES})


def find_unused(own: Mapping[str, str], environ: Mapping[str, str]) -> list[str]:
    """Return the names of settings in *environ* that would have another value in a worker, and do not count here."""
    names = [name for name in variables() if name not in HONOURED and environ.get(name, "").strip()]
    return sorted(name for name in names if environ[name] != own.get(name))


async def _serve_until_signal(settings: Settings) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            sys.stdout.flush()
            os._exit(EXIT_INTERRUPTED)  # nothing to clean up: all state is in this process's memory
        sys.stdout.write(f"stopping: running jobs have {GRACE_SECONDS} s; press Ctrl-C again to stop at once\n")
        sys.stdout.flush()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    return await serve(settings, stop)
