"""
Decide what a source's refusal of our credentials means. If the destination accepts the same credentials, the object
is denied. Otherwise it is a configuration error.
"""

import asyncio
from time import monotonic

from archiver.errors import ArchiverError, CredentialsRefused, SourceUnavailable
from archiver.ports import ObjectStore

CREDENTIALS_PROBE_KEY = ".archiver-credentials"  # a key that need not exist


class CredentialCheck:
    """Checks credentials with a HEAD in *store*, the destination; None if that is a file and so proves nothing."""

    def __init__(self, store: ObjectStore | None) -> None:
        self._store = store
        self._lock = asyncio.Lock()
        self._checked_at = float("-inf")
        self._credentials_work = False

    async def as_denial(self, refused: CredentialsRefused) -> SourceUnavailable:
        """
        Return *refused* as a denial of its object. Raises *refused* itself if the destination refuses the credentials
        too, or can't be reached: then the operator must act.

        Concurrent callers share one check. It must have begun after the refusal: an earlier check does not see that the
        credentials were revoked since, and would cause every received message to be rejected.
        """
        refused_at = monotonic()
        async with self._lock:
            if self._checked_at <= refused_at:
                began = monotonic()
                self._credentials_work = await self._check_destination()
                self._checked_at = began
        if not self._credentials_work:
            raise refused
        verdict = SourceUnavailable("source_denied", f"{refused}; the destination bucket accepts them")
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
