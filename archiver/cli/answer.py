"""The answer to a request, as `archiver send --wait` prints it."""

from typing import Any

from archiver.cli.console import EXIT_FAILED, CommandError, print_json, print_line, print_note
from archiver.cli.request_input import format_count
from archiver.cli.selection_input import report_skipped

FAILED = "failed"
SKIPPED = "skipped"
ALIVE = "alive"
FINAL_STATUSES = ("succeeded", "partial", SKIPPED, ALIVE, FAILED)


def print_answer(answer: dict[str, Any], *, as_json: bool) -> None:
    """Print what *answer* says, as JSON or for people. Raises CommandError with its reason if the job failed."""
    from archiver.cli.progress_bar import format_size

    if as_json:
        print_json(answer)
    error = answer["error"] if answer["status"] == FAILED else answer.get("problem")
    if error:
        sources = [f"{one['source']}: {one['code']}" for one in error.get("sources", [])]
        message = error["message"]
        if all(source in message for source in sources):  # the message lists all of them, with S3's detail
            raise CommandError(f"{error['code']}: {message}", code=EXIT_FAILED)
        message = message.partition(f": {sources[0]}")[0]  # drop its incomplete list
        raise CommandError(f"{error['code']}: {message}", *(f"  {source}" for source in sources), code=EXIT_FAILED)
    if as_json:
        return
    if answer["status"] == SKIPPED:
        report_skipped(as_json=False)
        return
    if answer["status"] == ALIVE:
        objects = f"; objects found: {answer['found']:,}" if "found" in answer else ""
        print_line(f"alive: a worker accepts the request{objects}")
        return
    archive = answer["archive"]
    files = f"{format_count(archive['files'])}, " if "files" in archive else ""
    print_note(f"{answer['status']}: {files}{format_size(archive['size'])}")
    for one in answer.get("missing", []):
        print_note(f"  missing: {one['source']}: {one['code']}")
    for one in answer.get("renamed", []):
        print_note(f"  renamed: {one['from']} is now {one['to']}")
    print_line(answer["substitutions"]["archiver_URL"])
