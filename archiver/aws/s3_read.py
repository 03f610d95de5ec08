"""HEAD and GET on the fast path: one attempt a call, held to one version, errors translated."""

from collections.abc import Sequence

from archiver.aws.endpoint import Endpoint
from archiver.aws.s3_responses import Wanted, object_info, object_problem
from archiver.aws.s3_transport import Ask, Session, Wire, WireConfig
from archiver.core.locations import Location
from archiver.core.plan import ObjectInfo
from archiver.errors import Interrupted, SourceChanged
from archiver.http.parse import Head

_CHECKSUMS = (("x-amz-checksum-mode", "ENABLED"),)


class S3Reader:
    """An `ObjectReader` for S3. As many calls at once as the caller likes; `close` ends all connections."""

    def __init__(self, session: Session, endpoint: Endpoint, config: WireConfig | None = None) -> None:
        self._wire = Wire(session, endpoint, config)
        self._ask = self._wire.ask
        self.close = self._wire.close

    async def head(self, location: Location) -> ObjectInfo:
        """
        What S3 says of the object.

        Raises SourceUnavailable (missing, denied, archived), Interrupted, CredentialsRefused, ConfigurationFault.
        """
        ask = Ask("HEAD", location, _accept, amz=_CHECKSUMS)
        answer = await self._ask(ask)
        if 400 <= answer.head.status < 500 and answer.head.status not in (404, 429):  # noqa: PLR2004
            # HEAD has no body, so no code: 403 alone may be denial, a wrong clock or a spent token.
            await self._ask_why(location)
            answer = await self._ask(ask)
        if answer.head.status < 300:  # noqa: PLR2004
            return object_info(answer.head)
        raise object_problem(answer)

    async def read(self, location: Location, etag: str, start: int, into: Sequence[memoryview]) -> None:
        """
        Fill *into* with the object's bytes from *start* on; at least one byte has to be asked for.

        Raises Interrupted with the number of good bytes received, SourceChanged, SourceUnavailable (it may not be
        read), CredentialsRefused, ConfigurationFault.
        """
        if not etag.isprintable():  # it would end its header line; and no ETag that we were told is like that
            raise SourceChanged("no object has this ETag")
        end = start + sum([view.nbytes for view in into]) - 1
        lines = f"Range: bytes={start}-{end}\r\nIf-Match: {etag}\r\n"
        answer = await self._ask(Ask("GET", location, Wanted(etag, start, end).check, into, lines))
        if answer.head.status >= 300:  # noqa: PLR2004
            raise object_problem(answer, pinned=True)

    async def _ask_why(self, location: Location) -> None:
        """Ask by GET for the code that HEAD does not tell; return where GET finds nothing wrong."""
        try:
            answer = await self._ask(Ask("GET", location, _stop, lines="Range: bytes=0-0\r\n"))
        except _Readable:
            return
        if answer.head.status != 416:  # noqa: PLR2004 - an empty object has no first byte, and is readable
            raise object_problem(answer)


class _Readable(Interrupted):
    """GET would answer: the question is settled, the body not wanted."""


def _accept(_: Head) -> None:
    """HEAD's success has no body to be held to anything."""


def _stop(_: Head) -> None:
    raise _Readable("not wanted")
