"""CI files are what their services take, and run the same targets; the image's targets tell docker what they should."""

import json
import os
import re
import shutil
import stat
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import validators
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github/workflows"
CI, IMAGE, RELEASE = (yaml.safe_load((GITHUB / f"{name}.yml").read_text()) for name in ("ci", "image", "release"))
GITLAB = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())
PUSH = ["make docker-registry-login", "make docker-push-registry"]
SHA = re.compile(r"(\./.+|[\w-]+/[\w-]+@[0-9a-f]{40})")
DIGEST = re.compile(r"@sha256:[0-9a-f]{64}\b")
FAKE = """#!/bin/sh
case "$1 $2" in "buildx imagetools") case "$KNOWN" in *"$4"*) exit 0 ;; *) exit 1 ;; esac ;; esac
printf '%s\\n' "$*" >> "$RECORD"
case "$1" in login) printf 'stdin: ' >> "$RECORD"; cat >> "$RECORD" ;; esac
"""
SCHEMAS = {
    ".gitlab-ci.yml": "gitlab-ci",
    ".github/workflows/ci.yml": "github-workflows",
    ".github/workflows/image.yml": "github-workflows",
    ".github/workflows/release.yml": "github-workflows",
    ".github/dependabot.yml": "dependabot",
    "docker-compose.yml": "compose-spec",
}


def problems(text: str, schema: str) -> list[str]:
    """What is wrong with a YAML *text*, by the *schema* that check-jsonschema has of its service."""
    told = json.loads(files("check_jsonschema").joinpath(f"builtin_schemas/vendor/{schema}.json").read_text())
    judge = validators.validator_for(told)(told)
    data = YAML(typ="safe", pure=True).load(text)  # YAML 1.2, in which `on` is no truth value
    return [f"{error.json_path}: {error.message}" for error in judge.iter_errors(data)]


@pytest.mark.parametrize(("name", "schema"), SCHEMAS.items(), ids=SCHEMAS)
def test_its_service_takes_each_file(name: str, schema: str) -> None:
    assert problems((ROOT / name).read_text(), schema) == []


def test_every_file_of_a_service_is_judged() -> None:
    there = {str(path.relative_to(ROOT)) for path in (ROOT / ".github").rglob("*.yml")}

    assert there < set(SCHEMAS)


def test_a_job_with_a_name_that_gitlab_reserves_would_be_found() -> None:
    """A job named `image` made the whole pipeline invalid: docs.gitlab.com/ci/jobs, "Job names"."""
    text = (ROOT / ".gitlab-ci.yml").read_text()

    assert any(said.startswith("$.image") for said in problems(text.replace("push-image:", "image:"), "gitlab-ci"))


def uses(node: Any) -> list[str]:
    """Every action and workflow that is used anywhere in *node*."""
    if isinstance(node, list):
        return [found for one in node for found in uses(one)]
    if not isinstance(node, dict):
        return []
    here = [node["uses"]] if "uses" in node else []
    return here + [found for one in node.values() for found in uses(one)]


def test_actions_are_pinned_by_commit_and_images_by_digest() -> None:
    """Tags can be moved by whoever owns them."""
    used = uses([CI, IMAGE, RELEASE])
    images = [GITLAB["check"]["image"], GITLAB["push-image"]["image"]]
    images += [one["name"] for one in GITLAB["push-image"]["services"]]
    images += [line for line in GITLAB["push-image"]["before_script"] if line.startswith("docker run")]

    assert len(used) > 5
    assert [name for name in used if not SHA.fullmatch(name)] == []
    assert [name for name in images if not DIGEST.search(name)] == []


def targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_ci_runs_every_check_and_nothing_that_make_does_not_know() -> None:
    script = (ROOT / ".ci/run").read_text()
    (listed,) = re.findall(r"^for target in \$\{\*:-(.*)\}; do$", script, re.MULTILINE)

    assert listed.split() == ["lint", "test", "test-slow", "demo", "e2e", "pythons"]
    assert {*listed.split(), "test-quick"} - {"pythons"} <= targets()


def test_both_services_run_the_tests_on_the_image_s_python_too() -> None:
    (version,) = set(re.findall(r"^FROM python:(\d+\.\d+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    (setup,) = [step for step in CI["jobs"]["check"]["steps"] if "setup-python" in step.get("uses", "")]

    assert version in setup["with"]["python-version"].split()
    assert GITLAB["image-python"]["image"] == f"python:{version}-bookworm"
    assert GITLAB["image-python"]["script"] == [".ci/run test-quick"]


def ci_run(tmp_path: Path, *pythons: str, steps: tuple[str, ...] = ()) -> tuple[list[str], str]:
    """Run .ci/run with a make that only says what it was told, where nothing but these *pythons* is found."""
    programs = ["make", "python3", "unzip", "7z", "bsdtar", "java", "aws", "systemd-analyze", "epmd", *pythons]
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


def test_the_tests_run_on_the_images_python_and_where_asked_on_its_neighbours(tmp_path: Path) -> None:
    pythons = ("python3.12", "python3.13", "python3.14")
    (tmp_path / "all").mkdir()
    (tmp_path / "asked").mkdir()
    told, _ = ci_run(tmp_path / "all", *pythons)
    neighbours, _ = ci_run(tmp_path / "asked", *pythons, steps=("neighbours",))

    quick = {version: f"test-quick PYTHON=python{version} VENV=.venv/{version}" for version in ("3.12", "3.13", "3.14")}
    assert told == ["lint", "test", "test-slow", "demo", "e2e", quick["3.13"]]
    assert neighbours == [quick["3.12"], quick["3.14"]]


def test_a_python_that_is_not_there_or_does_not_run_is_told_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "python3.12").write_text("#!/bin/sh\nexit 127\n")
    (tmp_path / "python3.12").chmod(0o755)

    told, printed = ci_run(tmp_path, "python3.14", steps=("pythons", "neighbours"))

    assert told == ["test-quick PYTHON=python3.14 VENV=.venv/3.14"]
    skipped = [line for line in printed.splitlines() if "SKIPPED" in line]
    assert skipped == [
        "== SKIPPED: the tests on Python 3.13, the image's, which is not on this machine",
        "== SKIPPED: the tests on Python 3.12, which is not on this machine",
    ]
    assert printed.rstrip().endswith(skipped[-1])


def test_steps_that_are_named_run_alone(tmp_path: Path) -> None:
    assert ci_run(tmp_path, steps=("test-quick",))[0] == ["test-quick"]


def runs(job: dict[str, Any]) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


def test_both_services_run_the_checks_and_then_build_and_push_the_image() -> None:
    assert runs(CI["jobs"]["check"]) == GITLAB["check"]["script"] == [".ci/run"]
    assert GITLAB["push-image"]["script"] == PUSH
    assert [run for run in runs(IMAGE["jobs"]["push"]) if run.startswith("make ")] == PUSH
    image = CI["jobs"]["image"]
    assert (image["needs"], image["uses"]) == ("check", "./.github/workflows/image.yml")
    assert "github.event_name == 'push' && github.ref == 'refs/heads/main'" in image["if"]
    assert GITLAB["stages"] == ["check", "publish"]


def test_gitlab_pushes_only_where_the_registry_is_known() -> None:
    """A fork has no such variables, and its pipeline passes without."""
    rules = [rule["if"] for rule in GITLAB["push-image"]["rules"]]

    assert len(rules) == 2
    for name in ("$DOCKER_REGISTRY ", "$DOCKER_REGISTRY_LOGIN ", "$DOCKER_REGISTRY_PWD "):
        assert all(name in rule for rule in rules)


def test_a_release_is_made_of_a_version_tag_after_its_checks_and_its_image() -> None:
    jobs = RELEASE["jobs"]

    assert RELEASE[True]["push"]["tags"] == ["v[0-9]+.[0-9]+.[0-9]+"]  # YAML 1.1: `on` is true
    assert [jobs["image"]["needs"], jobs["release"]["needs"]] == ["check", "image"]
    assert jobs["check"]["uses"] == "./.github/workflows/ci.yml"


def test_the_image_that_was_pushed_is_signed_for_where_its_repository_is_public() -> None:
    """GitHub keeps attestations of private repositories for some plans alone."""
    (step,) = (step for step in IMAGE["jobs"]["push"]["steps"] if "attest" in step.get("uses", ""))

    assert step["if"] == "steps.pushed.outputs.digest && !github.event.repository.private"
    assert step["with"]["subject-digest"] == "${{ steps.pushed.outputs.digest }}"


def test_nobody_gets_more_rights_than_the_job_needs() -> None:
    push = {"contents": "read", "packages": "write", "id-token": "write", "attestations": "write"}

    assert [told["permissions"] for told in (CI, IMAGE, RELEASE)] == [{"contents": "read"}] * 3
    assert CI["jobs"]["image"]["permissions"] == IMAGE["jobs"]["push"]["permissions"] == push
    assert RELEASE["jobs"]["image"]["permissions"] == push
    assert RELEASE["jobs"]["release"]["permissions"] == {"contents": "write"}
    assert "secrets." not in str(CI["jobs"]["check"])


# ---- the image


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A git checkout that holds the Makefile alone, of one commit."""
    place = tmp_path / "checkout"
    place.mkdir()
    shutil.copy(ROOT / "Makefile", place)
    git(place, "init", "--quiet")
    git(place, "add", "Makefile")
    git(place, "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "--quiet", "--message", "one")
    return place


def git(place: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(place), *arguments], capture_output=True, text=True, timeout=60, check=True
    ).stdout.strip()


def make(place: Path, *arguments: str, **env: str) -> tuple[int, str, str]:
    """Run make in *place* with a docker that only writes down what it was told; KNOWN are the images that are there."""
    fake, record = place.parent / "docker", place.parent / "record"
    fake.write_text(FAKE)
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    record.write_text("")
    ended = subprocess.run(
        ["make", "--no-print-directory", "-C", str(place), *arguments],
        env={"PATH": f"{place.parent}:{os.environ['PATH']}", "RECORD": str(record), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, record.read_text(), ended.stdout + ended.stderr


def test_an_image_is_named_after_its_commit(checkout: Path) -> None:
    name = f"registry.example/team/archiver:{git(checkout, 'rev-parse', '--short=12', 'HEAD')}"
    given = ("DOCKER_REGISTRY=registry.example/Team",)  # GitHub's owners may have capitals, repositories not

    assert make(checkout, "docker-build", *given)[1] == f"build --tag {name} .\n"
    assert make(checkout, "docker-clean", *given)[1] == f"image rm --force {name}\n"


def test_it_is_pushed_for_both_processors_with_its_parts_and_where_it_comes_from(checkout: Path) -> None:
    name = f"registry.example/archiver:{git(checkout, 'rev-parse', '--short=12', 'HEAD')}"

    assert make(checkout, "docker-push-registry", "DOCKER_REGISTRY=registry.example")[1] == (
        "buildx build --platform linux/amd64,linux/arm64 --provenance=mode=max --sbom=true"
        f" --metadata-file build/image.json --push --tag {name} .\n"
    )


def test_a_version_comes_from_a_git_tag_alone(checkout: Path) -> None:
    git(checkout, "tag", "v1.2.3")

    assert " --tag archiver:1.2.3 ." in make(checkout, "docker-build")[1]
    git(checkout, "tag", "--delete", "v1.2.3")
    git(checkout, "tag", "vNext")
    assert make(checkout, "docker-build")[1].count("--tag") == 1


def test_a_tag_that_is_there_is_never_pushed_again(checkout: Path) -> None:
    git(checkout, "tag", "v1.2.3")
    commit = f"registry.example/archiver:{git(checkout, 'rev-parse', '--short=12', 'HEAD')}"
    given = ("docker-push-registry", "DOCKER_REGISTRY=registry.example")

    pushed = make(checkout, *given, KNOWN=commit)[1]
    assert (commit in pushed, "--tag registry.example/archiver:1.2.3 " in pushed) == (False, True)
    assert make(checkout, *given, KNOWN=f"{commit} registry.example/archiver:1.2.3")[:2] == (0, "")


def test_what_is_not_committed_is_not_pushed(checkout: Path) -> None:
    (checkout / "more").touch()

    code, record, printed = make(checkout, "docker-push-registry", "DOCKER_REGISTRY=registry.example")
    assert (code, record) == (2, "")
    assert "commit or stash" in printed
    assert "-changed ." in make(checkout, "docker-build")[1]


@pytest.mark.parametrize("how", ["environment", "argument"])
def test_the_password_goes_by_standard_input_and_is_never_an_argument_or_printed(checkout: Path, how: str) -> None:
    secret = "pa$s'w\"ord" if how == "environment" else "password"
    given = ["DOCKER_REGISTRY=registry.example/team", "DOCKER_REGISTRY_LOGIN=me"]
    if how == "argument":
        given.append(f"DOCKER_REGISTRY_PWD={secret}")

    code, record, printed = make(checkout, "docker-registry-login", *given, DOCKER_REGISTRY_PWD=secret)

    assert code == 0
    assert record == f"login --username me --password-stdin registry.example\nstdin: {secret}\n"
    assert secret not in printed


def test_a_login_without_a_name_says_what_to_set(checkout: Path) -> None:
    code, record, printed = make(checkout, "docker-registry-login")

    assert (code, record) == (2, "")
    assert "set DOCKER_REGISTRY_LOGIN and DOCKER_REGISTRY_PWD" in printed
