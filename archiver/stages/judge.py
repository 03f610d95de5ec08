"""Whose fault it is that a source refuses our credentials: the source's, where the destination takes the same ones."""

import asyncio
from time import monotonic

from archiver.errors import ArchiverError, CredentialsRefused, SourceUnavailable
from archiver.ports import ObjectStore

PROBE = ".archiver-credentials"  # a key that need not exist


class Judge:
    """*store* is the destination; None where it proves nothing of our credentials (a file)."""

    def __init__(self, store: ObjectStore | None) -> None:
        self._store = store
        self._looking = asyncio.Lock()
        self._looked_at = float("-inf")
        self._works = False

    async def verdict(self, refused: CredentialsRefused) -> SourceUnavailable:
        """
        *refused* as a verdict on its object. Raises *refused* itself where the destination refuses us, too, or can't be
        asked: then it is ours to mend.

        One look serves all who wait for it. It must have begun after the refusal: one from before says nothing of
        credentials that were withdrawn meanwhile, and would reject every message that is received.
        """
        came_at = monotonic()
        async with self._looking:
            if self._looked_at <= came_at:
                began = monotonic()
                self._works = await self._look()
                self._looked_at = began
        if not self._works:
            raise refused
        verdict = SourceUnavailable("source_denied", f"{refused}; the destination bucket takes them")
        verdict.location = refused.location
        return verdict

    async def _look(self) -> bool:
        if self._store is None:
            return False
        try:
            await self._store.find(PROBE)
        except ArchiverError:
            return False
        return True
