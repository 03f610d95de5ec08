"""What a code means, in the words of the page for operators."""

import json
from importlib.resources import files
from pathlib import Path
from typing import get_args

import pytest
from processes.archiver_process import run_command

from archiver.cli.explain import load_explanations
from archiver.errors import Code

EXPLAINED = load_explanations()
PAGE = Path(__file__).parents[2] / "docs" / "operating.md"


def test_the_command_and_the_page_say_the_same_of_every_code() -> None:
    """Where this fails, copy the table of docs/operating.md into archiver/cli/codes.md."""
    page = PAGE.read_text("utf-8").partition("## Log events")[0]
    lines = [line for line in page.splitlines() if line.startswith("|")]

    assert (files("archiver.cli") / "codes.md").read_text("utf-8").splitlines() == lines
    assert set(EXPLAINED) == set(get_args(Code))


def test_one_code_is_explained_or_all() -> None:
    one, every = run_command("explain", "source_denied"), run_command("explain", "--json")

    assert (one.returncode, one.stdout.splitlines()[0]) == (0, f"source_denied: {EXPLAINED['source_denied'].means}")
    assert one.stdout.splitlines()[1] == f"  → {EXPLAINED['source_denied'].to_do}"
    assert set(json.loads(every.stdout)) == set(EXPLAINED)


@pytest.mark.parametrize("code", ["source_denid", "?"])
def test_a_code_that_there_is_not_is_told_with_those_that_there_are(code: str) -> None:
    ended = run_command("explain", code)

    assert ended.returncode == 2
    assert ended.stderr.startswith(f"{code}: unknown code")
    assert ("did you mean source_denied?" in ended.stderr) is (code != "?")
