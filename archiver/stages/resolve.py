"""HEAD every object of a request before the first byte is read, so that one rejection lists all problems."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TypeVar

from archiver.core.locations import Location
from archiver.core.plan import ObjectInfo, ObjectVersion
from archiver.errors import CredentialsRefused, SourceChanged, SourceUnavailable, root_cause
from archiver.stages.credential_check import CredentialCheck
from archiver.stages.fetch import Fetcher

K = TypeVar("K")
V = TypeVar("V")


async def head_objects(
    locations: Iterable[Location], fetcher: Fetcher, credentials: CredentialCheck
) -> dict[Location, ObjectInfo | SourceUnavailable]:
    """
    HEAD each of *locations*, each distinct one once. Return the object's facts, or why it can't be read.

    Raises TransientError, ConfigurationError.
    """
    return await run_distinct(locations, fetcher.head, fetcher.concurrency, credentials)


async def probe_objects(
    pins: Iterable[ObjectVersion], fetcher: Fetcher, credentials: CredentialCheck
) -> dict[ObjectVersion, bool | SourceUnavailable]:
    """
    Read the first byte of each of *pins*, none of which is empty. Return True if it can be read, False if the object
    has changed, or why it can't be read. This finds what HEAD can't see, such as a KMS key that denies decryption, for
    all objects at once.

    Raises TransientError, ConfigurationError.
    """

    async def read(pinned: ObjectVersion) -> bool:
        try:
            await fetcher.read(pinned, 0, [memoryview(bytearray(1))])
        except SourceChanged:
            return False  # the next plan handles it
        return True

    return await run_distinct(pins, read, fetcher.concurrency, credentials)


async def run_distinct(
    keys: Iterable[K], call: Callable[[K], Awaitable[V]], concurrency: int, credentials: CredentialCheck
) -> dict[K, V | SourceUnavailable]:
    """
    Call *call* for each distinct one of *keys*, *concurrency* at once. Return its results, or SourceUnavailable.

    Raises TransientError, ConfigurationError.
    """
    found: dict[K, V | SourceUnavailable] = {}
    distinct = dict.fromkeys(keys)
    pending = iter(distinct)
    try:
        async with asyncio.TaskGroup() as tasks:
            for number in range(min(concurrency, len(distinct))):
                tasks.create_task(_run_queue(pending, call, found, credentials), name=f"resolve.{number}")
    except BaseExceptionGroup as group:
        raise root_cause(group) from group
    return found


async def _run_queue(
    pending: Iterator[K],
    call: Callable[[K], Awaitable[V]],
    found: dict[K, V | SourceUnavailable],
    credentials: CredentialCheck,
) -> None:
    for one in pending:
        try:
            found[one] = await call(one)
        except SourceUnavailable as problem:
            found[one] = problem.with_traceback(None)  # frees its frames: there may be 70,000 of these
        except CredentialsRefused as refused:
            found[one] = await credentials.as_denial(refused)
