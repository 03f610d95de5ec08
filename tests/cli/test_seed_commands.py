"""The command lines of go-iiif-aws and Open Task Framework, as our pages have them, do what theirs do."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from awslambda.function_env import FunctionEnv, invoke
from docs.blocks import ROOT, Block, blocks
from ecs_cluster import EmulatedCluster
from emulator import EmulatedAws
from processes.archiver_process import NO_AWS
from receivers import Receivers, receivers
from typer.main import get_command
from zygote import inherited_environment

from archiver.core.tasks import StartedTask
from archiver.settings import Environment

__all__ = ["receivers"]

ONE_OFF, LAMBDA = ROOT / "docs" / "ecs-run.md", ROOT / "docs" / "lambda.md"
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}

# `iiif-process-ecs -h`, and what only its code has.
FLAGS = [
    "cluster",
    "config",
    "container",
    "ecs-dsn",
    "instructions",
    "lambda-dsn",
    "lambda-func",
    "lambda-type",
    "mode",
    "report",
    "report-name",
    "security-group",
    "strip-paths",
    "subnet",
    "task",
    "uri",
    "wait",
]


def _calling(command: str) -> list[Block]:
    """The blocks of both pages that call AWS by *command*."""
    found = [block for page in (ONE_OFF, LAMBDA) for block in blocks(page)]
    return [block for block in found if command in block.commands and "--dry-run" not in block.commands]


def _rows(page: Path) -> list[tuple[str, str]]:
    """The rows of the tables with two columns: theirs and ours."""
    return re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", page.read_text(), re.MULTILINE)


@pytest.mark.parametrize("flag", FLAGS)
def test_every_flag_of_the_seed_has_a_row_and_so_has_its_variable(flag: str) -> None:
    variable = f"IIIF_PROCESS_{flag.upper().replace('-', '_')}"
    assert [ours for theirs, ours in _rows(ONE_OFF) if f"`-{flag}" in theirs]
    if flag not in ("uri", "strip-paths"):  # which its code has not
        assert [ours for theirs, ours in _rows(LAMBDA) if re.search(rf"`{variable}\b", theirs)]


def test_what_a_flag_or_a_variable_becomes_is_an_option_or_a_variable_of_ours() -> None:
    from archiver.cli import app  # noqa: PLC0415

    commands = getattr(get_command(app), "commands")  # noqa: B009 - a group's
    parameters = [one for name in ("ecs-run", "invoke") for one in commands[name].params]
    options = {text for one in parameters for text in one.opts}
    variables = {str(one.envvar) for one in parameters if one.envvar}
    variables |= {str(field.validation_alias) for field in Environment.model_fields.values()}
    variables |= {"ARCHIVER_LAMBDA_DSN", "ARCHIVER_LAMBDA_FUNCTION", "ARCHIVER_LAMBDA_TYPE", "TASK_ORDER"}
    section = ONE_OFF.read_text().partition("## Commands of other tools")[2].partition("\n## ")[0]
    told = section + LAMBDA.read_text().partition("## From iiif-process-ecs")[2].partition("\n## ")[0]

    named = set(re.findall(r"`(?:archiver [\w-]+ )?(--[a-z-]+)", told))
    assert named <= options
    assert set(re.findall(r"\b(?:ARCHIVER|LAMBDA|EVENT)_[A-Z_]+|TASK_ORDER", told)) <= variables


@pytest.fixture(scope="module")
def cluster(_emulator: EmulatedAws) -> Iterator[EmulatedCluster]:
    made = EmulatedCluster(_emulator)
    yield made
    made.close()


def _on(cluster: EmulatedCluster, text: str) -> str:
    """*text* with the names of what is there."""
    names = {"archiver:1": cluster.definition, "subnet-1,subnet-2": cluster.subnet, "subnet-1": cluster.subnet}
    for name, real in {**names, "sg-1": cluster.group, "--cluster archiver": f"--cluster {cluster.name}"}.items():
        text = text.replace(name, real)
    return text.replace("CLUSTER=archiver", f"CLUSTER={cluster.name}")


def _run(script: str, aws: EmulatedAws) -> str:
    """What *script* prints, in the reader's shell."""
    environ = {**inherited_environment(), **NO_AWS, **KEYS, "AWS_ENDPOINT_URL": aws.endpoint}
    environ |= {"AWS_REGION": "eu-west-1", "AWS_CA_BUNDLE": aws.bundle}
    environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = ["bash", "-euo", "pipefail", "-c", script]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, f"{script}\n{ended.stderr}"
    return ended.stdout


@pytest.mark.slow
@pytest.mark.parametrize("block", _calling("archiver ecs-run"), ids=str)
def test_a_command_line_of_the_pages_starts_a_task_with_its_objects(block: Block, cluster: EmulatedCluster) -> None:
    task = cluster.task(StartedTask(_run(_on(cluster, block.commands), cluster.aws).strip(), ""))

    (container,) = task["overrides"]["containerOverrides"]
    assert json.loads(container["environment"][0]["value"]) == {"files": [{"source": "IMG_0084.JPG"}]}


@pytest.mark.slow
@pytest.mark.parametrize("block", _calling("archiver invoke"), ids=str)
def test_a_command_line_of_the_pages_invokes_the_function(block: Block, receivers: Receivers) -> None:
    name = re.compile(r"ProcessIIIF|arn:aws:lambda\S+")
    answer = _run(name.sub(receivers.function(), block.commands), receivers.aws)

    if "RequestResponse" in block.commands:
        assert json.loads(answer) == {"files": [{"source": "avocado.png"}, {"source": "toast.jpg"}]}
    else:
        assert answer == ""


def test_both_pages_have_command_lines_that_call_aws() -> None:
    assert len(_calling("archiver ecs-run")) == 2
    assert len(_calling("archiver invoke")) == 4


@pytest.mark.slow
async def test_the_seeds_variables_in_ours_make_a_task_of_each_new_object(
    aws: EmulatedAws, cluster: EmulatedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = [block for block in blocks(LAMBDA) if "export ARCHIVER_ECS_DSN" in block.text]
    printed = _run(f"{_on(cluster, block.text)}\nenv", aws).splitlines()
    settings = dict(line.split("=", 1) for line in printed if line.startswith(("ARCHIVER_", "LAMBDA_", "EVENT_")))
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    env = FunctionEnv(aws)
    env.put("a b.jpg")
    new = {"s3": {"bucket": {"name": env.sources}, "object": {"key": "a+b.jpg", "size": 1, "eTag": "e"}}}

    async with env.service(**settings, S3_ALLOWED_SOURCES=env.sources) as service:
        answer = await invoke(service, {"Records": [new]})

    (container,) = cluster.task(StartedTask(answer["task"], ""))["overrides"]["containerOverrides"]
    (record,) = json.loads(container["environment"][0]["value"])["Records"]
    assert answer["status"] == "handed_on"
    assert json.loads(record["body"])["files"] == [{"source": f"s3://{env.sources}/a b.jpg"}]
