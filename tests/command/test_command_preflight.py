"""What `archiver check` tells of commands, on a machine where something is missing."""

import asyncio
from pathlib import Path

import pytest

from archiver.command import preflight
from archiver.core.operator_policy import OperatorPolicy
from archiver.core.preflight import CheckResult

GIB = 1024 * 1024 * 1024


def check(folder: Path, text: str, total: int = 1) -> list[CheckResult]:
    commands = OperatorPolicy.parse(text.encode()).commands
    return asyncio.run(preflight.check_commands(commands, folder / "work", total))


def states(results: list[CheckResult]) -> dict[str, str]:
    return {result.what: result.state for result in results}


@pytest.fixture
def no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH of one empty folder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_a_program_that_is_there_and_a_directory_that_can_be_made_are_well(tmp_path: Path) -> None:
    results = check(tmp_path, '[commands.a]\nargv = ["sh"]\n[commands.b]\nargv = ["/bin/sh"]\n')

    assert states(results) == {"command a": "ok", "command b": "ok", "work directory": "ok"}
    assert list(tmp_path.iterdir()) == []


def test_programs_that_are_missing_or_not_executable_are_told_with_the_path_that_was_searched(
    tmp_path: Path, no_path: Path
) -> None:
    plain = tmp_path / "plain.sh"
    plain.write_text("#!/bin/sh\n")
    text = f"""
        [commands.a]
        argv = ["tool"]
        [commands.b]
        argv = ["/nowhere/tool"]
        [commands.c]
        argv = ["{plain}"]
        [commands.d]
        argv = ["sh"]
        env = {{PATH = "/bin"}}
    """
    *programs, _ = check(tmp_path, text)

    assert [result.state for result in programs] == ["bad", "bad", "bad", "ok"]
    assert [result.told for result in programs[:3]] == [
        f"tool is in no folder of PATH ({no_path})",
        "/nowhere/tool does not exist",
        f"{plain} is not executable by this user",
    ]


def test_a_native_command_with_credentials_is_a_warning(tmp_path: Path) -> None:
    role = 'role_arn = "arn:aws:iam::210987654321:role/jobs"'
    results = check(
        tmp_path, f'[commands.a]\nargv = ["sh"]\naws = true\n[commands.b]\nargv = ["sh"]\naws = true\n{role}\n'
    )

    own, of_role = [result for result in results if result.state == "warning"]
    assert own.told == "gets the worker's own AWS credentials, and runs natively"
    assert (of_role.what, of_role.told) == (
        "command b",
        "gets AWS credentials, as the worker's user, and runs natively",
    )


DOCKER = '[commands.a]\nrunner = "docker"\nimage = "a"\nargv = ["a"]\n'


@pytest.mark.parametrize(
    ("script", "state", "told"),
    [
        (None, "bad", "there is no docker in PATH"),
        ("echo 27.1", "ok", "the daemon answers (version 27.1)"),
        ("echo 'Cannot connect to the daemon' >&2; exit 1", "bad", "Cannot connect to the daemon"),
        pytest.param("exit 3", "bad", "docker version ended with 3", marks=pytest.mark.slow),
    ],
)
def test_docker_is_asked_for_its_daemon(
    tmp_path: Path, no_path: Path, script: str | None, state: str, told: str
) -> None:
    if script is not None:
        (no_path / "docker").write_text(f"#!/bin/sh\n{script}\n")
        (no_path / "docker").chmod(0o755)

    docker, _ = check(tmp_path, DOCKER)

    assert (docker.what, docker.state, docker.told) == ("docker", state, told)


def test_a_daemon_that_hangs_is_not_waited_for(no_path: Path) -> None:
    (no_path / "docker").write_text("#!/bin/sh\nwhile :; do :; done\n")
    (no_path / "docker").chmod(0o755)

    docker = asyncio.run(preflight.check_docker(0.2))

    assert (docker.state, docker.told) == ("bad", "no answer in 0.2 s")


def test_a_work_directory_that_is_no_directory_is_bad_and_one_that_is_too_small_a_warning(tmp_path: Path) -> None:
    assert states(check(tmp_path, '[commands.a]\nargv = ["sh"]\n', 2**30 * GIB))["work directory"] == "warning"
    (tmp_path / "work").write_text("a file")
    *_, found = check(tmp_path, '[commands.a]\nargv = ["sh"]\n')
    assert (found.state, found.told) == ("bad", f"{tmp_path}/work can't be used: Not a directory")
