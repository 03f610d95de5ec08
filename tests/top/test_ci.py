"""What runs elsewhere runs the same targets; and the image's targets say to docker what they should."""

import os
import re
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
    (listed,) = re.findall(r"^for target in (.*); do$", script, re.MULTILINE)

    assert listed.split() == ["lint", "test", "demo", "e2e"]
    assert set(listed.split()) <= targets()


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
