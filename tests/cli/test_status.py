"""`archiver status`: S3 alone tells whether a job's archive is there."""

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from faults.rules import Rule, Status
from faults.scenario import Scenario
from processes.archiver_process import run_command
from processes.worker_env import WorkerEnv

from .cli_process import cli_environment


def status(worker_env: WorkerEnv, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return run_command("status", *arguments, env=worker_env.settings(**settings))


def test_a_job_is_not_there_and_then_done(worker_env: WorkerEnv) -> None:
    worker_env.put("a.jpg")
    before = status(worker_env, "order")
    worker_env.worker()
    worker_env.send_request("a.jpg", job_id="order")
    answer = worker_env.answer()
    after, told = status(worker_env, "order"), json.loads(status(worker_env, "order", "--json").stdout)

    assert (before.returncode, before.stdout) == (1, "")
    assert before.stderr == f"not there (yet): s3://{worker_env.archives}/{answer['archive']['key']}\n"
    assert (after.returncode, after.stdout) == (0, f"{answer['substitutions']['archiver_URL']}\n")
    assert after.stderr.startswith("done: 1 file, ")
    assert told == {
        "job_id": "order",
        "message_id": None,
        "state": "done",
        "outcome": "succeeded",
        "archive": f"s3://{worker_env.archives}/{answer['archive']['key']}",
        "size": answer["archive"]["size"],
        "files": 1,
        "link": answer["substitutions"]["archiver_URL"],
        "expires_at": None,
    }


@pytest.mark.slow
def test_a_request_without_a_job_id_is_found_by_its_message(worker_env: WorkerEnv) -> None:
    worker_env.put("a.jpg")
    worker_env.worker(ARCHIVE_KEY_SECRET="secret", S3_FILE_PREFIX="photos")
    message = worker_env.send_request("a.jpg")
    key = worker_env.answer()["archive"]["key"]
    same = {"ARCHIVE_KEY_SECRET": "secret", "S3_FILE_PREFIX": "photos"}

    assert json.loads(status(worker_env, "--message-id", message, "--json", **same).stdout)["archive"].endswith(key)
    assert status(worker_env, "--message-id", message).returncode == 1


def test_the_archive_of_an_order_file_and_of_a_message_of_rabbitmq_is_found(
    worker_env: WorkerEnv, tmp_path: Path
) -> None:
    """The first by a run; the other's key by the formula of the documentation."""
    worker_env.put("a.jpg")
    (tmp_path / "order.json").write_text('{"job_id": "order", "files": [{"source": "a.jpg"}]}')
    none = {"SQS_SOURCE_QUEUE": "", "SQS_DESTINATION_QUEUE": "", "SQS_FAILURE_QUEUE": ""}
    files = {**none, "SOURCE_ORDERS": str(tmp_path / "order.json")}
    assert run_command("run", env=worker_env.settings(**files)).returncode == 0
    rabbit = {**none, "AMQP_QUEUE": "jobs", "AMQP_VHOST": "v", "ARCHIVE_KEY_SECRET": ""}
    digest = hashlib.sha256(b"v1\namqp:v/jobs\njob\norder").hexdigest()

    assert status(worker_env, "order", **files).returncode == 0
    told = status(worker_env, "order", **rabbit)
    assert told.stderr == f"not there (yet): s3://{worker_env.archives}/{digest}/download.zip\n"


def test_a_presigned_link_is_told_with_its_end(worker_env: WorkerEnv) -> None:
    worker_env.put("a.jpg")
    worker_env.worker()
    worker_env.send_request("a.jpg", job_id="order")
    worker_env.answer()
    told = json.loads(status(worker_env, "order", "--json", LINKS="presigned", ARCHIVE_BASE_URL="").stdout)

    assert "X-Amz-Signature=" in told["link"]
    assert told["expires_at"].endswith("+00:00")


def test_an_object_of_others_is_told_as_one(worker_env: WorkerEnv) -> None:
    before = json.loads(status(worker_env, "order", "--json").stdout)
    worker_env.aws.s3.put_object(Bucket=worker_env.archives, Key=before["archive"].split("/", 3)[3], Body=b"zip")
    after = status(worker_env, "order")

    assert before["state"] == "not there"
    assert (after.returncode, after.stderr) == (0, "done: 3 bytes (not written by the archiver)\n")


def test_the_queue_is_not_asked_where_all_is_said(worker_env: WorkerEnv) -> None:
    name = worker_env.source.rpartition("/")[2]
    settings = {"SQS_SOURCE_QUEUE": name, "AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:1", "AWS_REGION": "eu-west-1"}

    asked = status(worker_env, "order", "--account", "123456789012", "--json", **settings)

    assert json.loads(asked.stdout)["archive"] == json.loads(status(worker_env, "order", "--json").stdout)["archive"]


def test_what_may_not_be_looked_at_is_neither_there_nor_not(open_scenario: Callable[..., Scenario]) -> None:
    """HEAD's 403 has no code: exit code 3."""
    scenario = open_scenario()
    for op in ("HeadObject", "GetObject"):
        scenario.proxy.add(Rule(Status(403, "AccessDenied"), op=op, times=None))
    ended = run_command("status", "order", env=cli_environment(scenario))

    assert (ended.returncode, ended.stdout) == (3, "")
    assert "can't be checked: " in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "settings", "told"),
    [
        ((), {}, "give exactly one of JOB_ID and --message-id"),
        (("a", "--message-id", "b"), {}, "give exactly one of JOB_ID and --message-id"),
        (("a",), {"S3_DESTINATION_BUCKET": ""}, "S3_DESTINATION_BUCKET: is required"),
        (("a",), {"S3_DESTINATION_BUCKET": "no-such-bucket"}, "the bucket no-such-bucket does not exist"),
        (("a",), {"SQS_SOURCE_QUEUE": "no-such-queue"}, "no-such-queue"),
    ],
)
def test_what_is_wrong_is_said(
    worker_env: WorkerEnv, arguments: tuple[str, ...], settings: dict[str, str], told: str
) -> None:
    ended = status(worker_env, *arguments, **settings)

    assert (ended.returncode, ended.stdout) == (2, "")
    assert told in ended.stderr
