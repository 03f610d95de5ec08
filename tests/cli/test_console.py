"""What commands write goes through one place: safe for a terminal, in any encoding, and quiet where nobody reads."""

import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import structlog
from faults.worker_process import WAIT_TIMEOUT
from processes.worker_env import WorkerEnv
from zygote import inherited_environment, launch

import archiver.cli
from archiver.cli.console import CommandError, print_json, print_line, print_note
from archiver.cli.progress_bar import progress_line
from archiver.stages.progress import Progress
from archiver.telemetry.logs import configure_logs

HOSTILE = "a\x1b]52;c;cm0K\x07\x9b2J\nok\N{RIGHT-TO-LEFT OVERRIDE}\ud800.jpg"
SHOWN = HOSTILE.translate(dict.fromkeys(map(ord, "\x1b\x07\x9b\n\u202e\ud800"), "\N{REPLACEMENT CHARACTER}"))


def run(
    *arguments: str, env: Mapping[str, str], stdout: int | None = None, stderr: int | None = None
) -> "subprocess.CompletedProcess[bytes]":
    """Run a command to its end. What it writes is kept, but for what goes to descriptors that are given."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = launch(
            arguments,
            {**inherited_environment(), **env},
            out=out.fileno() if stdout is None else stdout,
            err=err.fileno() if stderr is None else stderr,
        )
        try:
            code = process.wait(WAIT_TIMEOUT)
        finally:
            process.kill()
            process.wait(WAIT_TIMEOUT)
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(arguments, code, out.read(), err.read())


@pytest.fixture
def unread() -> Iterator[int]:
    """A pipe that nobody reads any more."""
    read, write = os.pipe()
    os.close(read)
    yield write
    os.close(write)


def test_lines_and_problems_hold_nothing_that_a_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    print_line(HOSTILE)
    print_note(HOSTILE)
    CommandError("first", HOSTILE).report()

    assert capsys.readouterr() == (f"{SHOWN}\n", f"{SHOWN}\nfirst\n{SHOWN}\n")


def test_json_tells_the_same_text_with_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({HOSTILE: [HOSTILE]})

    output = capsys.readouterr().out
    assert json.loads(output) == {HOSTILE: [HOSTILE]}
    assert all(told.isprintable() for told in output.splitlines())


def test_log_lines_for_people_are_as_safe(restored_logs: None) -> None:
    stream = io.StringIO()
    configure_logs(dev_mode=True, stream=stream)
    log = structlog.get_logger("test")
    log.info("job.received", job_id="a\x1b[2J", other=HOSTILE)
    log.error("job.defect", exc_info=ValueError(HOSTILE))

    assert not [char for char in stream.getvalue() if not char.isprintable() and char != "\n"]
    assert "ValueError: a" in stream.getvalue()


@pytest.fixture
def restored_logs() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


def test_nothing_is_written_past_that_place() -> None:
    """One forgotten `print` is how a terminal comes to obey a stranger."""
    past = re.compile(r"\bs?echo\(|\bprint\(|\bstd(out|err)\.(buffer\.)?write|writelines\(")
    files = [path for path in Path(archiver.cli.__file__).parent.glob("*.py") if past.search(path.read_text("utf-8"))]

    assert files == []


def test_a_title_with_markup_is_shown_as_it_is() -> None:
    assert "[red]x[/]" in progress_line("[red]x[/]", Progress(), 1.0)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_encoding_of_standard_output_takes_everything(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))

    print_line("žluťoučký ✓")
    said = raw.getvalue().decode(encoding)
    print_json({"a": "ž ✓"})

    assert "lu" in said
    assert json.loads(raw.getvalue().decode(encoding)[len(said) :]) == {"a": "ž ✓"}


@pytest.mark.fresh
@pytest.mark.parametrize(
    "arguments",
    [("--version",), ("--help",), ("dlq", "--help"), ("schema",)],
    ids=" ".join,
)
def test_a_command_that_nobody_reads_ends_quietly(arguments: tuple[str, ...], unread: int) -> None:
    ended = run(*arguments, env={}, stdout=unread)

    assert (ended.returncode, ended.stderr) == (128 + signal.SIGPIPE, b"")


@pytest.mark.parametrize(
    "arguments",
    [
        ("dlq", "list"),
        ("send", "--file", "a.jpg"),
        ("check",),
        *(
            pytest.param(command, marks=pytest.mark.slow)
            for command in (
                ("dlq", "list", "--json"),
                ("dlq", "show", "--queue", "{dead}"),
                ("dlq", "redrive", "--all", "--yes"),
                ("dlq", "drop", "--all", "--yes", "--json"),
                ("plan", "--file", "a.jpg"),
                ("plan", "--file", "a.jpg", "--json"),
                ("create", "--file", "a.jpg"),
                ("iam-policy",),
            )
        ),
    ],
    ids=" ".join,
)
def test_a_command_at_work_that_nobody_reads_ends_quietly(
    arguments: tuple[str, ...], worker_env: WorkerEnv, unread: int
) -> None:
    worker_env.put("a.jpg", b"1")
    worker_env.aws.sqs.send_message(QueueUrl=worker_env.dead, MessageBody="{}")
    ended = run(*(text.format(dead=worker_env.dead) for text in arguments), env=worker_env.settings(), stdout=unread)

    assert ended.returncode == 128 + signal.SIGPIPE
    assert b"defect" not in ended.stderr
    assert b"BrokenPipe" not in ended.stderr
    if arguments[:2] in (("dlq", "list"), ("dlq", "show")):
        assert len(worker_env.aws.all_messages(worker_env.dead)) == 1, "what was looked at is there again at once"


def test_standard_error_that_nobody_reads_stops_no_work(worker_env: WorkerEnv, unread: int) -> None:
    worker_env.put("a.jpg", b"1")

    ended = run("create", "--file", "a.jpg", env=worker_env.settings(), stderr=unread)

    assert ended.returncode == 0
    assert ended.stdout.endswith(b".zip\n")
    assert run("plan", env={}, stderr=unread).returncode == 2


def test_a_full_disk_under_standard_output_is_said() -> None:
    with Path("/dev/full").open("wb") as full:
        ended = run("schema", env={}, stdout=full.fileno())

    assert (ended.returncode, ended.stderr) == (3, b"standard output can't be written: No space left on device\n")


def test_closed_standard_streams_are_no_error() -> None:
    script = f"exec {sys.executable} -m archiver schema >&- 2>&-"

    assert subprocess.run(["bash", "-c", script], check=False, timeout=WAIT_TIMEOUT).returncode == 0
