"""What is remembered of commands beside the archives: a success, and the start of one that may run at most once."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from archiver.core.archive_metadata import ArchiveMetadata, from_s3_metadata, to_s3_metadata
from archiver.core.command_memory import (
    MAX_RESULT_BYTES,
    UnreadableResultError,
    decode_result,
    encode_result,
    result_key,
    started_key,
)
from archiver.core.command_result import CommandResult
from archiver.core.locations import Location
from archiver.core.plan import ObjectVersion
from archiver.errors import (
    ArchiveExists,
    ConfigurationError,
    Rejected,
    SourceChanged,
    SourceUnavailable,
    TransientError,
)
from archiver.jobs.identity import JobIdentity
from archiver.ports import Hold, ObjectStore, StoredArchive, Target
from archiver.stages.checksums import crc32
from archiver.stages.fetch import Fetcher
from archiver.stages.from_files import NOTHING
from archiver.stages.receipt import Receipts
from archiver.stages.retry import retry_transient
from archiver.stages.upload import find, open_upload

_CONFLICT = "another request under this job_id has succeeded already"


@dataclass(frozen=True, slots=True)
class Remembered:
    """One job, as it is remembered. *request*: the hash of its request."""

    job: JobIdentity
    request: str

    def target(self, key: str, files: int = 0) -> Target:
        metadata = ArchiveMetadata(self.request, secrets.token_hex(16), files, "succeeded", self.job.message.id)
        return Target(key, "", to_s3_metadata(metadata), content_type="application/json")

    def check(self, existing: StoredArchive) -> None:
        """Raise Rejected (`job_conflict`) if *existing* is another request's."""
        metadata = from_s3_metadata(existing.metadata)
        if metadata is None or not metadata.matches_request(self.request, self.job.message.id):
            raise Rejected("job_conflict", _CONFLICT)


class CommandMemory:
    """The remembered results, in the *bucket* of the archives; *store* and *receipts* write there."""

    def __init__(self, fetcher: Fetcher, bucket: str, store: ObjectStore, receipts: Receipts) -> None:
        self._fetcher = fetcher
        self._bucket = bucket
        self._store = store
        self._receipts = receipts

    async def find(self, of: Remembered) -> CommandResult | None:
        """
        Return the result of an earlier run; None if there is none. Raises Rejected (`job_conflict`), TransientError,
        ConfigurationError.
        """
        if await find(self._store, of.job.key) is not None:
            raise Rejected("job_conflict", "a request for an archive under this job_id has its archive already")
        key = result_key(of.job.digest)
        existing = await find(self._store, key)
        if existing is None:
            return None
        of.check(existing)
        if existing.size > MAX_RESULT_BYTES:
            raise Rejected("job_conflict", f"{key} is no result of a command: it has {existing.size:,} bytes")
        try:
            return decode_result(await self._read(ObjectVersion(Location(self._bucket, key), existing.etag), existing))
        except UnreadableResultError as error:
            raise Rejected(
                "job_conflict", f"{key} can't be read: {error}; delete it to run the command again"
            ) from error

    async def _read(self, version: ObjectVersion, existing: StoredArchive) -> bytes:
        data = bytearray(existing.size)
        try:
            await self._fetcher.read(version, 0, [memoryview(data)])
        except SourceUnavailable as error:
            text = f"{version.location} can't be read: {error.detail}"
            raise ConfigurationError(text) if error.code == "source_denied" else TransientError(text) from error
        except SourceChanged as error:
            raise TransientError(f"{version.location} can't be read: {error}") from error
        return bytes(data)

    async def remember(self, of: Remembered, result: CommandResult, hold: Hold) -> CommandResult:
        """
        Keep *result*; return it, or the one that another attempt has kept meanwhile. Raises Rejected (`job_conflict`),
        TransientError, ConfigurationError, LeaseLost.
        """
        target = of.target(result_key(of.job.digest), len(result.outputs))
        try:
            await self._put(target, encode_result(result), hold)
        except ArchiveExists:
            other = await self.find(of)
            if other is None:
                raise TransientError(f"{target.key} exists, but HEAD does not find it") from None
            return other
        return result

    @asynccontextmanager
    async def started(self, of: Remembered, hold: Hold) -> AsyncIterator["Mark"]:
        """
        Mark that the command was started, before the block. Whoever finds the mark rejects the job: `interrupted`. It
        stays, unless the block says that the command may run again.
        """
        target = of.target(started_key(of.job.digest))
        try:
            await self._put(target, b'{"version":1}', hold)
        except ArchiveExists:
            text = "the command may run once only, and an earlier delivery has started it: nobody knows how far it came"
            raise Rejected("interrupted", text) from None
        mark = Mark()
        try:
            yield mark
        finally:
            if mark.may_run_again:
                hold.confirm()
                await retry_transient(lambda: self._receipts.delete(target.key))

    async def _put(self, target: Target, body: bytes, hold: Hold) -> None:
        async with open_upload(self._store, target, hold, None) as upload:
            await upload.put(memoryview(body), crc32(body), NOTHING)


@dataclass(slots=True)
class Mark:
    """*may_run_again*: the command was not started after all, or its end asks for another run."""

    may_run_again: bool = False
