"""The command line, as a person or a container types it."""

import json

import pytest

from archiver import __version__

from .process import command


def test_version_is_told_on_one_line() -> None:
    ended = command("--version")

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"archiver {__version__}\n", "")


def test_help_names_every_command() -> None:
    ended = command("--help")

    assert ended.returncode == 0
    assert {"run", "schema", "local", "demo"} <= set(ended.stdout.split())


def test_schema_is_json_and_tells_what_a_request_and_each_answer_must_hold() -> None:
    ended = command("schema")

    schema = json.loads(ended.stdout)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert {name: part["type"] for name, part in schema.items()} == dict.fromkeys(
        ("request", "success", "failure"), "object"
    )
    assert schema["request"]["required"] == ["files"]
    assert {"metadata", "substitutions"} <= set(schema["success"]["required"])
    assert schema["failure"]["required"] == ["metadata", "job_id", "status", "error"]


@pytest.mark.parametrize("arguments", [(), ("run",)], ids=["no command", "run"])
def test_worker_is_run_by_its_command_and_by_none(arguments: tuple[str, ...]) -> None:
    """It complains of its settings: so it is the worker that was asked for."""
    ended = command(*arguments)

    assert ended.returncode == 2
    assert [line.partition(":")[0] for line in ended.stderr.splitlines()] == [
        "SQS_SOURCE_QUEUE",
        "S3_DESTINATION_BUCKET",
    ]


def test_unknown_command_is_refused_with_the_usage() -> None:
    ended = command("fly")

    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert "fly" in ended.stderr
