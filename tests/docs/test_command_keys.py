"""docs/commands-as-jobs.md lists every key of a command and every type of a parameter, with the defaults."""

import re
from typing import get_args

from archiver.core.commands import Command, Limits, ParameterType
from archiver.core.entries import parse_size
from archiver.core.operator_commands import _KNOWN, _LIMITS

from .blocks import ROOT

PAGE = (ROOT / "docs/commands-as-jobs.md").read_text()


def rows(header: str) -> list[list[str]]:
    """The cells of the table that begins with *header*."""
    lines = PAGE[PAGE.index(header) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_every_key_of_a_command_is_in_the_table() -> None:
    told = {row[0].strip("`") for row in rows("| key | meaning | default |")}

    assert told == set(_KNOWN)


def test_the_defaults_are_those_of_the_code() -> None:
    told = {row[0].strip("`"): row[2].strip("`") for row in rows("| key | meaning | default |")}
    limits, command = Limits(), Command("name", ())

    assert {name: parse_size(told[name]) for name in _LIMITS} == {name: getattr(limits, name) for name in _LIMITS}
    assert (told["overwrite"], told["at_most_once"]) == ("false", "false")
    assert (command.overwrite, command.at_most_once, command.runner) == (False, False, told["runner"])


def test_every_type_of_a_parameter_is_in_the_table() -> None:
    told = " ".join(row[0] for row in rows("| type of a parameter | value | rules |"))

    assert set(re.findall(r"`(\w+)`", told)) == set(get_args(ParameterType))
