"""What runs elsewhere runs the same targets; and the image's targets say to docker what they should."""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GITHUB = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
GITLAB = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())
IMAGE = ["make docker-build", "make docker-registry-login", "make docker-push-registry"]
FAKE = """#!/bin/sh
printf '%s\\n' "$*" >> "$RECORD"
case "$1" in login) printf 'stdin: ' >> "$RECORD"; cat >> "$RECORD" ;; esac
"""


def targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_ci_runs_every_check_and_nothing_that_make_does_not_know() -> None:
    script = (ROOT / ".ci/run").read_text()
    (listed,) = re.findall(r"^for target in \$\{\*:-(.*)\}; do$", script, re.MULTILINE)

    assert listed.split() == ["lint", "test", "test-slow", "demo", "e2e", "pythons"]
    assert {*listed.split(), "test-quick"} - {"pythons"} <= targets()


def test_both_services_run_the_tests_on_the_image_s_python_too() -> None:
    (version,) = set(re.findall(r"^FROM python:(\d+\.\d+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    (setup,) = [step for step in GITHUB["jobs"]["check"]["steps"] if "setup-python" in step.get("uses", "")]

    assert version in setup["with"]["python-version"].split()
    assert GITLAB["image-python"]["image"] == f"python:{version}-bookworm"
    assert GITLAB["image-python"]["script"] == [".ci/run test-quick"]


def ci_run(tmp_path: Path, *pythons: str, steps: tuple[str, ...] = ()) -> tuple[list[str], str]:
    """Run .ci/run with a make that only says what it was told, where nothing but these *pythons* is found."""
    programs = ["make", "python3", "unzip", "7z", "bsdtar", "java", "aws", "systemd-analyze", *pythons]
    for name in programs:
        program = tmp_path / name
        program.write_text('#!/bin/sh\ncase "$0" in */make) echo "told: make $*" ;; esac\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    for name in ("bash", "dirname", "head", "sed", "sort"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    ended = subprocess.run(
        [ROOT / ".ci/run", *steps],
        env={"PATH": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    told = re.findall(r"^told: make (.*)$", ended.stdout, re.MULTILINE)
    return told, ended.stdout


def test_the_tests_run_on_every_python_that_is_there(tmp_path: Path) -> None:
    told, _ = ci_run(tmp_path, "python3.12", "python3.13", "python3.14")

    quick = [f"test-quick PYTHON=python{version} VENV=.venv/{version}" for version in ("3.12", "3.13", "3.14")]
    assert told == ["lint", "test", "test-slow", "demo", "e2e", *quick]


def test_a_python_that_is_not_there_or_does_not_run_is_told_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "python3.12").write_text("#!/bin/sh\nexit 127\n")
    (tmp_path / "python3.12").chmod(0o755)

    told, printed = ci_run(tmp_path, "python3.14")

    assert told[-1] == "test-quick PYTHON=python3.14 VENV=.venv/3.14"
    skipped = [line for line in printed.splitlines() if "SKIPPED" in line]
    assert skipped == [
        "== SKIPPED: the tests on Python 3.12, which is not on this machine",
        "== SKIPPED: the tests on Python 3.13, the image's, which is not on this machine",
    ]
    assert printed.rstrip().endswith(skipped[-1])


def test_steps_that_are_named_run_alone(tmp_path: Path) -> None:
    assert ci_run(tmp_path, steps=("test-quick",))[0] == ["test-quick"]


def test_both_services_run_the_checks_and_then_build_and_push_the_image_on_main_alone() -> None:
    check, image = GITHUB["jobs"]["check"], GITHUB["jobs"]["image"]
    assert [step["run"] for step in check["steps"] if "run" in step] == [".ci/run"]
    assert [step["run"] for step in image["steps"] if "run" in step] == IMAGE
    assert (image["needs"], "refs/heads/main" in image["if"]) == ("check", True)
    assert GITLAB["check"]["script"] == [".ci/run"]
    assert GITLAB["image"]["script"] == IMAGE
    assert GITLAB["image"]["rules"] == [{"if": '$CI_COMMIT_BRANCH == "main"'}]
    assert GITLAB["stages"] == ["check", "image"]


def test_nobody_gets_more_rights_than_the_job_needs() -> None:
    assert GITHUB["permissions"] == {"contents": "read"}
    assert GITHUB["jobs"]["image"]["permissions"] == {"contents": "read", "packages": "write"}
    assert "secrets." not in str(GITHUB["jobs"]["check"])


def make(tmp_path: Path, *arguments: str, **env: str) -> tuple[int, str, str]:
    """Run make with a docker that only writes down what it was told."""
    fake, record = tmp_path / "docker", tmp_path / "record"
    fake.write_text(FAKE)
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    record.touch()
    ended = subprocess.run(
        ["make", "-C", str(ROOT), *arguments],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "RECORD": str(record), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, record.read_text(), ended.stdout + ended.stderr


def test_the_image_is_built_tagged_pushed_and_removed_under_its_version(tmp_path: Path) -> None:
    (version,) = re.findall(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    name = "registry.example/team/archiver"
    given = ("DOCKER_REGISTRY=registry.example/team",)

    assert make(tmp_path, "docker-build", *given)[1] == f"build --tag {name}:{version} --tag {name}:latest .\n"
    (tmp_path / "record").unlink()
    assert make(tmp_path, "docker-push-registry", *given)[1] == f"push {name}:{version}\npush {name}:latest\n"
    (tmp_path / "record").unlink()
    assert make(tmp_path, "docker-clean")[1] == f"image rm --force archiver:{version} archiver:latest\n"


@pytest.mark.parametrize("how", ["environment", "argument"])
def test_the_password_goes_by_standard_input_and_is_never_an_argument_or_printed(tmp_path: Path, how: str) -> None:
    secret = "pa$s'w\"ord" if how == "environment" else "password"
    given = ["DOCKER_REGISTRY=registry.example", "DOCKER_REGISTRY_LOGIN=me"]
    if how == "argument":
        given.append(f"DOCKER_REGISTRY_PWD={secret}")

    code, record, printed = make(tmp_path, "docker-registry-login", *given, DOCKER_REGISTRY_PWD=secret)

    assert code == 0
    assert record == f"login --username me --password-stdin registry.example\nstdin: {secret}\n"
    assert secret not in printed


def test_a_login_without_a_name_says_what_to_set(tmp_path: Path) -> None:
    code, record, printed = make(tmp_path, "docker-registry-login")

    assert (code, record) == (2, "")
    assert "set DOCKER_REGISTRY_LOGIN and DOCKER_REGISTRY_PWD" in printed
