"""Long work made visible: a moving bar on a terminal, a line a minute everywhere else. Both on standard error."""

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

DEFAULT_ACTIVITY = "looking for the objects"
REFRESH_SECONDS = 0.1  # seconds between two looks, on a terminal
LINE_INTERVAL = 60.0  # seconds between two lines, elsewhere
UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")
WIDE_COLUMNS, MEDIUM_COLUMNS = 100, 60  # columns of a terminal from which on all, or most, of a bar has its place


@asynccontextmanager
async def show_progress(
    title: str,
    counts: ProgressCounts,
    every: float = LINE_INTERVAL,
    *,
    first: Callable[[], str] = lambda: DEFAULT_ACTIVITY,
) -> AsyncIterator[None]:
    """
    Show how *counts* move while the block runs: files, bytes, rate, time left; until anything is planned, what is done
    *first*, and for how long. Elsewhere than on a terminal, a line *every* so many seconds.
    """
    show = _show_bar(title, counts, first) if _is_terminal() else _print_lines(title, counts, first, every)
    showing = asyncio.create_task(show, name="bar")
    try:
        yield
    finally:
        showing.cancel()
        await asyncio.wait([showing])


def _is_terminal() -> bool:
    """Whether standard error is a terminal on which a line can be painted again."""
    return sys.stderr.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


async def _show_bar(title: str, counts: ProgressCounts, first: Callable[[], str]) -> None:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    # What goes to standard output is no part of the picture: it may be a pipe.
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
            # An archive that was there already was neither planned nor built: there is nothing to show of it.
            bar.update(task, visible=bool(counts.files_planned), **_column_values(title, counts, "", console.width))
            bar.refresh()


def _columns(width: int) -> "list[ProgressColumn]":
    """What a terminal of *width* columns has room for, on one line."""
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
    """What the columns of a terminal of *width* columns show; until anything is planned, what is done *first*."""
    if not counts.files_planned:
        if width < MEDIUM_COLUMNS:
            return {"description": _truncate(first, width - 12)}
        return {"files": first} if width >= WIDE_COLUMNS else {"size": first}
    values = {
        "description": title,
        "files": f"{counts.files:,}/{counts.files_planned:,} files",
        "size": f"{format_size(counts.bytes)} of {format_size(counts.bytes_planned)}",
    }
    if counts.bytes_planned:
        return values | {"total": counts.bytes_planned, "completed": counts.bytes}
    return values | {"total": counts.files_planned, "completed": counts.files}  # nothing but empty files


@contextmanager
def _logs_above() -> Iterator[None]:
    """Log lines, whose handler had standard error before the bar came, go above the bar instead of through it."""
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
    """How far *counts* have come after *seconds*, in a line."""
    if not counts.files_planned:
        return f"{title}: {first} since {format_duration(seconds)}"
    rate = counts.bytes / seconds if seconds else 0.0
    left = f", {format_duration((counts.bytes_planned - counts.bytes) / rate)} left" if rate else ""
    return (
        f"{title}: {counts.files:,} of {counts.files_planned:,} files, "
        f"{format_size(counts.bytes)} of {format_size(counts.bytes_planned)}, {format_size(rate)}/s{left}"
    )


def format_size(count: float) -> str:
    """*count* bytes for people, in powers of 1,000: `12 bytes`, `3.4 MB`."""
    for unit in UNITS:
        if count < (1000 if unit == UNITS[0] else 999.95) or unit == UNITS[-1]:
            break
        count /= 1000
    if count == 1 and unit == UNITS[0]:
        return "1 byte"
    return f"{count:.0f} {unit}" if unit == UNITS[0] else f"{count:.1f} {unit}"


def format_duration(seconds: float) -> str:
    """*seconds* for people: `0.4 s`, `12 s`, `3 min`, `2.5 h`."""
    if seconds < 100:  # noqa: PLR2004
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"  # noqa: PLR2004
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"  # noqa: PLR2004
