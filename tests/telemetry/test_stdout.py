"""A standard output that nobody reads holds nobody up, and one that is read loses nothing."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import sleep

import pytest

from archiver.telemetry.stdout import NonBlockingWriter


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for fd in (reading, writing):
        with suppress(OSError):
            os.close(fd)


def ended(outlet: NonBlockingWriter, reading: int, writing: int) -> list[str]:
    """All lines, by somebody who begins to read only now."""
    read: list[str] = []

    def collect() -> None:
        with os.fdopen(os.dup(reading), encoding="utf-8") as file:
            read.extend(file.read().splitlines())

    reader = threading.Thread(target=collect)
    reader.start()
    outlet.finish(30)
    os.close(writing)
    reader.join(30)
    return read


def test_a_line_is_out_when_write_returns(pipe: tuple[int, int]) -> None:
    outlet = NonBlockingWriter(pipe[1])
    outlet.write("a line\n")

    assert os.read(pipe[0], 100) == b"a line\n"
    assert outlet._thread is None


def test_what_does_not_fit_into_the_pipe_comes_later_and_in_order(pipe: tuple[int, int]) -> None:
    outlet = NonBlockingWriter(pipe[1])
    lines = [f"{number} {'x' * 1000}" for number in range(1000)] + ["y" * 200_000, "the last"]
    for line in lines:
        outlet.write(f"{line}\n")
    read = ended(outlet, *pipe)

    assert read == lines


def test_when_too_much_waits_lines_are_dropped_and_counted(pipe: tuple[int, int]) -> None:
    outlet = NonBlockingWriter(pipe[1], most=100_000)
    for number in range(1000):
        outlet.write(f"{number} {'x' * 1000}\n")
    read = ended(outlet, *pipe)

    *lines, last = read
    told = json.loads(last)
    assert (told["message"], told["level"]) == ("log.dropped", "warning")
    assert told["dropped"] == 1000 - len(lines) > 800
    assert [line.split()[0] for line in lines] == [str(number) for number in range(len(lines))]


def test_a_gap_ends_when_half_is_written_and_not_before(pipe: tuple[int, int]) -> None:
    outlet = NonBlockingWriter(pipe[1], most=100_000)
    for number in range(1000):
        outlet.write(f"{number} {'x' * 1000}\n")
    begin = os.read(pipe[0], 20_000).decode()
    while outlet._waiting > 90_000:
        sleep(0.001)
    outlet.write("too early\n")
    *lines, last = (begin + "\n".join(ended(outlet, *pipe))).splitlines()

    assert json.loads(last)["dropped"] == 1001 - len(lines)
    assert "too early" not in lines


def test_after_a_gap_lines_are_taken_again_and_the_gap_is_told_between(pipe: tuple[int, int]) -> None:
    outlet = NonBlockingWriter(pipe[1], most=100_000)
    for number in range(1000):
        outlet.write(f"{number} {'x' * 1000}\n")
    with os.fdopen(os.dup(pipe[0]), encoding="utf-8") as file:
        before = []
        while "log.dropped" not in (line := file.readline()):
            before.append(int(line.split()[0]))
        outlet.write("taken again\n")
        outlet.finish(30)
        os.close(pipe[1])

        assert before == list(range(len(before)))
        assert file.readlines()[-1] == "taken again\n"


def test_a_line_longer_than_all_that_may_wait_is_written(pipe: tuple[int, int]) -> None:
    outlet = NonBlockingWriter(pipe[1], most=1000)
    outlet.write("x" * 200_000 + "\n")

    assert [len(line) for line in ended(outlet, *pipe)] == [200_000]


def test_the_end_waits_until_the_last_line_is_written(pipe: tuple[int, int]) -> None:
    """Written, not taken out of what waits: the process ends next, and the thread that writes with it."""
    reading, writing = pipe
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    outlet, reads = NonBlockingWriter(writing), threading.Event()
    outlet.write("the last\n")
    sleep(0.05)  # the thread has it in its hand

    def read_later() -> None:
        sleep(0.2)
        reads.set()
        os.read(reading, 1 << 20)

    reader = threading.Thread(target=read_later)
    reader.start()
    outlet.finish(30)
    assert reads.is_set()
    reader.join(30)


def test_the_end_waits_for_nobody_who_does_not_read(pipe: tuple[int, int]) -> None:
    outlet = NonBlockingWriter(pipe[1])
    outlet.write("x" * 1_000_000)
    outlet.finish(0.1)

    assert len(os.read(pipe[0], 10)) == 10
    os.close(pipe[0])
    outlet.finish(30)  # its thread must be done with this descriptor before a later test gets the same number


def test_a_reader_who_is_gone_is_no_error(pipe: tuple[int, int]) -> None:
    outlet = NonBlockingWriter(pipe[1])
    os.close(pipe[0])
    outlet.write("a line\n")
    outlet.write("x" * 10_000)
    outlet.finish()


def test_a_pipe_that_does_not_want_to_wait_gets_everything(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    outlet = NonBlockingWriter(pipe[1])
    outlet.write("x" * 1_000_000 + "\n")
    read = ended(outlet, *pipe)

    assert [len(line) for line in read] == [1_000_000]


def test_a_file_is_written_at_once(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        outlet = NonBlockingWriter(file.fileno())
        outlet.write("x" * 100_000)
        assert file.tell() == 100_000
    assert outlet.writable() and outlet.fileno() >= 0


def test_characters_that_can_not_be_written_are_escaped(pipe: tuple[int, int]) -> None:
    NonBlockingWriter(pipe[1]).write("\ud800 é\n")

    assert os.read(pipe[0], 100) == b"\\ud800 \xc3\xa9\n"


@pytest.mark.parametrize(("closed", "told"), [("", "out"), (">&-", "err"), (">&- 2>&-", "")])
def test_a_process_without_standard_output_writes_to_what_it_has(closed: str, told: str) -> None:
    code = "from archiver.telemetry.stdout import open_stdout as o; out = o(); out.write('a line\\n'); out.finish()"
    ran = subprocess.run(
        ["bash", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, code], capture_output=True, text=True, check=False
    )

    assert ran.returncode == 0, ran.stderr
    assert {"out": ran.stdout, "err": ran.stderr, "": "a line\n"}[told] == "a line\n"
