"""Runs the commands of each page in order, with an embedded AWS per page."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from own_root import with_own_root

from .blocks import PAGES, ROOT, Block, blocks
from .conftest import START_TIMEOUT

SHELL = ("bash", "console")
PAGES_WITH_COMMANDS = [
    page for page in PAGES if any(block.language in SHELL and not block.mark for block in blocks(page))
]
# Commands that keep running or use the whole machine are checked, not run. Each has its own test.
LOOKED_AT = re.compile(r"^(make \S+|archiver(?: run| local.*)?|archiver demo.*|python consumer.py .*)$")


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES_WITH_COMMANDS, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_work_in_their_order(page: Path, aws: dict[str, str], tmp_path: Path) -> None:
    port = aws["AWS_ENDPOINT_URL"].rpartition(":")[2]
    for name in (
        "archiver",
        "localstack",
        "bench",
        "tests",
        "docs",
        "deploy",
        "Makefile",
        "pyproject.toml",
        ".envrc.dist",
    ):
        if (ROOT / name).exists():
            (tmp_path / name).symlink_to(ROOT / name)
    for block in blocks(page):
        if block.file:
            (tmp_path / block.file).write_text(block.text)
        elif block.language in SHELL and not block.mark:
            _run(block, port, aws, tmp_path)


def _shell(page: Path, place: Path) -> list[str]:
    """The shell that runs the blocks of *page*: one with a folder /data, where its commands write."""
    shell = ["bash", "-euo", "pipefail", "-c"]
    if page.name != "commands-as-jobs.md":
        return shell
    root = place.parent / f"{place.name}-root"
    root.mkdir(exist_ok=True)
    return with_own_root(root, "/data", shell)


def _run(block: Block, port: str, environ: dict[str, str], place: Path) -> None:
    script = "".join(f"{_looked_at(line) or line}\n" for line in block.commands.replace("4566", port).splitlines())
    ended = subprocess.run(
        [*_shell(block.page, place), script],
        env=environ,
        cwd=place,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT,
        check=False,
    )
    assert ended.returncode == 0, f"{block}\n{script}\n{ended.stdout}\n{ended.stderr}"


def _looked_at(line: str) -> str | None:
    """Return the command that checks that the command of *line* exists; None if *line* is run."""
    if not LOOKED_AT.match(line):
        return None
    if line.startswith("make "):
        return f"make -n -C {ROOT} {line.removeprefix('make ')} > /dev/null"
    if line.startswith("python "):
        return f"python -m py_compile {line.split()[1]}"
    return f"{' '.join(line.split()[:2])} --help > /dev/null"


def test_the_aws_cli_is_there_to_run_the_pages() -> None:
    if shutil.which("aws") is None and not os.environ.get("CI"):
        pytest.skip("the pages' commands need the aws CLI: pip install awscli")
    assert shutil.which("aws"), "install the aws CLI: pip install awscli"
