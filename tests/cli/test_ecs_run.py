"""`archiver ecs-run`: one task on the emulated AWS, and the refusals that need none."""

import hashlib
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from subprocess import CompletedProcess
from typing import Any

import pytest
from aws.failing_clients import client_error
from ecs_cluster import EmulatedCluster
from emulator import EmulatedAws
from processes.archiver_process import run_command
from processes.worker_env import WorkerEnv

from archiver.cli import task_run
from archiver.cli.console import CommandError
from archiver.cli.task_run import Following, Order, TaskRun, asks_to_stop
from archiver.core.dsn import parse_dsn
from archiver.core.tasks import StartedTask, TaskTarget

DSN = "region=eu-west-1 credentials=env:"
NETWORK = ["--subnet", "s-1,s-2", "--subnet=s-3", "--security-group", "sg-1"]
ARN = "arn:aws:ecs:eu-west-1:123456789012:task/tools/0123"
NAMES = ["--cluster", "tools", "--container", "archiver", "--task", "archiver:1"]
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_EC2_METADATA_DISABLED": "true"}


def dry(*arguments: str, **env: str) -> dict[str, Any]:
    """What `ecs-run --dry-run` prints."""
    ended = run_command("ecs-run", "--dry-run", *arguments, env=env)
    assert ended.returncode == 0, ended.stderr
    printed: dict[str, Any] = json.loads(ended.stdout)
    return printed


def request_of(call: dict[str, Any]) -> Any:
    """The request that the container gets."""
    (variable,) = call["overrides"]["containerOverrides"][0]["environment"]
    assert variable["name"] == "TASK_ORDER"
    return json.loads(variable["value"])


def test_a_dry_run_prints_the_call_and_needs_neither_aws_nor_credentials() -> None:
    call = dry(*NAMES, *NETWORK, "--ecs-dsn", DSN, "IMG_0084.JPG", "--uri", "a=b\\c.jpg", "--job-id", "order-1")

    assert (call["cluster"], call["taskDefinition"]) == ("tools", "archiver:1")
    assert call["networkConfiguration"]["awsvpcConfiguration"] == {
        "subnets": ["s-1", "s-2", "s-3"],
        "securityGroups": ["sg-1"],
        "assignPublicIp": "DISABLED",
    }
    files = [{"source": "IMG_0084.JPG"}, {"source": "a=b\\c.jpg"}]
    assert request_of(call) == {"files": files, "job_id": "order-1"}


def test_every_option_has_a_variable_and_the_command_line_wins() -> None:
    env = {
        "ARCHIVER_ECS_CLUSTER": "c",
        "ARCHIVER_ECS_TASK": "t:1",
        "ARCHIVER_ECS_CONTAINER": "k",
        "ARCHIVER_ECS_SUBNETS": "s-1, s-2",
        "ARCHIVER_ECS_SECURITY_GROUPS": "sg-1,sg-2",
        "ARCHIVER_ECS_PUBLIC_IP": "1",
        "ARCHIVER_ECS_DSN": DSN,
    }
    call, other = dry("a", **env), dry("a", "--cluster=d", "--subnet=s-9", "--no-public-ip", **env)

    assert (call["cluster"], call["taskDefinition"]) == ("c", "t:1")
    assert call["overrides"]["containerOverrides"][0]["name"] == "k"
    assert call["networkConfiguration"]["awsvpcConfiguration"] == {
        "subnets": ["s-1", "s-2"],
        "securityGroups": ["sg-1", "sg-2"],
        "assignPublicIp": "ENABLED",
    }
    assert other["cluster"] == "d"
    assert other["networkConfiguration"]["awsvpcConfiguration"]["subnets"] == ["s-9"]
    assert other["networkConfiguration"]["awsvpcConfiguration"]["assignPublicIp"] == "DISABLED"


LONG = json.dumps({"files": [{"source": "k" * 9000}]})


def test_a_request_that_is_too_long_for_the_call_goes_by_an_object() -> None:
    place = "s3://zips/tasks/"
    named, default = Order.of(LONG, "archiver", place, "archives"), Order.of(LONG, "archiver", None, "archives")

    name = f"{hashlib.sha256(LONG.encode()).hexdigest()}.json"
    assert named.text == f"s3://zips/tasks/{name}"
    assert default.text == f"s3://archives/orders/{name}"
    with pytest.raises(CommandError, match="too long for RunTask; name a place for it with --request-to"):
        Order.of(LONG, "archiver", None, None)
    with pytest.raises(CommandError, match=r"--request-to tasks: should be s3://bucket/prefix/"):
        Order.of(LONG, "archiver", "tasks", None)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "nothing to archive; name objects"),
        (["a"], "ARCHIVER_ECS_CLUSTER: is required for one-off tasks (ecs-run: or --cluster)"),
        (["a", *NAMES, *NETWORK, "--ecs-dsn", "region=x"], "--ecs-dsn: credentials is missing"),
        (["a", *NAMES, "--subnet", "../x"], "ARCHIVER_ECS_SUBNETS: '../x' should be one or more names"),
        (["a", "s3://b", *NAMES, *NETWORK], "s3://b: "),
        (["a", *NAMES, *NETWORK, "--timeout", "soon"], "--timeout"),
    ],
)
def test_what_can_not_be_run_is_a_usage_error_and_starts_nothing(arguments: list[str], told: str) -> None:
    ended = run_command("ecs-run", *arguments)

    assert ended.returncode == 2, ended.stderr
    assert told in ended.stderr


# ---- on the emulated AWS


@pytest.fixture(scope="module")
def cluster(_emulator: EmulatedAws) -> Iterator[EmulatedCluster]:
    made = EmulatedCluster(_emulator)
    yield made
    made.close()


def arguments(cluster: EmulatedCluster) -> list[str]:
    names = ["--cluster", cluster.name, "--container", "archiver", "--task", cluster.definition]
    return [*names, "--subnet", cluster.subnet, "--security-group", cluster.group, "--ecs-dsn", DSN]


def environment(cluster: EmulatedCluster) -> dict[str, str]:
    return {**KEYS, "AWS_ENDPOINT_URL": cluster.aws.endpoint, "AWS_CA_BUNDLE": cluster.aws.bundle}


def test_the_seeds_command_starts_a_task_and_prints_its_arn(cluster: EmulatedCluster) -> None:
    ended = run_command("ecs-run", *arguments(cluster), "--uri", "IMG_0084.JPG", env=environment(cluster))

    assert ended.returncode == 0, ended.stderr
    arn = ended.stdout.strip()
    assert arn.startswith("arn:aws:ecs:eu-west-1:")
    started = cluster.task(StartedTask(arn, ""))
    assert request_of(started) == {"files": [{"source": "IMG_0084.JPG"}]}


@pytest.mark.slow
def test_a_cluster_or_a_definition_that_is_not_there_is_a_usage_error(cluster: EmulatedCluster) -> None:
    named = arguments(cluster)
    nowhere = run_command("ecs-run", *named, "--cluster=none", "a", env=environment(cluster))

    assert nowhere.returncode == 2
    assert nowhere.stderr.startswith("not found: RunTask ")


async def run(cluster: EmulatedCluster, order: Order, follow: Following) -> tuple[TaskRun, int]:
    """Run a task in this process."""
    names = TaskTarget(cluster.name, cluster.definition, "archiver", [cluster.subnet], [cluster.group])
    one = TaskRun(names, order)
    return one, await one.run(follow, as_json=True)


@pytest.mark.slow
async def test_a_task_is_followed_to_its_end_with_its_log(
    aws: EmulatedAws, cluster: EmulatedCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("archiver.cli.task_follower.POLL_SECONDS", 0.01)
    monkeypatch.setattr("archiver.cli.task_follower.LAST_LOOK_SECONDS", 0.01)
    bucket = aws.bucket()
    order = Order.of(LONG, "archiver", None, bucket)

    one, code = await run(cluster, order, Following(True, None, 60, True, False))

    assert code == 0
    assert one.task is not None
    out, err = capsys.readouterr()
    assert json.loads(out) == {"task": one.task.arn, "exit_code": 0, "message": "the task stopped with exit code 0"}
    assert "the request is too long for RunTask: it is in s3://" in err
    assert "STOPPED" in err
    key = order.text.removeprefix(f"s3://{bucket}/")
    assert aws.s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode() == LONG
    (variable,) = cluster.task(one.task)["overrides"]["containerOverrides"][0]["environment"]
    assert variable["value"] == order.text


def contained(call: dict[str, Any], worker_env: WorkerEnv) -> CompletedProcess[str]:
    """Run what the container of *call* runs, with the settings of a worker."""
    (override,) = call["overrides"]["containerOverrides"]
    environ = {one["name"]: one["value"] for one in override["environment"]}
    return run_command(*override["command"], env={**worker_env.settings(), **environ})


@pytest.mark.slow
def test_the_container_does_the_request_and_its_exit_code_says_how_it_ended(worker_env: WorkerEnv) -> None:
    """The task definition may be that of a worker: its queue is left alone."""
    worker_env.put("a=b.jpg", b"x")
    waiting = worker_env.send_request("absent.jpg")
    done = contained(dry(*NAMES, *NETWORK, "a=b.jpg"), worker_env)
    absent = contained(dry(*NAMES, *NETWORK, "absent.jpg"), worker_env)

    answer = json.loads(done.stdout)
    assert (done.returncode, answer["status"], answer["archive"]["files"]) == (0, "succeeded", 1), done.stderr
    assert worker_env.aws.s3.head_object(Bucket=worker_env.archives, Key=answer["archive"]["key"])
    assert (absent.returncode, json.loads(absent.stdout)["error"]["code"]) == (1, "source_missing")
    assert [one["MessageId"] for one in worker_env.aws.all_messages(worker_env.source)] == [waiting]


# ---- after the start


@dataclass
class CannedAccess:
    """An access to AWS with one client for all services."""

    canned: Any

    @asynccontextmanager
    async def client(self, *_: object, **__: object) -> AsyncIterator[Any]:
        yield self.canned


class CannedEcs:
    """ECS, which starts every task, tells the status *status*, and refuses what *refused* names as *code*."""

    def __init__(self, status: str, refused: str, code: str) -> None:
        self._status = status
        self._refused = refused
        self._error = client_error(code)

    async def run_task(self, **_: object) -> Any:
        return {"tasks": [{"taskArn": ARN, "taskDefinitionArn": "archiver:1"}]}

    async def describe_tasks(self, **_: object) -> Any:
        if self._refused == "describe":
            raise self._error
        return {"tasks": [{"lastStatus": self._status, "containers": []}]}

    async def stop_task(self, **_: object) -> Any:
        raise self._error


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize(
    ("refused", "code", "told"),
    [
        ("describe", "ExpiredTokenException", "the credentials have expired"),
        ("describe", "AccessDeniedException", "DescribeTasks arn:aws:ecs:"),
        ("describe", "ClusterNotFoundException", "check the name and the region (eu-west-3)"),
        ("stop", "AccessDeniedException", "StopTask arn:aws:ecs:"),
        ("stop", "ThrottlingException", "try again"),
    ],
)
async def test_a_refusal_after_the_start_is_no_task_that_was_never_started(
    refused: str, code: str, told: str, as_json: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2 would say so, and a script would start another one."""
    ecs = CannedEcs("PENDING", refused, code)
    monkeypatch.setattr("archiver.aws.dsn_session.open_access", lambda _: CannedAccess(ecs))
    one = started()
    one.dsn = parse_dsn("region=eu-west-3 credentials=iam:")

    with pytest.raises(CommandError) as caught:
        await one.run(Following(True, 0, 0, False, False), as_json=as_json)

    assert caught.value.code == 3
    assert told in str(caught.value)
    assert caught.value.sentences[-1] == f"the task was started and may still run: {ARN}"


# ---- the end of patience


def started(cluster: str = "tools") -> TaskRun:
    """A run whose task was started."""
    one = TaskRun(TaskTarget(cluster, "archiver:1", "archiver", ["s-1"]), Order("{}"))
    one.asked, one.task = True, StartedTask(ARN, "")
    return one


class Terminal:
    """A standard input at which a person sits, who answers *answer*."""

    def __init__(self, answer: str | None) -> None:
        self._answer = answer

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        if self._answer is None:
            raise KeyboardInterrupt
        return self._answer


@pytest.mark.parametrize(
    ("answer", "stops"),
    [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("", False), (None, False)],
)
def test_a_person_is_asked_after_ctrl_c_whether_the_task_is_stopped(
    answer: str | None, stops: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped: list[str] = []
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    monkeypatch.setattr(task_run, "run_async", lambda _: stopped.append("0123"))

    error = started().interrupted(detach=False)

    assert error.code == 130
    assert capsys.readouterr().err == "stop the task 0123? [y/N] "
    assert stopped == (["0123"] if stops else [])
    assert ("is being stopped" if stops else "aws ecs stop-task --cluster tools --task 0123") in str(error)


def test_a_task_that_can_not_be_stopped_after_ctrl_c_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    ecs = CannedEcs("RUNNING", "stop", "AccessDeniedException")
    monkeypatch.setattr("archiver.aws.dsn_session.open_access", lambda _: CannedAccess(ecs))

    error = started().interrupted(detach=False)

    assert error.code == 130
    assert error.sentences[0].startswith("StopTask arn:aws:ecs:")
    assert error.sentences[-1].startswith("interrupted; the task goes on; to stop it: aws ecs stop-task")


def test_nobody_is_asked_with_detach_without_a_terminal_or_before_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert "the task goes on" in str(started("my tools").interrupted(detach=True))
    assert "--cluster 'my tools'" in str(started("my tools").interrupted(detach=True))

    monkeypatch.setattr(sys, "stdin", None)
    assert not asks_to_stop("0123")
    assert "the task goes on" in str(started().interrupted(detach=False))

    one = started()
    one.task = None
    assert "may have been started: see aws ecs list-tasks" in str(one.interrupted(detach=False))
    one.asked = False
    assert "no task was started" in str(one.interrupted(detach=False))
