"""Whether a denial is a verdict on one object, or on us: a role that lost its policy must not empty the queue."""

from collections import deque
from collections.abc import Iterable, Sequence

from archiver.core.draft import Draft
from archiver.core.plan import ObjectInfo, ObjectVersion
from archiver.errors import (
    ConfigurationError,
    Rejected,
    SourceChanged,
    SourceProblem,
    SourceUnavailable,
    TransientError,
)
from archiver.stages.fetch import Fetcher

DENIED_PAUSE_SECONDS = 60.0  # seconds
MAX_REMEMBERED_OBJECTS = 8
MAX_OWN_PROBES = 3  # of a request's own


class ReadAccess:
    """
    What may be read in *bucket*, the operator's own (None: there is none). One for the process: it remembers some
    objects that were read well.
    """

    def __init__(self, bucket: str | None, fetcher: Fetcher) -> None:
        self._bucket = bucket
        self._fetcher = fetcher
        self._readable: deque[ObjectVersion] = deque(maxlen=MAX_REMEMBERED_OBJECTS)

    def record_readable(self, pins: Iterable[ObjectVersion]) -> None:
        """Bytes of *pins* came. That HEAD was answered proves less: it needs no key to decrypt an object."""
        one = next((pinned for pinned in pins if pinned.location.bucket == self._bucket), None)
        if one is not None and one not in self._readable:
            self._readable.append(one)

    async def check(self, draft: Draft, answers: Sequence[ObjectInfo | SourceProblem]) -> None:
        """
        Raises ConfigurationError where something is denied, and what was read before is denied by now, too.

        Raises TransientError where all that a request names in the bucket is denied, and nothing else is known to be
        readable: more likely a role without its policy than bad requests.
        """
        ours = [
            (file.location, answer)
            for file, answer in zip(draft.files, answers, strict=True)
            if file.location.bucket == self._bucket
        ]
        denied = {at: one for at, one in ours if isinstance(one, SourceProblem) and one.code == "source_denied"}
        if not denied:
            return
        detail = next(iter(denied.values())).detail
        others = [pinned for pinned in reversed(self._readable) if pinned.location not in denied]
        # The request's own first: what was read before may be gone by now, which S3 may call denied, too.
        own = [ObjectVersion(at, one.etag) for at, one in ours if isinstance(one, ObjectInfo)][:MAX_OWN_PROBES]
        for pinned in (*own, *others) if others else ():
            if not await self._is_denied(pinned):
                return
        if others:
            was = others[0].location
            raise ConfigurationError(f"{detail}: so for {next(iter(denied))}, and for {was}, which was read before")
        if len(denied) == len({at for at, _ in ours}):
            reason = f"nothing in the bucket {self._bucket} may be read: {detail}"
            raise TransientError(
                reason,
                rejection=Rejected("source_denied", reason, [*denied.values()]),
                receive_pause=DENIED_PAUSE_SECONDS,
            )

    async def _is_denied(self, pinned: ObjectVersion) -> bool:
        try:
            await self._fetcher.read(pinned, 0, [memoryview(bytearray(1))])
        except SourceUnavailable as error:
            return error.code == "source_denied"
        except SourceChanged:
            return False  # that much may be seen of it
        return False
