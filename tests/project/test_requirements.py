"""The lists of packages: pinned, hashed, of one mind, and silent about where packages come from."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LISTS = (
    "requirements.txt",
    "requirements-build.txt",
    "requirements-lambda.txt",
    "requirements-local.txt",
    "requirements-dev.txt",
)
ASIDE = (
    "requirements-commands.txt",
    "bench/requirements-plot.txt",
    "tests/e2e/requirements-localstack.txt",
    "tests/e2e/requirements-ministack.txt",
    "tests/e2e/requirements-seaweedfs.txt",
)
"""Of environments of their own."""
WORKERS_ALONE = ("moto", "pytest", "hatchling", "ruff")


def pins(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", LISTS + ASIDE)
def test_every_package_is_pinned_and_hashed(name: str) -> None:
    """Else pip refuses the whole list, but only where someone installs it."""
    text = re.sub(r"\\\n\s*", "", (ROOT / name).read_text())
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]

    assert lines
    assert all(re.match(r"^[a-z0-9._-]+==\S+( ;[^-]*)?( ?--hash=sha256:[0-9a-f]{64})+$", line) for line in lines)


@pytest.mark.parametrize("name", LISTS + ASIDE)
def test_lists_name_no_index(name: str) -> None:
    """Where packages come from is the installer's business."""
    assert not re.search(r"https?://|^-|trusted-host|index-url|find-links", (ROOT / name).read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", LISTS[:-1])
def test_what_is_shipped_is_what_is_tested(name: str) -> None:
    """Every version of the shorter list stands in the longer one."""
    assert pins(name).items() <= pins("requirements-dev.txt").items()


def test_container_gets_nothing_of_the_workshop() -> None:
    """The embedded AWS, the test runner and the build back end stay outside."""
    assert not set(WORKERS_ALONE) & set(pins("requirements.txt"))
    assert set(WORKERS_ALONE) <= set(pins("requirements-dev.txt"))


def test_the_lambda_image_has_the_service_s_packages_and_the_runtime_client() -> None:
    assert pins("requirements.txt").items() <= pins("requirements-lambda.txt").items()
    assert "awslambdaric" in pins("requirements-lambda.txt")
    assert "awslambdaric" not in pins("requirements.txt")


def test_every_dependency_of_the_project_is_in_the_lists() -> None:
    """Someone who adds one to pyproject.toml is told to run `make requirements`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"].values()
    workshop = [*project["dependency-groups"]["dev"], *(line for extra in extras for line in extra)]

    def names(lines: list[str]) -> set[str]:
        return {re.split(r"[\[=><~ ]", line, maxsplit=1)[0].lower() for line in lines}

    assert names(project["project"]["dependencies"]) <= set(pins("requirements.txt"))
    assert names(workshop) <= set(pins("requirements-dev.txt"))
    assert names(project["build-system"]["requires"]) <= set(pins("requirements-build.txt"))
