"""Long work made visible: a moving bar on a terminal, a line a minute everywhere else. Both on standard error."""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

from archiver.cli.console import note
from archiver.core.messages import Counts
from archiver.core.printable import printable

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

LOOKING = "looking for the objects"
FRAME = 0.1  # seconds between two looks, on a terminal
LINE_EVERY = 60.0  # seconds between two lines, elsewhere
UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")
WIDE, MIDDLING = 100, 60  # columns of a terminal from which on all, or most, of a bar has its place


@asynccontextmanager
async def shown(
    title: str, counts: Counts, every: float = LINE_EVERY, *, first: Callable[[], str] = lambda: LOOKING
) -> AsyncIterator[None]:
    """
    Show how *counts* move while the block runs: files, bytes, rate, time left; until anything is planned, what is done
    *first*, and for how long. Elsewhere than on a terminal, a line *every* so many seconds.
    """
    show = _bar(title, counts, first) if _moves() else _lines(title, counts, first, every)
    showing = asyncio.create_task(show, name="bar")
    try:
        yield
    finally:
        showing.cancel()
        await asyncio.wait([showing])


def _moves() -> bool:
    """Whether standard error is a terminal on which a line can be painted again."""
    return sys.stderr.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


async def _bar(title: str, counts: Counts, first: Callable[[], str]) -> None:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    # What goes to standard output is no part of the picture: it may be a pipe.
    with (
        Progress(*_columns(console.width), console=console, auto_refresh=False, redirect_stdout=False) as bar,
        _logs_above(),
    ):
        title = _shortened(title, console.width // 3)
        task, began = bar.add_task(title, total=None, files="", size=""), monotonic()
        try:
            while True:
                bar.update(task, **_look(title, counts, f"{first()} ({lasting(monotonic() - began)})", console.width))
                bar.refresh()
                await asyncio.sleep(FRAME)
        finally:
            # An archive that was there already was neither planned nor built: there is nothing to show of it.
            bar.update(task, visible=bool(counts.files_planned), **_look(title, counts, "", console.width))
            bar.refresh()


def _columns(width: int) -> "list[ProgressColumn]":
    """What a terminal of *width* columns has room for, on one line."""
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    title, files, sizes = (
        TextColumn(f"{{task.{field}}}", markup=False) for field in ("description", "fields[files]", "fields[size]")
    )
    if width < MIDDLING:
        return [title, TaskProgressColumn(), TimeRemainingColumn(compact=True)]
    if width < WIDE:
        return [title, BarColumn(bar_width=None), sizes, TimeRemainingColumn(compact=True)]
    return [title, BarColumn(bar_width=None), files, sizes, TransferSpeedColumn(), TimeRemainingColumn()]


def _look(title: str, counts: Counts, first: str, width: int) -> dict[str, Any]:
    """What the columns of a terminal of *width* columns show; until anything is planned, what is done *first*."""
    if not counts.files_planned:
        if width < MIDDLING:
            return {"description": _shortened(first, width - 12)}
        return {"files": first} if width >= WIDE else {"size": first}
    told = {
        "description": title,
        "files": f"{counts.files:,}/{counts.files_planned:,} files",
        "size": f"{size(counts.bytes)} of {size(counts.bytes_planned)}",
    }
    if counts.bytes_planned:
        return told | {"total": counts.bytes_planned, "completed": counts.bytes}
    return told | {"total": counts.files_planned, "completed": counts.files}  # nothing but empty files


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


def _shortened(text: str, longest: int) -> str:
    text = printable(text)
    return text if len(text) <= longest else f"{text[: max(1, longest - 1)]}…"


async def _lines(title: str, counts: Counts, first: Callable[[], str], every: float) -> None:
    began = monotonic()
    while True:
        await asyncio.sleep(every)
        note(line(title, counts, monotonic() - began, first()))


def line(title: str, counts: Counts, seconds: float, first: str = LOOKING) -> str:
    """How far *counts* have come after *seconds*, in a line."""
    if not counts.files_planned:
        return f"{title}: {first} since {lasting(seconds)}"
    rate = counts.bytes / seconds if seconds else 0.0
    left = f", {lasting((counts.bytes_planned - counts.bytes) / rate)} left" if rate else ""
    return (
        f"{title}: {counts.files:,} of {counts.files_planned:,} files, "
        f"{size(counts.bytes)} of {size(counts.bytes_planned)}, {size(rate)}/s{left}"
    )


def size(count: float) -> str:
    """*count* bytes for people, in powers of 1,000: `12 bytes`, `3.4 MB`."""
    for unit in UNITS:
        if count < (1000 if unit == UNITS[0] else 999.95) or unit == UNITS[-1]:
            break
        count /= 1000
    if count == 1 and unit == UNITS[0]:
        return "1 byte"
    return f"{count:.0f} {unit}" if unit == UNITS[0] else f"{count:.1f} {unit}"


def lasting(seconds: float) -> str:
    """*seconds* for people: `0.4 s`, `12 s`, `3 min`, `2.5 h`."""
    if seconds < 100:  # noqa: PLR2004
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"  # noqa: PLR2004
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"  # noqa: PLR2004
