"""How log lines look, whoever writes them."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from structlog.contextvars import bound_contextvars

from archiver.telemetry.logs import LIBRARY_LOGGERS, configure_logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the lines go; logging is as it was when the test is over."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in LIBRARY_LOGGERS}
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    structlog.reset_defaults()


def test_line_is_one_json_object_with_the_event_as_its_message(stream: io.StringIO) -> None:
    configure_logs(stream=stream)

    with bound_contextvars(message_id="m-1", job_id=None):
        structlog.get_logger("archiver.x").info("job.done", files=3, name="two\nlines")

    (line,) = stream.getvalue().splitlines()
    told = json.loads(line)
    assert told.pop("timestamp").endswith("Z")
    assert told == {
        "message": "job.done",
        "level": "info",
        "files": 3,
        "name": "two\nlines",
        "message_id": "m-1",
        "job_id": None,
    }


def test_libraries_write_the_same_lines_with_their_name(stream: io.StringIO) -> None:
    configure_logs(stream=stream)

    logging.getLogger("some.library").warning("%d things", 3)

    told = json.loads(stream.getvalue())
    assert (told["message"], told["level"], told["logger"]) == ("3 things", "warning", "some.library")


def test_exception_is_told_inside_of_its_line(stream: io.StringIO) -> None:
    configure_logs(stream=stream)

    try:
        int("of no use")
    except ValueError:
        structlog.get_logger("archiver.x").exception("job.defect")

    told = json.loads(stream.getvalue())
    assert told["exception"].startswith("Traceback") and "of no use" in told["exception"]


@pytest.mark.parametrize(("debug", "expected"), [(False, []), (True, ["detail"])])
def test_debug_lines_show_when_asked_for(stream: io.StringIO, debug: bool, expected: list[str]) -> None:
    configure_logs(debug=debug, stream=stream)

    structlog.get_logger("archiver.x").debug("detail")

    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == expected


@pytest.mark.parametrize("library", LIBRARY_LOGGERS)
def test_debug_lines_of_libraries_never_show(stream: io.StringIO, library: str) -> None:
    """They hold bodies, receipt handles and signatures."""
    configure_logs(debug=True, stream=stream)

    logging.getLogger(f"{library}.endpoint").debug("a body")

    assert stream.getvalue() == ""


def test_values_of_any_length_are_cut_to_two_thousand_characters(stream: io.StringIO) -> None:
    configure_logs(stream=stream)

    structlog.get_logger("archiver.x").info("job.rejected", reason="x" * 5000, code="y" * 2048)

    told = json.loads(stream.getvalue())
    assert told["reason"] == "x" * 2048 + "…"
    assert told["code"] == "y" * 2048


def test_dev_mode_writes_lines_for_people(stream: io.StringIO) -> None:
    configure_logs(dev_mode=True, stream=stream)

    structlog.get_logger("archiver.x").info("job.done", files=3)

    (line,) = stream.getvalue().splitlines()
    assert "job.done" in line and "files=3" in line and not line.startswith("{")
