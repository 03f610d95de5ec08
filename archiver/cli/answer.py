"""The answer to a request, as `archiver send --wait` prints it."""

import json
from typing import Any

from archiver.cli.console import EXIT_FAILED, CommandError, print_json, print_line, print_note
from archiver.cli.request_input import format_count
from archiver.cli.selection_input import report_skipped

FAILED = "failed"
SKIPPED = "skipped"
ALIVE = "alive"
CANCELLED = "cancelled"
COMPLETED, ERROR = "completed", "error"
"""Of a reply in the form of Media Cloud AI's workers."""

FINAL_STATUSES = ("succeeded", "partial", SKIPPED, ALIVE, FAILED, CANCELLED, COMPLETED, ERROR)
FAILURES = (FAILED, CANCELLED, ERROR)


def print_answer(answer: dict[str, Any], *, as_json: bool) -> None:
    """Print what *answer* says, as JSON or for people. Raises CommandError with its reason if the job failed."""
    from archiver.cli.progress_bar import format_size

    if as_json:
        print_json(answer)
    if answer["status"] in {COMPLETED, ERROR}:
        _print_reply(answer, as_json=as_json)
        return
    _raise_problem(answer, as_json=as_json)
    if answer["status"] == CANCELLED:
        _report_cancelled(answer, as_json=as_json)
        return
    if as_json:
        return
    if answer["status"] == SKIPPED:
        report_skipped(as_json=False)
        return
    if answer["status"] == ALIVE:
        objects = f"; objects found: {answer['found']:,}" if "found" in answer else ""
        print_line(f"alive: a worker accepts the request{objects}")
        return
    if "command" in answer:
        _print_command(answer)
        return
    archive = answer["archive"]
    files = f"{format_count(archive['files'])}, " if "files" in archive else ""
    print_note(f"{answer['status']}: {files}{format_size(archive['size'])}")
    for one in answer.get("missing", []):
        print_note(f"  missing: {one['source']}: {one['code']}")
    for one in answer.get("renamed", []):
        print_note(f"  renamed: {one['from']} is now {one['to']}")
    print_line(answer["substitutions"]["archiver_URL"])


def _raise_problem(answer: dict[str, Any], *, as_json: bool) -> None:
    """Raise CommandError with the reason, if the job failed or would fail."""
    test = answer.get("test", answer)  # the lanlytics form of a ping's answer
    error = answer["error"] if answer["status"] == FAILED else test.get("problem")
    if error:
        if "command" in answer and not as_json:
            _print_streams(answer["command"])
        sources = [f"{one['source']}: {one['code']}" for one in error.get("sources", [])]
        message = error["message"]
        if all(source in message for source in sources):  # the message lists all of them, with S3's detail
            raise CommandError(f"{error['code']}: {message}", code=EXIT_FAILED)
        message = message.partition(f": {sources[0]}")[0]  # drop its incomplete list
        raise CommandError(f"{error['code']}: {message}", *(f"  {source}" for source in sources), code=EXIT_FAILED)


def _report_cancelled(answer: dict[str, Any], *, as_json: bool) -> None:
    """Report a cancelled job, or what became of a message that cancels one. Raises CommandError if that failed."""
    cancel = answer.get("cancel")
    if cancel is None:
        raise CommandError(
            f"the job {answer['job_id']} was cancelled; archiver cancel --undo lets it run again", code=EXIT_FAILED
        )
    if cancel["problem"]:
        raise CommandError(f"{cancel['job_id']}: {cancel['problem']}", code=EXIT_FAILED)
    if not as_json:
        print_line(f"cancelled: {cancel['job_id']}; archiver cancel --undo lets it run again")


def reply_message(answer: dict[str, Any]) -> str:
    """
    Return the message of a reply in the form of Media Cloud AI's workers, which may be to an order without an id. What
    has another form, as a function of somebody else may return it, is its own message.
    """
    parameters = answer.get("parameters")
    first = parameters[0] if isinstance(parameters, list) and parameters else None
    told = first.get("value") if isinstance(first, dict) else answer.get("message")
    return json.dumps(answer) if told is None else str(told)


def _print_reply(answer: dict[str, Any], *, as_json: bool) -> None:
    message = reply_message(answer)
    if answer["status"] == ERROR:
        raise CommandError(message, code=EXIT_FAILED)
    if as_json:
        return
    for path in answer.get("destination_paths", []):
        print_note(f"  written: {path}")
    for line in message.splitlines():
        print_line(line)


def _print_command(answer: dict[str, Any]) -> None:
    from archiver.cli.progress_bar import format_size

    command = answer["command"]
    print_note(f"{answer['status']}: {command['name']}, {command['seconds']} s")
    for one in answer["outputs"]:
        print_note(f"  written: {one['destination']}, {format_size(one['size'])}")
    _print_streams(command)


def _print_streams(command: dict[str, Any]) -> None:
    """Print the text of standard output there, and that of standard error as notes."""
    for name, write in (("stdout", print_line), ("stderr", print_note)):
        if command[name]["type"] == "pipe":
            for line in command[name]["value"].splitlines():
                write(line)
