"""Orders as the backend of Media Cloud AI sends them, and replies that its consumers take."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from core.seed_messages import AWS_CLI_MESSAGE
from emulator import REGION, EmulatedAws

from .amqp_env import COMPLETED, ERROR, PROGRESSION, QUEUE, AmqpEnv
from .mcai_backend import ACCEPTS
from .rabbit import Broker
from .servers import ROOT


@pytest.fixture
def env(aws: EmulatedAws, broker: Broker) -> Iterator[AmqpEnv]:
    with AmqpEnv(aws, broker) as opened:
        yield opened


@pytest.fixture(scope="module")
def served(_emulator: EmulatedAws, broker: Broker) -> Iterator[AmqpEnv]:
    """One worker for all tests that send it orders."""
    with AmqpEnv(_emulator, broker) as opened:
        opened.worker()
        yield opened


def parameter(name: str, value: Any, kind: str = "string", **more: Any) -> dict[str, Any]:
    return {"id": name, "type": kind, "value": value, **more}


def order(env: AmqpEnv, job_id: int, *parameters: dict[str, Any]) -> None:
    """Publish an order with a priority and no other property, as the backend does."""
    env.client.publish(json.dumps({"job_id": job_id, "parameters": parameters}), QUEUE, "job_submit", priority=9)


def taken(env: AmqpEnv, queue: str) -> dict[str, Any]:
    """The next reply, which the backend's consumer accepts."""
    reply = env.raw_reply(queue)
    assert ACCEPTS[queue](reply.body), reply.body
    return dict(json.loads(reply.body))


def test_a_worker_describes_itself_to_the_backend(served: AmqpEnv) -> None:
    told = served.raw_reply("worker_discovery")
    description = json.loads(told.body)
    assert (description["queue_name"], description["label"]) == (QUEUE, "Archiver")
    assert description["parameters"]["anyOf"][0]["required"] == ["files"]


def test_an_order_for_an_archive_is_completed(served: AmqpEnv) -> None:
    env = served
    env.put("a.jpg", b"a")
    env.client.take_all(PROGRESSION)
    order(env, 123, parameter("files", ["a.jpg"], "array_of_strings"))

    reply = taken(env, COMPLETED)

    assert (reply["job_id"], reply["status"]) == (123, "completed")
    [path] = reply["destination_paths"]
    bucket, _, key = path.removeprefix("s3://").partition("/")
    assert bucket == env.archives
    assert env.archive(key) == {"a.jpg": b"a"}
    first = taken(env, PROGRESSION)
    assert (first["job_id"], first["progression"]) == (123, 0)
    for rest in env.client.take_all(PROGRESSION):
        assert ACCEPTS[PROGRESSION](rest.body), rest.body


@pytest.mark.parametrize(
    "parameters",
    [
        [parameter("files", ["gone.jpg"], "array_of_strings")],
        [parameter("files", "[", "string")],
        [parameter("text", "no files, no command")],
        [parameter("command_template", "rm -rf /")],
        [parameter("files", "HOME", "string", store="env")],
        [parameter("files", "x", "array_of_strings")],
        [],
    ],
    ids=[
        "missing source",
        "no JSON",
        "no files",
        "no command of ours",
        "a variable of ours",
        "another type",
        "nothing",
    ],
)
def test_an_order_that_fails_has_one_error_that_the_backend_takes(
    served: AmqpEnv, parameters: list[dict[str, Any]]
) -> None:
    """The seed lets some of these circle for ever, without a reply."""
    order(served, 7, *parameters)

    reply = taken(served, ERROR)

    assert (reply["job_id"], reply["status"]) == (7, "error")
    assert [one["id"] for one in reply["parameters"]] == ["message"]
    served.wait_until_empty()


def test_the_message_of_the_aws_cli_workers_readme_runs_the_real_aws(env: AmqpEnv, tmp_path: Path) -> None:
    """Unmodified, through the broker. Its /data is a folder of the test's."""
    aws, data = shutil.which("aws"), tmp_path / "data"
    assert aws is not None, "aws is not there: apt-get install awscli"
    data.mkdir(mode=0o777)
    (tmp_path / "aws").write_text(
        f"#!/bin/sh\nexport HOME='{Path.home()}' PATH='{os.environ['PATH']}'\n"
        f'exec {aws} "$1" "$2" "$3" "$4" "{tmp_path}$5"\n'
    )
    (tmp_path / "aws").chmod(0o755)
    policy = (ROOT / "docs/examples/aws-cli.toml").read_text()
    endpoint = f'AWS_ENDPOINT_URL = "{env.aws.endpoint}"\nAWS_CA_BUNDLE = "{env.aws.bundle}"\n'
    policy = policy.replace('["aws", "s3", "cp"', f'["{tmp_path}/aws", "s3", "cp"')
    (tmp_path / "policy.toml").write_text(f"{policy}\n[commands.aws-s3-cp.env]\n{endpoint}")
    env.aws.s3.create_bucket(Bucket="mybucket", CreateBucketConfiguration={"LocationConstraint": REGION})
    env.aws.s3.put_object(Bucket="mybucket", Key="media.mp4", Body=b"a film")
    sources = f"{env.sources},mybucket"
    env.worker(POLICY_FILE=str(tmp_path / "policy.toml"), S3_ALLOWED_SOURCES=sources, AMQP_QUEUE="job_aws_cli")

    env.client.publish(AWS_CLI_MESSAGE, "job_aws_cli", "job_submit")

    reply = taken(env, COMPLETED)
    assert (data / "element_filename.mp4").read_bytes() == b"a film"
    assert (reply["job_id"], reply["status"]) == (123, "completed")
    [message] = reply["parameters"]
    assert message["value"].startswith("download: s3://mybucket/media.mp4 to ")
    assert taken(env, PROGRESSION)["progression"] == 0
