"""Answers on standard output: whole lines, each once, and never in the event loop's way."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from archiver.doors.order_answers import AnswerLines
from archiver.errors import TransientError
from archiver.ports import OutgoingMessage


def note(body: str, status: str = "succeeded", unique: str = "1") -> OutgoingMessage:
    return OutgoingMessage(body, unique, "group", status=status)


async def test_an_answer_is_one_line_that_controls_no_terminal(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        lines = AnswerLines(out.fileno(), on_closed=lambda: None)
        await lines.send(note(json.dumps({"a": "\x9bred\u202e"}, ensure_ascii=False)))

    text = (tmp_path / "out").read_text()
    assert text == '{"a": "\\u009bred\\u202e"}\n'


async def test_an_answer_that_is_sent_again_is_written_once(tmp_path: Path) -> None:
    """The job is repeated if another way out is down."""
    with (tmp_path / "out").open("wb") as out:
        lines = AnswerLines(out.fileno(), on_closed=lambda: None)
        for _ in range(2):
            await lines.send(note("{}", "failed"))

    assert (tmp_path / "out").read_text() == "{}\n"
    assert lines.failed == 1


@pytest.mark.parametrize(("status", "failed"), [("failed", 1), ("cancelled", 1), ("partial", 0), ("succeeded", 0)])
async def test_only_jobs_without_a_result_failed(status: str, failed: int, tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        lines = AnswerLines(out.fileno(), on_closed=lambda: None)
        await lines.send(note("{}", status))

    assert lines.failed == failed


async def test_a_reader_that_is_busy_blocks_nothing_and_loses_nothing() -> None:
    body = json.dumps("x" * 200_000)  # more than a pipe holds
    read, write = os.pipe()
    lines = AnswerLines(write, on_closed=lambda: None)
    sending = asyncio.create_task(lines.send(note(body)))
    await asyncio.sleep(0)
    assert not sending.done()

    found = b""
    while len(found) <= len(body):
        found += os.read(read, 65536)
        await asyncio.sleep(0)
        if not sending.done():
            await asyncio.wait([sending], timeout=0.1)
    await sending

    assert found.decode() == f"{body}\n"
    os.close(read)
    os.close(write)


async def test_a_reader_that_has_gone_ends_the_run() -> None:
    read, write = os.pipe()
    os.close(read)
    closed = asyncio.Event()
    lines = AnswerLines(write, on_closed=closed.set)

    with pytest.raises(TransientError, match="standard output can't be written"):
        await lines.send(note("{}"))

    assert closed.is_set()
    os.close(write)
