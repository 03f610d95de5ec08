"""What commands read: files, pipes and standard input, each up to what it may have."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from archiver.cli.console import CommandError
from archiver.cli.input_file import decode_input, read_input


def test_a_file_is_read_up_to_what_it_may_have(tmp_path: Path) -> None:
    (file := tmp_path / "event.json").write_bytes(b"12345")

    assert read_input(str(file), "the event") == read_input(str(file), "the event", 5) == b"12345"
    with pytest.raises(CommandError, match="the event has more than 4 bytes"):
        read_input(str(file), "the event", 4)
    with pytest.raises(CommandError, match="/dev/zero: the event has more than 1,000 bytes"):
        read_input("/dev/zero", "the event", 1000)


@pytest.mark.parametrize(
    ("name", "told"), [("/nowhere", "No such file"), ("/", "Is a directory"), ("a\0b", "embedded null")]
)
def test_what_can_not_be_read_is_told(name: str, told: str) -> None:
    with pytest.raises(CommandError, match=f"can't be read: {told}") as caught:
        read_input(name, "the event")

    assert caught.value.code == 2


def test_text_is_utf_8_with_or_without_a_mark() -> None:
    assert decode_input("\ufeffä".encode(), "event.json") == "ä"
    with pytest.raises(CommandError, match=r"^standard input: is not UTF-8 \(byte 2\)"):
        decode_input(b"a\xff", "-")


def test_a_standard_input_that_is_closed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter has none then (`archiver send - <&-`)."""
    monkeypatch.setattr(sys, "stdin", None)

    with pytest.raises(CommandError, match="-: standard input is closed; name a file that has the request"):
        read_input("-", "the request")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_event_that_never_ends_can_be_interrupted(number: signal.Signals) -> None:
    """Nothing is begun while the event is read: there is nothing to finish."""
    reading, writing = os.pipe()
    with subprocess.Popen([sys.executable, "-m", "archiver", "handle", "-"], stdin=reading) as process:
        os.close(reading)
        os.write(writing, b"{")
        while process.poll() is None and _unread(writing):
            pass
        process.send_signal(number)
        code = process.wait(timeout=30)
        os.close(writing)

    assert code == 130


def _unread(pipe: int) -> bool:
    """Whether what was written to *pipe* was not read yet."""
    import fcntl  # noqa: PLC0415
    import termios  # noqa: PLC0415

    return bool(int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder))
