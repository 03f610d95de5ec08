"""List the prefixes of a request, many at once, and keep the objects that its entries select."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from archiver.core.objects import Listed, ListPage
from archiver.core.patterns import Effort
from archiver.core.select import MAX_LISTED, Prefix, Selector
from archiver.errors import Rejected, SourceUnavailable
from archiver.stages.credential_check import CredentialCheck
from archiver.stages.fetch import Fetcher
from archiver.stages.resolve import run_distinct

MAX_CONCURRENT_LISTINGS = 8
"""Of one job. A page has up to 1,000 objects, and takes up to 8 MiB while it is read."""


@dataclass(frozen=True, slots=True)
class Selected:
    """*objects*: of each selector, or why its prefix can't be listed; *count* of all; *pages*: calls that listed."""

    objects: list[list[Listed] | SourceUnavailable]
    count: int
    pages: int


async def select_objects(
    selectors: Sequence[Selector],
    fetcher: Fetcher,
    credentials: CredentialCheck,
    max_files: int | None,
    listings: int = MAX_CONCURRENT_LISTINGS,
) -> Selected:
    """
    Return the objects that each of *selectors* chooses. Each distinct prefix is listed once, *listings* at a time.

    Memory: about 300 bytes and the key, for each object that is chosen; the others are dropped page by page.

    Raises Rejected (`too_large`) for more than *max_files* objects (None: no limit), more than `MAX_LISTED` to look at,
    or patterns that take too many steps; TransientError, ConfigurationError.
    """
    run = _Selection(selectors, fetcher, max_files)
    listed = await run_distinct(run.by_prefix, run.list, min(listings, fetcher.concurrency), credentials)
    objects = [
        verdict if isinstance(verdict := listed[selector.prefix], SourceUnavailable) else run.chosen[index]
        for index, selector in enumerate(selectors)
    ]
    return Selected(objects, run.count, sum(pages for pages in listed.values() if isinstance(pages, int)))


class _Selection:
    """
    The listings of one request. *by_prefix*: indices of its selectors; *chosen*: the objects of each so far, *count* of
    them.
    """

    def __init__(self, selectors: Sequence[Selector], fetcher: Fetcher, max_files: int | None) -> None:
        self._selectors = selectors
        self._fetcher = fetcher
        self._max_files = max_files
        self._looked_at = self.count = 0
        self._effort = Effort()
        self.chosen: list[list[Listed]] = [[] for _ in selectors]
        self.by_prefix: dict[Prefix, list[int]] = {}
        for index, selector in enumerate(selectors):
            self.by_prefix.setdefault(selector.prefix, []).append(index)

    async def list(self, prefix: Prefix) -> int:
        """List *prefix*. Return the number of pages. Raises as `select_objects` does; SourceUnavailable."""
        pages = 0
        async for page in self._fetcher.list(prefix):
            pages += 1
            indices = self.by_prefix[prefix]
            self._looked_at += len(page.objects) * len(indices)
            if self._looked_at > MAX_LISTED:
                raise Rejected(
                    "too_large", f"the prefixes have more than {MAX_LISTED:,} objects to look at: name longer prefixes"
                )
            for index in indices:
                await self._choose(index, page)
        return pages

    async def _choose(self, index: int, page: ListPage) -> None:
        selector = self._selectors[index]
        if selector.regex is not None:
            objects = []
            for some in selector.slices(page.objects):
                self._effort.add(selector.steps(some))
                objects += await asyncio.to_thread(selector.choose, some)
        else:
            objects = selector.choose(page.objects)
            await asyncio.sleep(0)  # a request may have 50,000 entries with one prefix
        self.chosen[index] += objects
        self.count += len(objects)
        if self._max_files is not None and self.count > self._max_files:
            raise Rejected(
                "too_large", f"the prefixes select more than {self._max_files:,} objects, which is MAX_FILES"
            )
