"""Runs CPU work of large requests in a thread: 20,000 files take half a second, and other jobs have leases to renew."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

OFFLOAD_MIN_FILES = 1000

P = ParamSpec("P")
T = TypeVar("T")


async def run_offloaded_if_large(files: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call *function*, in a thread if it handles `OFFLOAD_MIN_FILES` *files* or more."""
    if files < OFFLOAD_MIN_FILES:
        return function(*args, **kwargs)
    return await asyncio.to_thread(function, *args, **kwargs)
