"""Every object of a request is asked for before the first byte is read, so that all problems are known together."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TypeVar

from archiver.core.locations import Location
from archiver.core.plan import ObjectInfo, Pinned
from archiver.errors import CredentialsRefused, SourceChanged, SourceUnavailable, first_of
from archiver.stages.fetch import Fetcher
from archiver.stages.judge import Judge

K = TypeVar("K")
V = TypeVar("V")


async def resolve(
    locations: Iterable[Location], fetcher: Fetcher, judge: Judge
) -> dict[Location, ObjectInfo | SourceUnavailable]:
    """
    What the store says of each of *locations*; one named twice is asked for once.

    Raises Temporary, ConfigurationFault.
    """
    return await _each(locations, fetcher.head, fetcher.concurrency, judge)


async def probe(pins: Iterable[Pinned], fetcher: Fetcher, judge: Judge) -> dict[Pinned, bool | SourceUnavailable]:
    """
    Whether each of *pins*, none of which is empty, can be read, by its first byte: true, false where it has changed, or
    why it may not be read. What HEAD can't see, such as the key that encrypts an object, is found so for all together.

    Raises Temporary, ConfigurationFault.
    """

    async def read(pinned: Pinned) -> bool:
        try:
            await fetcher.read(pinned, 0, [memoryview(bytearray(1))])
        except SourceChanged:
            return False  # the next plan sees to it
        return True

    return await _each(pins, read, fetcher.concurrency, judge)


async def _each(
    asked: Iterable[K], ask: Callable[[K], Awaitable[V]], concurrency: int, judge: Judge
) -> dict[K, V | SourceUnavailable]:
    found: dict[K, V | SourceUnavailable] = {}
    distinct = dict.fromkeys(asked)
    todo = iter(distinct)
    try:
        async with asyncio.TaskGroup() as tasks:
            for number in range(min(concurrency, len(distinct))):
                tasks.create_task(_work(todo, ask, found, judge), name=f"resolve.{number}")
    except BaseExceptionGroup as group:
        raise first_of(group) from group
    return found


async def _work(
    todo: Iterator[K], ask: Callable[[K], Awaitable[V]], found: dict[K, V | SourceUnavailable], judge: Judge
) -> None:
    for one in todo:
        try:
            found[one] = await ask(one)
        except SourceUnavailable as problem:
            found[one] = problem.with_traceback(None)  # its frames are kept by nobody: there may be 70,000
        except CredentialsRefused as refused:
            found[one] = await judge.verdict(refused)
