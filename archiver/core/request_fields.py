"""From the JSON of a request to the request: all its problems are told at once, each with its JSON path."""

from typing import Any

from pydantic import ValidationError

from archiver.core.command_fields import CommandCall
from archiver.core.entries import PLACEHOLDER_FILE, read_entry
from archiver.core.messages import Request
from archiver.core.problems import Problems, join_problems
from archiver.errors import Rejected


def read_request(data: dict[str, Any]) -> Request:
    """Read a request whose JSON was parsed. Raises Rejected (`invalid_request`)."""
    problems = Problems()
    if data.get("command") is not None:
        data = {**data, "command": _read_call(data["command"], problems)}
    files = data.get("files")
    if isinstance(files, list) and files:
        _read_files(files, problems)
    try:
        request = Request.model_validate(data)
    except ValidationError as error:
        problems.add(error)
    if problems.count:
        raise Rejected("invalid_request", join_problems(problems.listed, problems.count))
    return request


def _read_call(given: object, problems: Problems) -> CommandCall:
    """Return the command that is *given*. It is read alone: else its problems would be those of `files` as well."""
    try:
        return CommandCall.model_validate(given)
    except ValidationError as error:
        problems.add(error, ("command",))
        return CommandCall(name="?")


def _read_files(files: list[Any], problems: Problems) -> None:
    """
    Replace each item by its Entry, one by one: validated together, pydantic would keep a problem for each of half a
    million.
    """
    for index, file in enumerate(files):
        try:
            files[index] = read_entry(file)
        except ValidationError as error:
            problems.add(error, ("files", index))
            files[index] = PLACEHOLDER_FILE
