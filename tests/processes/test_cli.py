"""The command line, as a person or a container types it."""

import json
import subprocess
import sys

import pytest

from archiver import __version__

from .archiver_process import run_command

COMMANDS = {
    "run",
    "local",
    "demo",
    "send",
    "create",
    "plan",
    "verify",
    "check",
    "iam-policy",
    "dlq",
    "health",
    "schema",
}


@pytest.mark.fresh
def test_version_is_told_on_one_line() -> None:
    ended = run_command("--version")

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"archiver {__version__}\n", "")


@pytest.mark.fresh
def test_help_names_every_command() -> None:
    ended = run_command("--help")

    assert ended.returncode == 0
    assert set(ended.stdout.split()) >= COMMANDS


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_of_every_command_has_an_example(name: str) -> None:
    ended = run_command(name, "--help")

    assert ended.returncode == 0
    assert f"archiver {name}" in ended.stdout.partition("Usage:")[2]
    assert "Example: " in ended.stdout or name == "dlq"


@pytest.mark.parametrize("name", ["list", "show", "redrive", "drop"])
def test_help_of_every_dlq_command_has_an_example(name: str) -> None:
    assert f"Example: archiver dlq {name}" in run_command("dlq", name, "--help").stdout


def test_version_and_help_import_nothing_heavy() -> None:
    """What makes them answer at once: 0.1 s on the machine where this was measured."""
    for arguments in (["--version"], ["--help"]):
        code = f"import sys; from archiver.cli import app; app({arguments}, standalone_mode=False); print(*sys.modules)"
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
        loaded = set(ended.stdout.splitlines()[-1].split())
        assert loaded & {"botocore", "aiohttp", "pydantic", "structlog", "moto", "cryptography", "isal"} == set()


@pytest.mark.fresh  # the shell is looked for when the commands are built
def test_completion_is_there_for_the_shell() -> None:
    ended = run_command("--show-completion", "bash", env={"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"})

    assert ended.returncode == 0
    assert "_ARCHIVER_COMPLETE" in ended.stdout or "complete" in ended.stdout


def test_schema_is_json_and_tells_what_a_request_and_each_answer_must_hold() -> None:
    ended = run_command("schema")

    schema = json.loads(ended.stdout)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert {name: part["type"] for name, part in schema.items()} == dict.fromkeys(
        ("request", "success", "failure", "progress", "cancelled", "alive", "command"), "object"
    )
    ways = ("files", "manifest", "cancel", "command")
    assert schema["request"]["oneOf"] == [{"required": [way]} for way in ways]
    assert {"metadata", "substitutions"} <= set(schema["success"]["required"])
    assert schema["failure"]["required"] == ["metadata", "job_id", "message_id", "status", "error"]


@pytest.mark.parametrize("arguments", [(), ("run",)], ids=["no command", "run"])
def test_worker_is_run_by_its_command_and_by_none(arguments: tuple[str, ...]) -> None:
    """It complains of its settings: so it is the worker that was asked for."""
    ended = run_command(*arguments)

    assert ended.returncode == 2
    assert [line.partition(":")[0] for line in ended.stderr.splitlines()] == [
        "SQS_SOURCE_QUEUE",
        "S3_DESTINATION_BUCKET",
    ]


def test_unknown_command_is_refused_with_the_usage() -> None:
    ended = run_command("fly")

    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert "fly" in ended.stderr
