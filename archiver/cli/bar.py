"""Long work made visible: a moving bar on a terminal, a line a minute everywhere else. Both on standard error."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING

from archiver.core.messages import Counts

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

FRAME = 0.1  # seconds between two looks, on a terminal
LINE_EVERY = 60.0  # seconds between two lines, elsewhere
UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


@asynccontextmanager
async def shown(title: str, counts: Counts) -> AsyncIterator[None]:
    """Show how *counts* move while the block runs: files, bytes, rate, time left."""
    show = _bar if sys.stderr.isatty() else _lines
    showing = asyncio.create_task(show(title, counts), name="bar")
    try:
        yield
    finally:
        showing.cancel()
        await asyncio.wait([showing])


async def _bar(title: str, counts: Counts) -> None:
    from rich.console import Console  # noqa: PLC0415 - late: 50 ms, for those who see it only
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[files]} files"),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False, transient=False) as bar:
        task = bar.add_task(title, total=None, files="0")
        try:
            while True:
                _paint(bar, counts, task)
                await asyncio.sleep(FRAME)
        finally:
            _paint(bar, counts, task)


def _paint(bar: "Progress", counts: Counts, task: "TaskID") -> None:
    files = f"{counts.files:,}/{counts.files_planned:,}" if counts.files_planned else "finding"
    bar.update(task, total=counts.bytes_planned or None, completed=counts.bytes, files=files)
    bar.refresh()


async def _lines(title: str, counts: Counts) -> None:
    began = monotonic()
    while True:
        await asyncio.sleep(LINE_EVERY)
        sys.stderr.write(f"{line(title, counts, monotonic() - began)}\n")
        sys.stderr.flush()


def line(title: str, counts: Counts, seconds: float) -> str:
    """How far *counts* have come after *seconds*, in a line."""
    if not counts.files_planned:
        return f"{title}: looking for the objects since {lasting(seconds)}"
    rate = counts.bytes / seconds if seconds else 0.0
    left = f", {lasting((counts.bytes_planned - counts.bytes) / rate)} left" if rate else ""
    return (
        f"{title}: {counts.files:,} of {counts.files_planned:,} files, "
        f"{size(counts.bytes)} of {size(counts.bytes_planned)}, {size(rate)}/s{left}"
    )


def size(count: float) -> str:
    """*count* bytes for people, in powers of 1,000: `12 bytes`, `3.4 MB`."""
    for unit in UNITS:
        if count < 1000 or unit == UNITS[-1]:  # noqa: PLR2004
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == UNITS[0] else f"{count:.1f} {unit}"


def lasting(seconds: float) -> str:
    """*seconds* for people: `12 s`, `3 min`, `2.5 h`."""
    if seconds < 100:  # noqa: PLR2004
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"  # noqa: PLR2004
