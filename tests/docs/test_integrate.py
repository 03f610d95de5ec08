"""The programs of docs/integrate.md, run unchanged with the service."""

import json
import shutil
import sqlite3
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest
from faults.worker_process import wait_until

from archiver.core.locations import archive_digest, archive_key
from archiver.core.policy import consumer_statements, producer_statements

from .blocks import ROOT, blocks

PAGE = ROOT / "docs" / "integrate.md"
FILES = {block.file: block.text for block in blocks(PAGE) if block.file}
QUEUE_ARN = "arn:aws:sqs:us-east-1:000000000000:input-queue"
SDK = {"private": True, "dependencies": {"@aws-sdk/client-sqs": "3.1169.0"}}
INSTALLED = 120  # seconds, at most


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the page's programs."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture(scope="module")
def sdk(request: pytest.FixtureRequest) -> Path:
    """The folder of Node's packages, installed once; skips the test if they can't be installed."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("there is no Node (with npm) on this machine")
    cache = request.config.cache
    assert cache is not None
    folder = cache.mkdir("node-sdk")
    wanted, stamp = json.dumps(SDK), folder / "installed"
    if not stamp.exists() or stamp.read_text() != wanted:
        (folder / "package.json").write_text(wanted)
        command = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
        try:
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=INSTALLED)
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"the SDK for Node can't be had: {error}")
        stamp.write_text(wanted)
    return folder / "node_modules"


def run(command: list[str], aws: Mapping[str, str], place: Path) -> str:
    """Return what *command* printed. Raises AssertionError if it fails."""
    ended = subprocess.run(
        command, env=aws, cwd=place, capture_output=True, text=True, timeout=INSTALLED, check=False, stdin=None
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@contextmanager
def running(command: list[str], aws: Mapping[str, str], place: Path) -> Iterator[Path]:
    """Run *command* in the background; yields the file of its output."""
    log = place / f"{len(list(place.iterdir()))}.log"
    with log.open("w") as file:
        process = subprocess.Popen(command, env=aws, cwd=place, stdout=file, stderr=subprocess.STDOUT)
    try:
        yield log
    finally:
        process.kill()
        process.wait()


def row(place: Path, job_id: str) -> tuple[Any, ...]:
    with closing(sqlite3.connect(place / "jobs.db", timeout=30)) as db:
        (found,) = db.execute("SELECT status, files, result FROM jobs WHERE job_id = ?", [job_id])
    return tuple(found)


def imported(place: Path, name: str) -> ModuleType:
    module = ModuleType(name)
    exec(compile(FILES[f"{name}.py"], str(place / f"{name}.py"), "exec"), module.__dict__)
    return module


def test_the_programs_take_twenty_lines_or_so() -> None:
    """Without empty lines, imports and comments."""
    for name in ("producer.py", "consumer.py", "producer.mjs", "consumer.mjs"):
        lines = [line for line in FILES[name].splitlines() if line and not line.startswith(("import ", '"""', "//"))]
        assert len(lines) <= 24, name


@pytest.mark.slow
def test_a_row_follows_its_job_to_the_link_and_to_the_failure(aws: dict[str, str], place: Path) -> None:
    """In either order: the answer queue first, or the progress queue."""
    python = sys.executable
    for job, keys in (("good", ["source.jpg"]), ("half", ["source.jpg", "no-such.jpg"]), ("none", ["no-such.jpg"])):
        assert len(run([python, "producer.py", job, *keys], aws, place).strip()) == 36
    with (
        running([python, "consumer.py", "output-queue"], aws, place),
        running([python, "consumer.py", "progress-queue"], aws, place),
    ):
        wait_until(lambda: all(row(place, job)[2] for job in ("good", "half", "none")), "three ends")

    assert (row(place, "good")[0], row(place, "half")[0]) == ("succeeded", "partial")
    assert row(place, "none")[2] == "source_missing"
    with urllib.request.urlopen(row(place, "half")[2]) as response, zipfile.ZipFile(BytesIO(response.read())) as found:
        assert found.namelist() == ["photos/source.jpg", "_MISSING.txt"]


@pytest.mark.slow
def test_an_answer_that_comes_twice_is_acted_on_once(aws: dict[str, str], place: Path) -> None:
    """And a progress event that arrives last changes nothing."""
    run([sys.executable, "producer.py", "twice", "source.jpg"], {**aws, "SQS_SOURCE_QUEUE": "unread"}, place)
    job = {"job_id": "twice", "message_id": "m"}
    answer = {**job, "status": "succeeded", "substitutions": {"archiver_URL": "u"}, "notification_id": "n"}
    failed = {**job, "status": "failed", "error": {"code": "internal"}}
    late = {**job, "status": "building", "progress": {"files": 1}}
    with closing(client(aws)) as sqs:
        url = sqs.create_queue(QueueName="told")["QueueUrl"]
        for body in (answer, answer, late, failed, failed, late):
            sqs.send_message(QueueUrl=url, MessageBody=json.dumps(body))
        with running([sys.executable, "consumer.py", "told"], aws, place) as log:
            wait_until(lambda: left(sqs, url) == 0, "an empty queue")

    assert sorted(log.read_text().splitlines()) == ["twice: failed: internal", "twice: succeeded: u"]
    assert row(place, "twice")[0] in ("failed", "succeeded")


@pytest.mark.slow
def test_answers_without_a_link_do_not_stop_the_consumer(aws: dict[str, str], place: Path) -> None:
    """Answers to pings, and those of jobs that made no archive."""
    run([sys.executable, "producer.py", "empty", "source.jpg"], {**aws, "SQS_SOURCE_QUEUE": "unread"}, place)
    ping = {"job_id": "empty", "message_id": "m", "status": "alive", "accepted": True, "problem": None}
    skipped: dict[str, Any] = {
        "job_id": "empty",
        "message_id": "m",
        "status": "skipped",
        "archive": None,
        "substitutions": {},
    }
    cancelled = {"job_id": "ended", "message_id": "n", "status": "cancelled"}
    with closing(client(aws)) as sqs:
        url = sqs.create_queue(QueueName="linkless")["QueueUrl"]
        for body in (ping, skipped, cancelled):
            sqs.send_message(QueueUrl=url, MessageBody=json.dumps({**body, "notification_id": body["status"]}))
        with running([sys.executable, "consumer.py", "linkless"], aws, place) as log:
            wait_until(lambda: left(sqs, url) == 0, "an empty queue")

    assert sorted(log.read_text().splitlines()) == ["empty: skipped: skipped", "ended: cancelled: cancelled"]
    assert row(place, "empty")[0] == "skipped"


def client(aws: Mapping[str, str]) -> Any:
    return boto3.client(
        "sqs",
        endpoint_url=aws["AWS_ENDPOINT_URL"],
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def left(sqs: Any, url: str) -> int:
    """Messages on the queue, those in flight too."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    told = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(told[name]) for name in names)


@pytest.fixture(autouse=True)
def unread(aws: dict[str, str]) -> None:
    """A queue without a reader."""
    with closing(client(aws)) as sqs:
        sqs.create_queue(QueueName="unread")


# Runs a program and records its AWS calls.
SPY = """
import os, runpy, sys, boto3
boto3.setup_default_session()
seen = open(os.environ["SEEN"], "a", buffering=1)
boto3.DEFAULT_SESSION.events.register(
    "before-call", lambda model, **_: print(f"{model.service_model.service_name}:{model.name}", file=seen)
)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
def test_the_policies_allow_what_the_programs_call_and_nothing_else(aws: dict[str, str], place: Path) -> None:
    def called(*program: str, until_gone: str = "") -> set[str]:
        seen = place / f"{program[0]}.calls"
        command, told = [sys.executable, "-c", SPY, *program], {**aws, "SEEN": str(seen)}
        if not until_gone:
            run(command, told, place)
        else:
            with running(command, told, place):
                wait_until(lambda: seen.exists() and until_gone in seen.read_text(), until_gone)
        return {line.replace("HeadObject", "GetObject") for line in seen.read_text().split()}

    asks = called("producer.py", "spied", "source.jpg") | called("find_archive.py", QUEUE_ARN, "spied")
    hears = called("consumer.py", "output-queue", until_gone="DeleteMessage")

    listing = {"s3:ListBucket"}  # it turns HEAD's 403 into 404
    assert asks | listing == {a for grant in producer_statements(QUEUE_ARN, "zips") for a in grant.actions}
    assert hears == {a for grant in consumer_statements([QUEUE_ARN]) for a in grant.actions}


@pytest.mark.parametrize("secret", [None, "s3cret"])
@pytest.mark.parametrize("job_id", ["order-4711", "Ü/\n\x00"])
def test_the_formula_is_the_workers(place: Path, job_id: str, secret: str | None) -> None:
    told = imported(place, "find_archive").archive_key(QUEUE_ARN, job_id, secret, "photos")

    assert told == archive_key(archive_digest(secret, QUEUE_ARN, job_id, "m"), "photos")


@pytest.mark.slow
def test_s3_tells_whether_an_archive_is_there(aws: dict[str, str], place: Path) -> None:
    python, find = sys.executable, [sys.executable, "find_archive.py", QUEUE_ARN, "asked"]
    before = run(find, aws, place)
    run([python, "producer.py", "asked", "source.jpg"], aws, place)
    wait_until(lambda: "not found" not in run(find, aws, place), "the archive")

    assert before.endswith("download.zip not found\n")
    assert run(find, aws, place).endswith(" succeeded\n")


@pytest.mark.slow
def test_the_shell_alone_asks_and_hears_the_answer(aws: dict[str, str], place: Path) -> None:
    if shutil.which("aws") is None:
        pytest.skip("this needs the aws CLI: pip install awscli")
    told = run(["bash", "-euo", "pipefail", "download.sh", "shell", "source.jpg"], aws, place).splitlines()[-1]

    assert (json.loads(told)["job_id"], json.loads(told)["status"]) == ("shell", "succeeded")


@pytest.mark.slow
def test_the_programs_for_node_are_javascript(place: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node on this machine")
    for name in FILES:
        if name.endswith(".mjs"):
            subprocess.run([node, "--check", str(place / name)], check=True, timeout=60)


@pytest.mark.slow
def test_the_programs_for_node_ask_and_hear(aws: dict[str, str], place: Path, sdk: Path) -> None:
    """Both ends: an archive, and a failure."""
    (place / "node_modules").symlink_to(sdk)
    told = {**aws, "AWS_REGION": aws["AWS_DEFAULT_REGION"]}
    with running(["node", "consumer.mjs", "output-queue"], told, place) as log:
        for job, key in (("node", "source.jpg"), ("node-lost", "no-such.jpg")):
            assert len(run(["node", "producer.mjs", job, key], told, place).strip()) == 36
        wait_until(lambda: all(f"{job}: " in log.read_text() for job in ("node", "node-lost")), "two ends")

    lines = dict(line.split(": ", 1) for line in log.read_text().splitlines() if line.startswith("node"))
    assert lines["node"].startswith("succeeded: http://localhost:")
    assert lines["node-lost"] == "failed: source_missing"
