"""Decide whether a denial concerns one object or a whole role: a role without its policy must not reject jobs."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from archiver.core.draft import Draft
from archiver.core.locations import Location
from archiver.core.objects import ObjectInfo
from archiver.core.plan import ObjectVersion
from archiver.core.select import Prefix
from archiver.errors import (
    ConfigurationError,
    CredentialsRefused,
    Rejected,
    SourceChanged,
    SourceProblem,
    SourceUnavailable,
    TransientError,
)
from archiver.ports import Roles
from archiver.stages.credential_check import CredentialCheck
from archiver.stages.fetch import Fetcher
from archiver.stages.resolve import head_objects, probe_objects, run_distinct
from archiver.stages.retry import retry_transient

DENIED_PAUSE_SECONDS = 60.0  # seconds
MAX_REMEMBERED_OBJECTS = 8
MAX_OWN_PROBES = 3  # objects of the request itself
MAX_ASKED_AGAIN = 1000  # of the denied objects, the first ones: these were asked for first
_NO_PINS: Mapping[object, ObjectVersion] = {}


async def assume_roles(draft: Draft, roles: Roles, credentials: CredentialCheck) -> None:
    """
    Have credentials of each role of *draft* before its prefixes are listed and its objects are read: while STS does not
    respond, a job then waits here, and takes no read from others.

    Raises TransientError if a role can't be assumed. Its trust policy may be new, which takes a while everywhere, and
    its owner can mend it. On the last receive the request is rejected, with all entries of such roles.
    """
    refused: dict[str, str] = {}
    for role in dict.fromkeys(role for _, role in draft.roles if role):
        try:
            await retry_transient(partial(roles.assume, role))
        except SourceUnavailable as error:
            refused[role] = error.detail
        except CredentialsRefused as error:
            refused[role] = (await credentials.as_denial(error)).detail
    if refused:
        reason = "; ".join(refused.values())
        denied = [
            SourceProblem(source, "source_denied", refused[role]) for source, role in draft.roles if role in refused
        ]
        raise TransientError(reason, rejection=Rejected("source_denied", reason, denied))


class ReadAccess:
    """
    What the worker may read in *bucket*, the operator's own source bucket (None: there is none). One instance for each
    process: it remembers some objects that were read successfully.
    """

    def __init__(self, bucket: str | None, fetcher: Fetcher, credentials: CredentialCheck) -> None:
        self._bucket = bucket
        self._fetcher = fetcher
        self._credentials = credentials
        self._readable: deque[ObjectVersion] = deque(maxlen=MAX_REMEMBERED_OBJECTS)

    def record_readable(self, pins: Iterable[ObjectVersion]) -> None:
        """Remember one of *pins*, whose bytes were read. A HEAD proves less: it needs no permission to decrypt."""
        one = next((pinned for pinned in pins if self._is_ours(pinned.location)), None)
        if one is not None and one not in self._readable:
            self._readable.append(one)

    async def check(
        self,
        draft: Draft,
        answers: Sequence[ObjectInfo | SourceProblem],
        pins: Mapping[object, ObjectVersion] = _NO_PINS,
    ) -> list[Location]:
        """
        Return if denials in *answers* concern the objects: the objects that are not denied any more, of those in
        *answers*. *pins*: the versions of those whose bytes were denied, by location; the others were denied by HEAD.

        Raises ConfigurationError if something is denied, and objects that were readable before are denied now too; or
        if a prefix that could not be listed can be listed now.

        Raises TransientError if all objects of the request in the bucket are denied, and no other object is known to be
        readable: a role without its policy is more likely than a bad request.
        """
        ours = [
            (file.location, answer)
            for file, answer in zip(draft.files, answers, strict=True)
            if self._is_ours(file.location)
        ]
        ours += [(prefix, problem) for prefix, problem in draft.refused.items() if self._is_ours(prefix)]
        denied = {at: one for at, one in ours if isinstance(one, SourceProblem) and one.code == "source_denied"}
        if not denied:
            return []
        detail = next(iter(denied.values())).detail
        others = [pinned for pinned in reversed(self._readable) if pinned.location not in denied]
        # The request's own objects first: one that was read before may be deleted by now, and S3 may answer 403 for it.
        own = [ObjectVersion(at, one.etag) for at, one in ours if isinstance(one, ObjectInfo)][:MAX_OWN_PROBES]
        if others and await self._are_all_denied((*own, *others)):
            was = others[0].location
            raise ConfigurationError(f"{detail}: for {next(iter(denied))}, and for {was}, which was readable before")
        if not others and len(denied) == len({at for at, _ in ours}):
            reason = f"no object in the bucket {self._bucket} can be read: {detail}"
            raise TransientError(
                reason,
                rejection=Rejected("source_denied", reason, [*denied.values()]),
                receive_pause=DENIED_PAUSE_SECONDS,
            )
        await self._list_again([at for at in denied if at in draft.refused])
        return await self._ask_again([at for at in denied if at not in draft.refused], pins)

    async def _ask_again(self, denied: Sequence[Location], pins: Mapping[object, ObjectVersion]) -> list[Location]:
        """
        Return those of *denied* that are not denied any more. All objects were, for a while, if the proof that another
        one can be read came after that. Each is asked for as it was when it was denied.
        """
        asked = denied[:MAX_ASKED_AGAIN]
        heads, reads = [at for at in asked if at not in pins], [pins[at] for at in asked if at in pins]
        found: dict[Location, object] = {**await head_objects(heads, self._fetcher, self._credentials)}
        probed = await probe_objects(reads, self._fetcher, self._credentials)
        found |= {pinned.location: answer for pinned, answer in probed.items()}
        return [at for at, answer in found.items() if not _is_denial(answer)]

    async def _list_again(self, denied: Sequence[Location]) -> None:
        async def list_first(prefix: Location) -> None:
            async for _ in self._fetcher.list(Prefix(prefix)):
                return

        asked = denied[:MAX_ASKED_AGAIN]
        found = await run_distinct(asked, list_first, self._fetcher.concurrency, self._credentials)
        for prefix, answer in found.items():
            if not _is_denial(answer):
                raise ConfigurationError(f"listing {prefix} was denied, and is not any more")

    def _is_ours(self, location: Location) -> bool:
        """Whether *location* is read from the bucket with the worker's own role."""
        return location.bucket == self._bucket and not location.role

    async def _are_all_denied(self, pins: Iterable[ObjectVersion]) -> bool:
        for pinned in pins:
            if not await self._is_denied(pinned):
                return False
        return True

    async def _is_denied(self, pinned: ObjectVersion) -> bool:
        try:
            await self._fetcher.read(pinned, 0, [memoryview(bytearray(1))])
        except SourceUnavailable as error:
            return error.code == "source_denied"
        except SourceChanged:
            return False  # to learn that it changed, the worker must be allowed to read it
        return False


def _is_denial(answer: object) -> bool:
    return isinstance(answer, SourceUnavailable) and answer.code == "source_denied"
