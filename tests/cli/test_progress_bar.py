"""Long work is seen: a bar moves on a terminal, lines come elsewhere."""

import inspect
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from archiver.cli.progress_bar import format_duration, format_size, progress_line, show_progress
from archiver.stages.progress import Progress

from .cli_process import COLOR, ESCAPE, HIDE, SHOW, CliProcess

SLOW = pytest.mark.slow
SCRIPT = str(Path(__file__).with_name("progress_script.py"))


@contextmanager
def moving(title: str = "archive", *, terminal: int | None = None, **env: str) -> Iterator[CliProcess]:
    with CliProcess([title], env, terminal=terminal, program=(SCRIPT,)) as running:
        yield running


def test_bar_moves_through_files_and_bytes_and_ends_complete() -> None:
    with moving(terminal=120) as bar:
        bar.wait_for_text("checking the objects")
        bar.say("1 2500000 4 10000000")
        bar.wait_for_text("1/4 files 2.5 MB of 10.0 MB")
        bar.say("4 10000000 4 10000000")
        code, output = bar.end()

    assert (code, output) == (0, "")
    assert "4/4 files 10.0 MB of 10.0 MB" in bar.frames[-1]
    assert bar.errors.count(HIDE) == bar.errors.count(SHOW) == 1
    assert bar.errors.rindex(SHOW) > bar.errors.rindex("4/4 files")


@pytest.mark.parametrize("columns", [pytest.param(columns, marks=SLOW) for columns in (50, 80, 120)])
def test_what_is_done_before_anything_is_planned_is_seen_on_any_terminal(columns: int) -> None:
    with moving(terminal=columns) as bar:
        bar.wait_for_text("checking the objects")
        bar.say("1 2500000 4 10000000")
        bar.wait_for_text("25%" if columns < 60 else "2.5 MB of 10.0 MB")
        assert "archive" in bar.frames[-1]
        bar.end()


@pytest.mark.slow
@pytest.mark.parametrize(
    "columns", [10, *(pytest.param(columns, marks=SLOW) for columns in (20, 40, 59, 60, 79, 99, 100, 200))]
)
def test_bar_stays_on_one_line_however_narrow_the_terminal_is(columns: int) -> None:
    with moving("photos of a very long summer.zip", terminal=columns) as bar:
        bar.say("123456 123456789012 1234567 999999999999")
        bar.wait_for_text("phot" if columns > 10 else "ph")
        bar.say("1234567 999999999999 1234567 999999999999")
        assert bar.end()[0] == 0

    assert max(len(frame) for frame in bar.frames) <= columns
    assert "\x1b[1A" not in bar.errors  # a second line would be gone back from


@SLOW
def test_bar_has_no_color_where_none_is_wanted() -> None:
    with moving(terminal=120) as colored, moving(terminal=120, NO_COLOR="1") as plain:
        for bar in (colored, plain):
            bar.say("1 1 2 2")
            bar.wait_for_text("1/2 files")
            bar.end()

    assert COLOR.search(colored.errors)
    assert not COLOR.search(plain.errors)


@pytest.mark.slow
def test_interrupted_bar_gives_the_cursor_back_and_leaves_its_line() -> None:
    with moving(terminal=80) as bar:
        bar.say("1 1 2 2")
        bar.wait_for_text("1 byte of 2 bytes")
        bar.process.send_signal(signal.SIGINT)
        bar.say("")  # its reading thread waits for this
        assert bar.end()[0] == 130

    assert bar.errors.rindex(SHOW) > bar.errors.rindex(HIDE)
    assert bar.frames[-1] == "interrupted; nothing was left behind"


@SLOW
def test_log_line_goes_above_the_bar_not_through_it() -> None:
    with moving(terminal=120) as bar:
        bar.say("1 1 2 2")
        bar.wait_for_text("1/2 files")
        bar.say("!")
        bar.wait_for_text("something to know")
        bar.say("2 2 2 2")
        bar.end()

    (told,) = [frame for frame in bar.frames if "something to know" in frame]
    assert "archive" not in told
    assert "2/2 files" in bar.frames[-1]


@SLOW
def test_archive_of_empty_files_moves_by_its_files() -> None:
    with moving(terminal=50) as bar:
        bar.say("1 0 4 0")
        bar.wait_for_text("25%")
        bar.say("4 0 4 0")
        bar.end()

    assert "100%" in bar.frames[-1]


@SLOW
def test_nothing_is_left_on_the_terminal_of_what_was_never_planned() -> None:
    with moving(terminal=120) as bar:
        bar.wait_for_text("checking the objects")
        bar.end()

    assert ESCAPE.sub("", bar.errors.rpartition("\x1b[2K")[2]).strip() == ""


@pytest.mark.parametrize(
    ("terminal", "term"), [(None, "xterm"), pytest.param(80, "dumb", marks=SLOW)], ids=["pipe", "dumb terminal"]
)
def test_lines_come_where_nothing_can_be_painted_again(terminal: int | None, term: str) -> None:
    with moving("job 7", terminal=terminal, TERM=term) as lines:
        lines.wait_for_text("job 7: checking the objects (0.")
        lines.say("1 2500000 4 10000000")
        lines.wait_for_text("job 7: 1 of 4 files, 2.5 MB of 10.0 MB, ")
        assert lines.end()[0] == 0

    assert not ESCAPE.search(lines.errors)


def test_lines_come_once_a_minute() -> None:
    assert inspect.signature(show_progress).parameters["every"].default == 60


def test_line_tells_rate_and_time_left_once_something_has_come() -> None:
    half = Progress(files=1, bytes=5_000_000, files_planned=4, bytes_planned=10_000_000)

    assert progress_line("a", half, 10) == "a: 1 of 4 files, 5.0 MB of 10.0 MB, 500.0 kB/s, 10 s left"
    assert progress_line("a", Progress(0, 0, 4, 7), 10) == "a: 0 of 4 files, 0 bytes of 7 bytes, 0 bytes/s"


@pytest.mark.parametrize("estimate", [0, 4_000_000])
def test_line_tells_no_total_while_it_is_not_known(estimate: int) -> None:
    """Objects of unknown size are read: there is no estimate yet, or it is too low."""
    read = Progress(files=1, bytes=5_000_000, files_planned=4, bytes_planned=estimate)

    assert progress_line("a", read, 10) == "a: 1 of 4 files, 5.0 MB, 500.0 kB/s"


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (3e15, "3.0 PB"),
    ],
)
def test_sizes_are_told_in_powers_of_a_thousand(count: float, told: str) -> None:
    assert format_size(count) == told
    assert format_size(5e18) == "5000.0 PB"


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.41, "0.4 s"), (9.96, "10 s"), (99, "99 s"), (100, "2 min"), (9000, "2.5 h")]
)
def test_times_are_told_as_roughly_as_they_matter(seconds: float, told: str) -> None:
    assert format_duration(seconds) == told
