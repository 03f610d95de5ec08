"""Help and errors of options are in plain words, the same for every command."""

import re
from typing import Any

import pytest
import typer
from processes.archiver_process import run_command

from archiver.cli import app


def commands() -> list[tuple[str, ...]]:
    """Every command that there is, as it is typed."""
    root: Any = typer.main.get_command(app)
    found: list[tuple[str, ...]] = []
    for name, one in root.commands.items():
        found += [(name, inner) for inner in getattr(one, "commands", ())] or [(name,)]
    return found


@pytest.mark.parametrize("words", [(), *commands()], ids=" ".join)
def test_help_shows_no_types_of_a_program(words: tuple[str, ...]) -> None:
    ended = run_command(*words, "--help", env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})

    assert ended.returncode == 0
    assert re.findall(r"<\w+|list\[|float|bool|str\b", ended.stdout) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("plan", "--latency", "abc"), "should be a number, at least 0"),
        (("plan", "--latency", "-1"), "should be a number, at least 0"),
        (("dlq", "list", "--limit", "0"), "should be a whole number, at least 1"),
        (("local", "--port", "x"), "should be a whole number"),
        (("send", "--timeout", "x"), "should be a number"),
    ],
)
def test_a_bad_number_is_told_in_our_words(arguments: tuple[str, ...], sentence: str) -> None:
    ended = run_command(*arguments)

    assert ended.returncode == 2
    assert sentence in ended.stderr
    assert "Input" not in ended.stderr


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_the_version_is_told(flag: str) -> None:
    assert run_command(flag).stdout.startswith("archiver ")


@pytest.mark.parametrize(("words", "short"), [("send", "-f"), ("send", "-j"), ("create", "-o"), ("plan", "-f")])
def test_usual_short_flags_are_there(words: str, short: str) -> None:
    assert f" {short} " in run_command(words, "--help").stdout
