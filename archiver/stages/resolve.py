"""Every object of a request is asked for before the first byte is read, so that all problems are known together."""

import asyncio
from collections.abc import Iterator, Sequence

from archiver.core.locations import Location
from archiver.core.plan import ObjectInfo
from archiver.errors import SourceUnavailable, first_of
from archiver.stages.fetch import Fetcher

Found = ObjectInfo | SourceUnavailable


async def resolve(locations: Sequence[Location], fetcher: Fetcher) -> list[Found]:
    """
    What the store says of each of *locations*, in their order; one named twice is asked for once.

    Raises Temporary, ConfigurationFault.
    """
    found: dict[Location, Found] = {}
    todo = iter(dict.fromkeys(locations))
    try:
        async with asyncio.TaskGroup() as tasks:
            for number in range(min(fetcher.concurrency, len(locations))):
                tasks.create_task(_resolve(todo, found, fetcher), name=f"resolve.{number}")
    except BaseExceptionGroup as group:
        raise first_of(group) from group
    return [found[location] for location in locations]


async def _resolve(todo: Iterator[Location], found: dict[Location, Found], fetcher: Fetcher) -> None:
    for location in todo:
        try:
            found[location] = await fetcher.head(location)
        except SourceUnavailable as problem:
            found[location] = problem
