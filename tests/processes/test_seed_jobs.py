"""The jobs that the READMEs of the AWS CLI worker and of the lanlytics worker print, unchanged, from order files."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from core.seed_messages import AWS_CLI_MESSAGE, LANLYTICS_MESSAGE
from own_root import with_own_root
from zygote import inherited_environment

from archiver import __version__

from .archiver_process import run_command
from .worker_env import WorkerEnv

EXAMPLES = Path(__file__).parents[2] / "docs/examples"
QUEUES = ("SQS_SOURCE_QUEUE", "SQS_DESTINATION_QUEUE", "SQS_FAILURE_QUEUE", "S3_ALLOWED_SOURCES")
pytestmark = pytest.mark.slow


def settings(env: WorkerEnv) -> dict[str, str]:
    return {name: value for name, value in env.settings().items() if name not in QUEUES}


def bucket(env: WorkerEnv, name: str, **objects: str) -> None:
    """Create the bucket *name* of a README, which every test of this process shares, with *objects*."""
    if name not in {one["Name"] for one in env.aws.s3.list_buckets()["Buckets"]}:
        env.aws.s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    for key, body in objects.items():
        env.aws.s3.put_object(Bucket=name, Key=key, Body=body.encode())


def read(env: WorkerEnv, name: str, key: str) -> str:
    return str(env.aws.s3.get_object(Bucket=name, Key=key)["Body"].read().decode())


def the_answer(printed: str) -> dict[str, Any]:
    (line,) = printed.splitlines()
    answer: dict[str, Any] = json.loads(line)
    return answer


def test_the_aws_cli_copies_the_object_of_the_readme_s_message(worker_env: WorkerEnv, tmp_path: Path) -> None:
    """The message and the policy of the docs; /data is in a root directory of the worker's own."""
    if shutil.which("aws") is None:
        assert "CI" not in os.environ, "needs the aws CLI: apt-get install awscli, or pip install awscli"
        pytest.skip("needs the aws CLI: pip install awscli")
    bucket(worker_env, "mybucket", **{"media.mp4": "a short film"})
    policy = (EXAMPLES / "aws-cli.toml").read_text()
    local = policy.replace('"aws", "s3"', f'"aws", "--endpoint-url", "{worker_env.aws.endpoint}", "s3"')
    local = local.replace("timeout     = 3600", f'env = {{ AWS_CA_BUNDLE = "{worker_env.aws.bundle}" }}')
    (tmp_path / "policy.toml").write_text(local)
    (tmp_path / "order.json").write_text(AWS_CLI_MESSAGE)
    (tmp_path / "root").mkdir()
    command = [sys.executable, "-m", "archiver", "run", "--policy", "policy.toml", "order.json"]

    ended = subprocess.run(
        with_own_root(tmp_path / "root", "/data", command),
        env={**inherited_environment(), **settings(worker_env)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    reply = the_answer(ended.stdout)
    assert (reply["job_id"], reply["status"], reply["destination_paths"]) == (123, "completed", [])
    (message,) = reply["parameters"]
    assert message["value"].startswith("download: s3://mybucket/media.mp4 to ")
    assert message["value"].endswith("data/element_filename.mp4\n")
    assert (tmp_path / "root/data/element_filename.mp4").read_text() == "a short film"


def test_the_test_of_the_lanlytics_readme_is_accepted_and_runs_nothing(worker_env: WorkerEnv, tmp_path: Path) -> None:
    (tmp_path / "message.json").write_text(LANLYTICS_MESSAGE)

    ended = run_command(
        "run",
        "--policy",
        str(EXAMPLES / "lanlytics.toml"),
        str(tmp_path / "message.json"),
        env=settings(worker_env),
    )

    assert ended.returncode == 0, ended.stderr
    answer = the_answer(ended.stdout)
    assert (answer["status"], answer["test"]) == (
        "alive",
        {"accepted": True, "service": "my_service", "queue": "docker", "version": __version__},
    )


def test_the_job_of_the_lanlytics_readme_runs_natively(worker_env: WorkerEnv, tmp_path: Path) -> None:
    inputs = {"path/to/input.txt": "some text", "path/to/some/input.shp": "shape", "path/to/some/input.dbf": "dbase"}
    bucket(worker_env, "bucket", **inputs)
    native = LANLYTICS_MESSAGE.replace('"test": true', '"test": false').replace('"docker"', '"native"')
    (tmp_path / "message.json").write_text(native)

    ended = run_command(
        "run",
        "--policy",
        str(EXAMPLES / "lanlytics-native.toml"),
        str(tmp_path / "message.json"),
        env=settings(worker_env),
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    answer = the_answer(ended.stdout)
    assert answer["status"] == "succeeded"
    told = answer["command"]
    assert (told["name"], told["exit_code"], told["signal"]) == ("my_service", 0, None)
    assert told["stdout"] == {"type": "pipe", "value": "read 14 bytes\n"}
    assert told["stderr"] == {"type": "uri", "value": "s3://bucket/path/to/stderr.txt", "size": 0}
    assert answer["inputs"] == 3
    assert [(one["destination"], one["size"]) for one in answer["outputs"]] == [
        ("s3://bucket/path/to/output.txt", 9),
        ("s3://bucket/path/to/some/output.dbf", 5),
    ]
    assert (answer["left_behind"], answer["reused"]) == (0, False)
    assert read(worker_env, "bucket", "path/to/output.txt") == "SOME TEXT"
    assert read(worker_env, "bucket", "path/to/stderr.txt") == ""
