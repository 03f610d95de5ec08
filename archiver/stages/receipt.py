"""Receipts in the bucket of the archives: the port that writes them, and how they are read."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol

from archiver.core.attributes import NO_ATTRIBUTES, Attributes
from archiver.core.locations import Location
from archiver.core.plan import ObjectVersion
from archiver.core.receipt import ListedObject, Receipt
from archiver.core.receipt_parser import ReceiptMember, ReceiptParser, UnreadableReceiptError
from archiver.errors import ConfigurationError, SourceChanged, SourceUnavailable, TransientError
from archiver.stages.fetch import Fetcher

WINDOW_BYTES = 256 * 1024  # of a receipt that are read at once


class Receipts(Protocol):
    """The receipts beside the archives, in one bucket. An ObjectReader reads them."""

    async def put(self, key: str, body: bytes, attributes: Attributes = NO_ATTRIBUTES) -> None:
        """Write the receipt, or the answer, at *key*, with *attributes*. Raises TransientError, ConfigurationError."""

    async def list(self, folder: str) -> list[ListedObject]:
        """
        Return all objects, archives included, whose keys begin with *folder*. Raises TransientError,
        ConfigurationError.
        """

    async def delete(self, key: str) -> None:
        """Delete the receipt at *key*, which need not exist. Raises TransientError, ConfigurationError."""


async def find_receipt(fetcher: Fetcher, location: Location) -> tuple[ObjectVersion, int] | None:
    """
    Return version and size of the receipt at *location*; None if there is none.

    Raises UnreadableReceiptError if it is archived, or if its existence may not be known (denied); TransientError,
    CredentialsRefused.
    """
    try:
        info = await fetcher.head(location)
    except SourceUnavailable as error:
        if error.code == "source_missing":
            return None
        raise UnreadableReceiptError(error.detail) from error
    return ObjectVersion(location, info.etag), info.size


async def read_head(fetcher: Fetcher, found: tuple[ObjectVersion, int]) -> Receipt:
    """Read the first line of a receipt. Raises as `read_members` does."""
    parser = ReceiptParser()
    async with aclosing(read_members(fetcher, found, parser)) as members:
        async for _ in members:
            break
    if parser.receipt is None:
        raise UnreadableReceiptError("it is empty")
    return parser.receipt


async def read_members(
    fetcher: Fetcher, found: tuple[ObjectVersion, int], parser: ReceiptParser
) -> AsyncGenerator[ReceiptMember, None]:
    """
    Read a receipt in windows of `WINDOW_BYTES`, and yield its members. *parser* has the first line from the first
    member on.

    Raises UnreadableReceiptError; ConfigurationError (denied), TransientError.
    """
    version, size = found
    for start in range(0, size, WINDOW_BYTES):
        data = bytearray(min(WINDOW_BYTES, size - start))
        try:
            await fetcher.read(version, start, [memoryview(data)])
        except SourceUnavailable as error:
            text = f"the receipt {version.location} can't be read: {error.detail}"
            raise ConfigurationError(text) if error.code == "source_denied" else TransientError(text) from error
        except SourceChanged as error:
            raise TransientError(f"the receipt {version.location} can't be read: {error}") from error
        for member in parser.feed(bytes(data)):
            yield member
    parser.end()
