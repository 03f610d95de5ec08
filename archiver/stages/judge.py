"""Whose fault it is that a source refuses our credentials: the source's, where the destination takes the same ones."""

import asyncio
from time import monotonic

from archiver.errors import ArchiverError, CredentialsRefused, SourceUnavailable
from archiver.ports import ObjectStore

CREDENTIALS_PROBE_KEY = ".archiver-credentials"  # a key that need not exist


class Judge:
    """*store* is the destination; None where it proves nothing of our credentials (a file)."""

    def __init__(self, store: ObjectStore | None) -> None:
        self._store = store
        self._lock = asyncio.Lock()
        self._checked_at = float("-inf")
        self._credentials_work = False

    async def verdict(self, refused: CredentialsRefused) -> SourceUnavailable:
        """
        *refused* as a verdict on its object. Raises *refused* itself where the destination refuses us, too, or can't be
        asked: then it is ours to mend.

        One look serves all who wait for it. It must have begun after the refusal: one from before says nothing of
        credentials that were withdrawn meanwhile, and would reject every message that is received.
        """
        refused_at = monotonic()
        async with self._lock:
            if self._checked_at <= refused_at:
                began = monotonic()
                self._credentials_work = await self._check_destination()
                self._checked_at = began
        if not self._credentials_work:
            raise refused
        verdict = SourceUnavailable("source_denied", f"{refused}; the destination bucket takes them")
        verdict.location = refused.location
        return verdict

    async def _check_destination(self) -> bool:
        if self._store is None:
            return False
        try:
            await self._store.find(CREDENTIALS_PROBE_KEY)
        except ArchiverError:
            return False
        return True
