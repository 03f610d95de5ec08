"""The handler, zipped, as a function that MiniStack runs: a queue and a bucket invoke it."""

import io
import json
import shlex
import sysconfig
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
from faults.worker_process import wait_until
from processes.archiver_process import run_command

from .servers import ROOT
from .worker_env import MIB, WorkerEnv, make_client

VARIABLES = (
    "AWS_CA_BUNDLE",
    "AWS_ENDPOINT_URL",
    "S3_DESTINATION_BUCKET",
    "S3_SOURCE_BUCKET",
    "SQS_DESTINATION_QUEUE",
)


SHIM = """
import sys
for name in [name for name in sys.modules if name.startswith(("boto", "s3transfer", "urllib3"))]:
    del sys.modules[name]  # those of MiniStack, which has imported them already
sys.path.insert(1, {packages!r})
from archiver.awslambda import handler
"""


def zipped() -> bytes:
    """The package, and a module that finds its dependencies where the tests have them."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted((ROOT / "archiver").rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                archive.write(file, file.relative_to(ROOT))
        archive.writestr("function.py", SHIM.format(packages=sysconfig.get_path("purelib")))
    return body.getvalue()


class FunctionOfEnv:
    """A function with the settings of *env*."""

    def __init__(self, env: WorkerEnv) -> None:
        self._env = env
        self.client: Any = make_client("lambda", env.environ)
        self.name = f"{env.sources}-function"

    def create(self, *, timeout: int, **settings: str) -> str:
        """Create it; its ARN."""
        kept = {name: self._env.environ[name] for name in VARIABLES} | {"ARCHIVE_BASE_URL": ""}
        made = self.client.create_function(
            FunctionName=self.name,
            Runtime="python3.11",
            Role="arn:aws:iam::000000000000:role/function",
            Handler="function.handler",
            Code={"ZipFile": zipped()},
            Timeout=timeout,
            MemorySize=1769,
            Environment={"Variables": {**kept, **settings}},
        )
        return str(made["FunctionArn"])

    def map_queue(self) -> None:
        """Have it invoked by the source queue, which gets single failures back."""
        self.client.create_event_source_mapping(
            FunctionName=self.name,
            EventSourceArn=self._env.arn(self._env.source),
            BatchSize=10,
            FunctionResponseTypes=["ReportBatchItemFailures"],
        )


@pytest.fixture
def env(mini: dict[str, str]) -> Iterator[WorkerEnv]:
    with WorkerEnv({**mini, "ARCHIVE_BASE_URL": "", "SQS_FAILURE_QUEUE": ""}, visibility=60) as worker_env:
        yield worker_env


def test_of_a_batch_just_the_message_that_is_not_done_stays_in_the_queue(env: WorkerEnv) -> None:
    function = FunctionOfEnv(env)
    function.create(timeout=10)
    env.put("a.jpg", b"a")
    env.send_request("a.jpg", job_id="good")
    env.send_request("later.jpg", job_id="bad", wait_for={"timeout": 600})
    function.map_queue()

    answer = env.answer()

    assert (answer["job_id"], answer["status"]) == ("good", "succeeded")
    assert env.archive(answer["archive"]["key"]) == {"a.jpg": b"a"}
    wait_until(lambda: env.queue_depth(env.source) == 1, "the good message to be deleted", seconds=60)
    env.put("later.jpg", b"l")
    answer = env.answer()
    assert (answer["job_id"], answer["status"]) == ("bad", "succeeded")
    wait_until(lambda: env.queue_depth(env.source) == 0, "the other one, too", seconds=60)


def test_a_job_that_the_end_of_the_time_meets_while_it_uploads_leaves_no_upload(env: WorkerEnv) -> None:
    function = FunctionOfEnv(env)
    function.create(timeout=4)
    env.put("big.bin", bytes(10 * MIB))
    files = [{"source": "big.bin", "name": f"{number}.bin"} for number in range(400)]

    told = function.client.invoke(FunctionName=function.name, Payload=json.dumps({"files": files}))

    assert "the time that the invocation has" in told["Payload"].read().decode()
    assert told.get("FunctionError")
    assert env.uploads() == []
    assert "Contents" not in env.s3.list_objects_v2(Bucket=env.archives)


def test_an_order_file_that_appears_is_done(env: WorkerEnv) -> None:
    function = FunctionOfEnv(env)
    arn = function.create(timeout=30, ORDERS_PREFIX=f"{env.sources}/orders/")
    event = {"LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:*"]}
    env.s3.put_bucket_notification_configuration(
        Bucket=env.sources, NotificationConfiguration={"LambdaFunctionConfigurations": [event]}
    )
    env.put("a.jpg", b"a")
    env.put("orders/2026 + ü.json", json.dumps({"files": [{"source": "a.jpg"}], "job_id": "filed"}).encode())

    answer = env.answer()

    assert (answer["job_id"], answer["status"]) == ("filed", "succeeded")


def test_the_invocation_of_the_manual_prints_the_answer_of_the_function(env: WorkerEnv) -> None:
    """The command line of docs/lambda.md, as it stands there, but for the function's name and the region."""
    function = FunctionOfEnv(env)
    function.create(timeout=30)
    env.put("avocado.png", b"a")
    env.put("toast.jpg", b"t")
    page = (ROOT / "docs/lambda.md").read_text()
    (line,) = [line for line in page.splitlines() if line.startswith("$ archiver invoke ")]
    named = line.replace("ProcessIIIF", function.name).replace("eu-west-1", env.environ["AWS_DEFAULT_REGION"])

    ended = run_command(*shlex.split(named)[2:], env=env.environ)
    absent = run_command("invoke", "--lambda-func", function.name, "--uri", "absent.jpg", env=env.environ)

    answer = json.loads(ended.stdout)
    assert (ended.returncode, answer["status"]) == (0, "succeeded"), ended.stderr
    assert env.archive(answer["archive"]["key"]) == {"avocado.png": b"a", "toast.jpg": b"t"}
    assert (absent.returncode, json.loads(absent.stdout)["error"]["code"]) == (1, "source_missing"), absent.stderr
