"""The service beside an AWS of its own, with nothing but Python: `archiver local` and `archiver demo`."""

import io
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from archiver.local.demo import DemoError, Picture, run_round
from archiver.local.embedded import ACCOUNT, LocalError, embedded_aws, local_environment
from archiver.local.run import find_unused, local_settings, send_command
from archiver.local.samples import read_sample

# What a person's shell may hold, and what must not lead the worker astray. Port 1 answers nobody.
ASTRAY = {"AWS_PROFILE": "production", "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_embedded_aws_hides_the_shells_aws_and_gives_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile or an endpoint of one service would outrank ours, and lead to a real account."""
    for name, value in ASTRAY.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)

    with embedded_aws() as aws:
        inside = dict(os.environ)

    expected = {name for name in local_environment(0) if name.startswith("AWS_")}
    hiding = {"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_EC2_METADATA_DISABLED"}
    assert {name for name in inside if name.startswith("AWS_")} == expected | hiding
    assert inside["AWS_ENDPOINT_URL"] == aws.endpoint
    assert dict(os.environ) == before


def test_embedded_aws_holds_what_the_readme_names() -> None:
    """The sample, and queue URLs with LocalStack's account in them."""
    with embedded_aws() as aws, closing(aws.client("s3")) as s3, closing(aws.client("sqs")) as sqs:
        picture = s3.get_object(Bucket="source-images", Key="source.jpg")["Body"].read()
        urls = {sqs.get_queue_url(QueueName=name)["QueueUrl"] for name in ("input-queue", "output-queue")}
        attributes = sqs.get_queue_attributes(QueueUrl=aws.queue_url("input-queue"), AttributeNames=["RedrivePolicy"])

    assert picture == read_sample("source.jpg")
    assert urls == {f"{aws.endpoint}/{ACCOUNT}/{name}" for name in ("input-queue", "output-queue")}
    assert json.loads(attributes["Attributes"]["RedrivePolicy"])["maxReceiveCount"] == 5


def test_embedded_aws_can_be_reached_from_this_machine_alone() -> None:
    """Its socket is bound to 127.0.0.1, not to every address."""
    with embedded_aws() as aws:
        port = int(aws.endpoint.rpartition(":")[2])
        with socket.socket() as probe:
            refused = probe.connect_ex(("127.0.0.2", port))

    assert refused != 0


def test_taken_port_is_said_in_one_sentence() -> None:
    """And nothing hangs."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        sentence = rf"^port {port} on 127.0.0.1 is not available: .*--port$"
        with pytest.raises(LocalError, match=sentence), embedded_aws(port):
            pass


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run_demo", "run_local"])
def test_missing_moto_is_said_in_one_sentence_with_the_remedy(command: str) -> None:
    """It is an extra: the worker in production does without it."""
    code = (
        "import sys; sys.modules['moto.moto_server.werkzeug_app'] = None;"
        f"from archiver.local import {command}; sys.exit({command}({'0' if command == 'run_local' else ''}))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.endswith("moto is not installed; run: pip install 'archiver[local]'\n")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_demo_makes_an_archive_and_says_so_in_a_line_for_each_step() -> None:
    """Whatever the shell holds of AWS, no log, no warning: only the story."""
    done = subprocess.run(
        [sys.executable, "-m", "archiver", "demo"],
        env=os.environ | ASTRAY,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    said = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    expected = "AWS sources request answer archive link download listing check verify done"
    assert list(said) == expected.split()
    assert said["check"] == "every CRC-32 is correct; all 205 files equal their objects, byte for byte"
    assert re.fullmatch(r"http://localhost:\d+/zip-storage/[0-9a-f]{64}/download\.zip", said["link"])


@pytest.mark.slow
def test_verbose_demo_shows_the_workers_log_on_standard_error() -> None:
    """Standard output stays the story."""
    done = subprocess.run(
        [sys.executable, "-m", "archiver", "demo", "--verbose"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0
    assert "job.done" in done.stderr
    assert "job.done" not in done.stdout


async def test_demo_fails_where_the_archive_is_another_one() -> None:
    """Two pictures under one path: the archive renames one, and the check sees it."""
    fakes = [Picture("a/x.png", "album", b"one"), Picture("b/x.png", "album", b"two")]

    with embedded_aws() as aws, pytest.raises(DemoError, match="the archive has 2, with other paths"):
        await run_round(aws, fakes)


async def test_demo_fails_where_the_answer_is_a_failure() -> None:
    """Failures come back on the queue that the demo watches."""
    with embedded_aws() as aws, pytest.raises(DemoError, match=r'"status": "failed".*"name_unsafe"'):
        await run_round(aws, [Picture("x.png", "..", b"one")])


def test_readme_shows_the_command_that_is_printed() -> None:
    """Someone may copy it from either place."""
    assert send_command("http://localhost:4566") in (Path(__file__).parents[2] / "README.md").read_text()


def test_the_policy_file_of_the_shell_counts_and_what_does_not_is_named(tmp_path: Path) -> None:
    (file := tmp_path / "policy.toml").write_text('[commands.hello]\nargv = ["sh", "-c", "echo hello"]\n')
    environ = {"POLICY_FILE": str(file), "WORK_DISK_MIB": "5000", "S3_COMPRESSION": "deflate", "PROGRESS_QUEUE": "mine"}
    own = local_environment(4566)
    settings = local_settings(own, {**own, **environ, "METRICS": " "})

    assert (settings.policy_file, settings.work_disk_mib) == (str(file), 5000)
    assert (settings.compression, settings.progress_queue) == ("store", "progress-queue")
    assert find_unused(own, {**own, **environ, "METRICS": " "}) == ["PROGRESS_QUEUE", "S3_COMPRESSION"]


@pytest.mark.parametrize(("file", "told"), [("/nowhere", "POLICY_FILE: there is no file"), (" ", "--policy: names no")])
def test_a_policy_file_that_can_not_be_read_stops_the_start(file: str, told: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "archiver", "local", "--port", str(free_port()), "--policy", file],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,  # a worker that starts would serve for ever
    )

    assert (done.returncode, done.stderr.startswith(told)) == (2, True), done.stderr


def _converse(port: int) -> tuple[dict[str, Any], bytes]:
    """Do what `archiver local` prints: send the message, take the answer, follow the link."""
    words = shlex.split(send_command(f"http://localhost:{port}").replace("\\\n", ""))
    options = dict(zip(words[3::2], words[4::2], strict=True))
    with embedded_client(options["--endpoint-url"]) as sqs:
        sqs.send_message(QueueUrl=options["--queue-url"], MessageBody=options["--message-body"])
        url = options["--queue-url"].replace("input-queue", "output-queue")
        for _ in range(10):
            if messages := sqs.receive_message(QueueUrl=url, WaitTimeSeconds=3).get("Messages"):
                break
    answer = json.loads(messages[0]["Body"])
    with urllib.request.urlopen(answer["substitutions"]["archiver_URL"], timeout=10) as response:
        return answer, response.read()


def embedded_client(endpoint: str) -> Any:
    import boto3  # noqa: PLC0415

    return closing(
        boto3.client(
            "sqs",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
    )


@pytest.mark.slow
@pytest.mark.parametrize(("times", "code"), [(1, 0), (2, 130)])
def test_ctrl_c_waits_for_no_long_job_and_a_second_one_for_nothing(times: int, code: int) -> None:
    """What would be waited for is in the memory of the process that ends."""
    port = free_port()
    files = [{"source": f"gone-{number}.jpg"} for number in range(9000)]
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "archiver", "local", "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        seen = ""
        for line in process.stdout:
            seen += line
            if "worker.ready" in line:
                with embedded_client(f"http://localhost:{port}") as sqs:
                    url = f"http://localhost:{port}/{ACCOUNT}/input-queue"
                    sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"files": files}))
            if "job.received" in line:
                process.send_signal(signal.SIGINT)
            if line.startswith("stopping: ") and times > 1:
                process.send_signal(signal.SIGINT)
        process.wait(timeout=60)

    assert process.returncode == code
    assert "stopping: running jobs have 2 s; press Ctrl-C again to stop at once\n" in seen
    if code == 0:
        assert "grace=2.0" in seen
        assert "job.returned" in seen
    assert "Traceback" not in seen


@pytest.mark.slow
def test_local_set_ups_hear_of_failures_and_have_what_check_asks_for() -> None:
    """One reader of the answer queue hears every end, and a first `archiver check` finds nothing to mend."""
    with embedded_aws() as aws:
        looked = subprocess.run(
            [sys.executable, "-m", "archiver", "check", "--json"],
            env=os.environ | aws.environment,
            capture_output=True,
            text=True,
            check=False,
        )
    found = {one["what"]: one["state"] for one in json.loads(looked.stdout)}

    assert looked.returncode == 0
    assert set(found.values()) == {"ok"}
    assert found["failure queue"] == "ok"
    assert local_environment(4566)["SQS_FAILURE_QUEUE"] == "output-queue"


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_local_workflow_works_with_the_command_that_is_printed(end: signal.Signals) -> None:
    """Send, receive, download; then Ctrl-C (or a supervisor's signal) ends it with code 0."""
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-m", "archiver", "local", "--port", str(port)],
        env=os.environ | ASTRAY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        printed = ""
        for line in process.stdout:
            printed += line
            if "worker.ready" in line:
                break
        try:
            answer, body = _converse(port)
        finally:
            process.send_signal(end)
            rest, _ = process.communicate(timeout=30)

    assert send_command(f"http://localhost:{port}") in printed
    assert answer["metadata"] == {"user_email": "user@example.com"}
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            "album_1/source.jpg": read_sample("source.jpg")
        }
    assert process.returncode == 0
    assert "Traceback" not in printed + rest
