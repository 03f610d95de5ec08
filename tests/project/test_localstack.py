"""The local workflow by containers and by Python alone: one set of names, and a script that makes them."""

import json
import os
import re
import shlex
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from project.awslocal import installed

from archiver.local import embedded
from archiver.local.samples import read_sample
from archiver.settings import load_settings

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "localstack" / "init-aws.sh"
COMPOSE = ROOT / "docker-compose.yml"


def envrc() -> dict[str, str]:
    lines = (ROOT / ".envrc.dist").read_text().splitlines()
    exports = [shlex.split(line)[1] for line in lines if line.startswith("export ")]
    return dict(export.split("=", 1) for export in exports)


def compose() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    return services


def test_envrc_and_the_embedded_aws_name_the_same_things() -> None:
    """Who changes from one to the other changes nothing else."""
    assert envrc() == embedded.local_environment(4566)


def test_envrc_is_a_whole_environment_for_the_worker() -> None:
    """No setting is refused, and the names arrive where they belong."""
    settings = load_settings(envrc())

    assert (settings.source_queue, settings.destination_queue) == ("input-queue", "output-queue")
    assert (settings.source_bucket, settings.destination_bucket) == ("source-images", "zip-storage")
    assert settings.base_url == "http://localhost:4566/zip-storage"
    assert settings.dev_mode


def test_every_setting_of_envrc_has_a_comment() -> None:
    """Each block of exports is introduced by a sentence."""
    blocks = (ROOT / ".envrc.dist").read_text().strip().split("\n\n")

    assert len(blocks) == 12
    assert all(block.startswith("# ") for block in blocks)


def test_script_names_the_queues_and_buckets_of_envrc() -> None:
    """In the script's order: queues, then buckets."""
    script = SCRIPT.read_text()

    queues = re.findall(r"^queue (\S+)$", script, re.MULTILINE)
    buckets = re.findall(r"^bucket (\S+)$", script, re.MULTILINE)

    assert queues == [embedded.INPUT_QUEUE, embedded.OUTPUT_QUEUE]
    assert buckets == [embedded.SOURCE_BUCKET, embedded.ARCHIVE_BUCKET]


def test_compose_mounts_files_that_exist_and_can_be_run() -> None:
    """LocalStack runs the script itself, so it must be executable."""
    mounts = [volume.split(":")[:2] for volume in compose()["localstack"]["volumes"]]

    assert all((ROOT / here).is_file() for here, _ in mounts)
    assert ["./localstack/init-aws.sh", "/etc/localstack/init/ready.d/init-aws.sh"] in mounts
    assert SCRIPT.stat().st_mode & stat.S_IXUSR


def test_compose_puts_the_sample_beside_the_script_that_uploads_it() -> None:
    """The script looks for source.jpg in its own folder, in the container as here."""
    mounts = dict(volume.split(":")[:2] for volume in compose()["localstack"]["volumes"])

    script, picture = mounts["./localstack/init-aws.sh"], mounts["./localstack/source.jpg"]

    assert Path(script).parent == Path(picture).parent
    assert Path(picture).name == embedded.SAMPLE_KEY


def test_both_samples_are_one_picture() -> None:
    """One file for LocalStack, one in the package: the same JPEG."""
    picture = (ROOT / "localstack" / "source.jpg").read_bytes()

    assert picture == read_sample("source.jpg")
    assert picture[:3] == b"\xff\xd8\xff"


def test_compose_listens_on_this_machine_alone_and_pins_the_image() -> None:
    """4.9.2 is the last line that asks for no token and was tried."""
    localstack = compose()["localstack"]

    assert localstack["image"] == "localstack/localstack:4.9.2"
    assert localstack["ports"] == ["127.0.0.1:4566:4566"]


def test_compose_has_rabbitmq_beside_localstack_where_it_is_asked_for() -> None:
    rabbitmq = compose()["rabbitmq"]

    assert rabbitmq["profiles"] == ["rabbitmq"]
    assert rabbitmq["image"].partition(":")[2].count(".") == 2
    assert rabbitmq["ports"] == ["127.0.0.1:5672:5672"]


def test_compose_gives_the_worker_the_settings_of_envrc() -> None:
    """Only the address differs: inside the network LocalStack has a name."""
    worker = compose()["worker"]

    assert worker["environment"] == envrc() | {"AWS_ENDPOINT_URL": "http://localstack:4566"}
    assert worker["profiles"] == ["worker"]
    assert worker["depends_on"]["localstack"]["condition"] == "service_healthy"


def test_compose_waits_longer_for_the_worker_than_its_grace_period() -> None:
    """Else the container is killed in the middle of a job that would have ended."""
    patience = int(compose()["worker"]["stop_grace_period"].removesuffix("s"))

    assert patience > load_settings(envrc()).grace_seconds


@pytest.fixture
def empty_aws() -> Iterator[dict[str, Any]]:
    """Clients of an S3 and an SQS with nothing in them, in a process of their own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        env=os.environ | {"MOTO_ACCOUNT_ID": embedded.ACCOUNT},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        environment = embedded.local_environment(port)
        aws = embedded.EmbeddedAws(environment["AWS_ENDPOINT_URL"], environment)
        with closing(aws.client("sqs")) as sqs, closing(aws.client("s3")) as s3:
            yield {"sqs": sqs, "s3api": s3}
        server.terminate()


def _state(sqs: Any, s3: Any) -> dict[str, Any]:
    url = sqs.get_queue_url(QueueName="input-queue")["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])["Attributes"]
    return {
        "queues": sorted(queue.rpartition("/")[2] for queue in sqs.list_queues()["QueueUrls"]),
        "redrive": json.loads(attributes["RedrivePolicy"]),
        "buckets": sorted(bucket["Name"] for bucket in s3.list_buckets()["Buckets"]),
        "sample": s3.get_object(Bucket="source-images", Key="source.jpg")["Body"].read(),
    }


@pytest.mark.slow
def test_script_creates_queues_buckets_and_the_sample_and_can_run_twice(
    empty_aws: dict[str, Any], tmp_path: Path
) -> None:
    """A restart of the container with kept data runs it again."""
    expected = {
        "queues": ["input-queue", "input-queue-dlq", "output-queue", "output-queue-dlq", "progress-queue"],
        "redrive": {
            "deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:input-queue-dlq",
            "maxReceiveCount": embedded.MAX_RECEIVES,
        },
        "buckets": ["source-images", "zip-storage"],
        "sample": read_sample("source.jpg"),
    }

    shell = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with installed(tmp_path, empty_aws):
        for _ in range(2):
            done = subprocess.run([SCRIPT], env=shell, capture_output=True, text=True, check=False)

            assert (done.returncode, done.stderr) == (0, "")
            assert _state(empty_aws["sqs"], empty_aws["s3api"]) == expected


@pytest.mark.parametrize("script", [SCRIPT, ROOT / ".ci" / "run"], ids=lambda path: path.name)
def test_shell_scripts_parse_and_stop_at_the_first_failure(script: Path) -> None:
    """`bash -n` reads a script whole."""
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    assert "\nset -euo pipefail\n" in script.read_text()
    assert script.stat().st_mode & stat.S_IXUSR
