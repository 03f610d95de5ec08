"""Progress display on standard error: a bar on a terminal, else one line per minute."""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

from archiver.cli.console import print_note
from archiver.core.messages import ProgressCounts
from archiver.core.printable import printable

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

DEFAULT_ACTIVITY = "checking the objects"
REFRESH_SECONDS = 0.1  # seconds between two updates of the bar
LINE_INTERVAL = 60.0  # seconds between two lines
UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")
WIDE_COLUMNS, MEDIUM_COLUMNS = 100, 60  # minimum terminal width for all columns, and for most of them


@asynccontextmanager
async def show_progress(
    title: str,
    counts: ProgressCounts,
    every: float = LINE_INTERVAL,
    *,
    first: Callable[[], str] = lambda: DEFAULT_ACTIVITY,
) -> AsyncIterator[None]:
    """
    Show the progress of *counts* while the block runs: files, bytes, rate, time left.

    Until a plan exists, show the activity that *first* returns and its duration. *every*: seconds between two lines if
    standard error is not a terminal.
    """

    def activity() -> str:
        count = counts.awaited
        return f"waiting for {count:,} object{'s' * (count != 1)}" if count else first()

    show = _show_bar(title, counts, activity) if _is_terminal() else _print_lines(title, counts, activity, every)
    showing = asyncio.create_task(show, name="bar")
    try:
        yield
    finally:
        showing.cancel()
        await asyncio.wait([showing])


def _is_terminal() -> bool:
    """Return whether standard error is a terminal that can redraw a line."""
    if sys.stderr is None or not sys.stderr.isatty():  # None: it was closed before the interpreter started
        return False
    return os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


async def _show_bar(title: str, counts: ProgressCounts, first: Callable[[], str]) -> None:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    # Standard output is not redirected through the bar: it may be a pipe.
    with (
        Progress(*_columns(console.width), console=console, auto_refresh=False, redirect_stdout=False) as bar,
        _logs_above(),
    ):
        title = _truncate(title, console.width // 3)
        task, began = bar.add_task(title, total=None, files="", size=""), monotonic()
        try:
            while True:
                bar.update(
                    task,
                    **_column_values(
                        title, counts, f"{first()} ({format_duration(monotonic() - began)})", console.width
                    ),
                )
                bar.refresh()
                await asyncio.sleep(REFRESH_SECONDS)
        finally:
            # A reused archive was neither planned nor built: hide its empty bar.
            bar.update(task, visible=bool(counts.files_planned), **_column_values(title, counts, "", console.width))
            bar.refresh()


def _columns(width: int) -> "list[ProgressColumn]":
    """Return the columns that fit on one line of a terminal of *width* characters."""
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    title, files, sizes = (
        TextColumn(f"{{task.{field}}}", markup=False) for field in ("description", "fields[files]", "fields[size]")
    )
    if width < MEDIUM_COLUMNS:
        return [title, TaskProgressColumn(), TimeRemainingColumn(compact=True)]
    if width < WIDE_COLUMNS:
        return [title, BarColumn(bar_width=None), sizes, TimeRemainingColumn(compact=True)]
    return [title, BarColumn(bar_width=None), files, sizes, TransferSpeedColumn(), TimeRemainingColumn()]


def _column_values(title: str, counts: ProgressCounts, first: str, width: int) -> dict[str, Any]:
    """Return the values of the columns for a terminal of *width* characters; without a plan, the activity *first*."""
    if not counts.files_planned:
        if width < MEDIUM_COLUMNS:
            return {"description": _truncate(first, width - 12)}
        return {"files": first} if width >= WIDE_COLUMNS else {"size": first}
    values = {
        "description": title,
        "files": f"{counts.files:,}/{counts.files_planned:,} files",
        "size": _sizes(counts),
    }
    if _knows_size(counts):
        return values | {"total": counts.bytes_planned, "completed": counts.bytes}
    return values | {"total": counts.files_planned, "completed": counts.files}


def _knows_size(counts: ProgressCounts) -> bool:
    """Whether the planned bytes are worth showing: not while objects of unknown size are read."""
    return bool(counts.bytes_planned) and counts.bytes_planned >= counts.bytes


def _sizes(counts: ProgressCounts) -> str:
    done = format_size(counts.bytes)
    return f"{done} of {format_size(counts.bytes_planned)}" if _knows_size(counts) else done


@contextmanager
def _logs_above() -> Iterator[None]:
    """Print log lines above the bar: give handlers that were created earlier the stderr that the bar replaced."""
    handlers = [handler for handler in logging.getLogger().handlers if isinstance(handler, logging.StreamHandler)]
    streams = [handler.setStream(sys.stderr) for handler in handlers]
    try:
        yield
    finally:
        for handler, stream in zip(handlers, streams, strict=True):
            if stream is not None:
                handler.setStream(stream)


def _truncate(text: str, max_chars: int) -> str:
    text = printable(text)
    return text if len(text) <= max_chars else f"{text[: max(1, max_chars - 1)]}…"


async def _print_lines(title: str, counts: ProgressCounts, first: Callable[[], str], every: float) -> None:
    began = monotonic()
    while True:
        await asyncio.sleep(every)
        print_note(progress_line(title, counts, monotonic() - began, first()))


def progress_line(title: str, counts: ProgressCounts, seconds: float, first: str = DEFAULT_ACTIVITY) -> str:
    """Return one line with the progress of *counts* after *seconds*."""
    if not counts.files_planned:
        return f"{title}: {first} ({format_duration(seconds)})"
    rate = counts.bytes / seconds if seconds else 0.0
    left = ""
    if rate and _knows_size(counts):
        left = f", {format_duration((counts.bytes_planned - counts.bytes) / rate)} left"
    return f"{title}: {counts.files:,} of {counts.files_planned:,} files, {_sizes(counts)}, {format_size(rate)}/s{left}"


def format_size(count: float) -> str:
    """Format *count* bytes in powers of 1,000: `12 bytes`, `3.4 MB`."""
    for unit in UNITS:
        if count < (1000 if unit == UNITS[0] else 999.95) or unit == UNITS[-1]:
            break
        count /= 1000
    if count == 1 and unit == UNITS[0]:
        return "1 byte"
    return f"{count:.0f} {unit}" if unit == UNITS[0] else f"{count:.1f} {unit}"


def format_duration(seconds: float) -> str:
    """Format *seconds*: `0.4 s`, `12 s`, `3 min`, `2.5 h`."""
    if seconds < 100:  # noqa: PLR2004
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"  # noqa: PLR2004
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"  # noqa: PLR2004
