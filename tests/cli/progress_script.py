"""Shows counts that standard input tells, a line each: files, bytes, planned files, planned bytes; `!` logs a line."""

import asyncio
import logging
import sys

from archiver.cli.console import CommandError
from archiver.cli.progress_bar import show_progress
from archiver.cli.runner import run_async
from archiver.stages.progress import Progress


async def main() -> None:
    counts = Progress()
    async with show_progress(sys.argv[1], counts, every=0.01):
        while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
            if line == "!":
                logging.getLogger("moving").warning("something to know")
                continue
            counts.files, counts.bytes, counts.files_planned, counts.bytes_planned = map(int, line.split())


try:
    run_async(main)
except CommandError as problem:
    problem.report()
    sys.exit(problem.code)
