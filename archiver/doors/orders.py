"""
The door of order files: requests in files, done one after the other; answers on standard output, one line each.

A failure is told by its answer and by the exit code: there are no dead letters. The worker stops after the last file.
"""

import asyncio
import os
import stat
import sys
from collections import Counter
from collections.abc import Sequence

from archiver.core.orders import MAX_ORDER_BYTES, decode_order, order_id
from archiver.doors.door import Door, Surroundings, WaysOut
from archiver.doors.order_answers import AnswerLines
from archiver.doors.order_source import Order, OrderSource
from archiver.doors.start import StartupResources, check_resources
from archiver.jobs.answers import Answers, Fanout
from archiver.settings import Settings, SettingsError

MAX_BYTES = 64 * 1024 * 1024  # of all files together: they are read before the first is begun

EXIT_FAILED = 1
EXIT_UNFINISHED = 3


async def open_orders_door(
    settings: Settings, surroundings: Surroundings, ways_out: WaysOut, stop: asyncio.Event
) -> Door | None:
    """
    Read the files of *settings*, and check its buckets and the *ways_out*. *stop* is set after the last file. None:
    stopped meanwhile. Raises SettingsError.
    """
    if sys.stdout is None:
        raise SettingsError(["standard output: is closed, and answers to order files are written to it"])
    source = OrderSource(read_orders(settings.source_orders or ()), on_end=stop.set)
    resources = StartupResources(surroundings.clients, {}, surroundings.reader, ways_out.checks)
    problems = await check_resources(settings, resources, stop)
    if problems is None:
        return None
    if problems:
        raise SettingsError(problems)
    lines = AnswerLines(sys.stdout.fileno(), on_closed=stop.set)
    answers = Answers(
        Fanout(lines, *ways_out.notifiers),
        Fanout(lines, *ways_out.notifiers),
        callbacks=ways_out.callbacks,
        by_reference=bool(ways_out.notifiers or ways_out.callbacks),
    )
    surroundings.heartbeat.received()

    def exit_code() -> int:
        return EXIT_FAILED if lines.failed else EXIT_UNFINISHED if source.unfinished else 0

    return Door(source, None, answers, exit_code)


def read_orders(names: Sequence[str]) -> list[Order]:
    """Read the order files *names*. Raises SettingsError with a sentence for each that can't be used."""
    orders: list[Order] = []
    problems: list[str] = []
    times: Counter[str] = Counter()
    size = 0
    for name in names:
        times[name] += 1
        try:
            body = decode_order(_read_file(name))
        except OSError as error:
            problems.append(f"order file {name}: can't be read: {error.strerror or error}")
        except ValueError as error:
            problems.append(f"order file {name}: {error}")
        else:
            orders.append(Order(order_id(os.fsencode(name), body, times[name]), body))
            size += len(body.encode())
        if size > MAX_BYTES:  # the rest is not read: there may be a thousand times as much
            problems.append(f"order files: have more than {MAX_BYTES:,} bytes together; run them in several groups")
            break
    if problems:
        raise SettingsError(problems)
    return orders


def _read_file(name: str) -> bytes:
    """Return what the file has, up to one byte too many. Raises OSError; ValueError if it is no regular file."""
    file = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe without a writer would block
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise ValueError("is not a regular file: name a file with one request as JSON")
        opened = os.fdopen(file, "rb", closefd=False)
        return opened.read(MAX_ORDER_BYTES + 1)
    finally:
        os.close(file)
