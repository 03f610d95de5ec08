"""HEAD and GET on the fast path: one attempt a call, held to one version, errors translated."""

from collections.abc import Sequence

from archiver.aws.endpoint import Endpoint
from archiver.aws.s3_responses import ExpectedRange, object_info, read_error
from archiver.aws.s3_transport import S3Request, S3Transport, Session, TransportConfig
from archiver.core.locations import Location
from archiver.core.plan import ObjectInfo
from archiver.errors import SourceChanged, TransferInterrupted
from archiver.http.parse import Head

_CHECKSUMS = (("x-amz-checksum-mode", "ENABLED"),)


class S3Reader:
    """An `ObjectReader` for S3. As many calls at once as the caller likes; `close` ends all connections."""

    def __init__(self, session: Session, endpoint: Endpoint, config: TransportConfig | None = None) -> None:
        self._transport = S3Transport(session, endpoint, config)
        self._request = self._transport.request
        self.close = self._transport.close

    async def head(self, location: Location) -> ObjectInfo:
        """
        What S3 says of the object.

        Raises SourceUnavailable (missing, denied, archived), TransferInterrupted, CredentialsRefused,
        ConfigurationError.
        """
        request = S3Request("HEAD", location, _accept_any, amz=_CHECKSUMS)
        response = await self._request(request)
        if 400 <= response.head.status < 500 and response.head.status not in (404, 429):  # noqa: PLR2004
            # HEAD has no body, so no code: 403 alone may be denial, a wrong clock or a spent token.
            await self._raise_get_error(location)
            response = await self._request(request)
        if response.head.status < 300:  # noqa: PLR2004
            return object_info(response.head)
        raise read_error(response)

    async def read(self, location: Location, etag: str, start: int, into: Sequence[memoryview]) -> None:
        """
        Fill *into* with the object's bytes from *start* on; at least one byte has to be asked for.

        Raises TransferInterrupted with the number of good bytes received, SourceChanged, SourceUnavailable (it may not
        be read), CredentialsRefused, ConfigurationError.
        """
        if not etag.isprintable():  # it would end its header line; and no ETag that we were told is like that
            raise SourceChanged("no object has this ETag")
        end = start + sum([view.nbytes for view in into]) - 1
        lines = f"Range: bytes={start}-{end}\r\nIf-Match: {etag}\r\n"
        response = await self._request(S3Request("GET", location, ExpectedRange(etag, start, end).check, into, lines))
        if response.head.status >= 300:  # noqa: PLR2004
            raise read_error(response, pinned=True)

    async def _raise_get_error(self, location: Location) -> None:
        """Ask by GET for the code that HEAD does not tell; return where GET finds nothing wrong."""
        try:
            response = await self._request(S3Request("GET", location, _stop_at_head, lines="Range: bytes=0-0\r\n"))
        except _ObjectReadable:
            return
        if response.head.status != 416:  # noqa: PLR2004 - an empty object has no first byte, and is readable
            raise read_error(response)


class _ObjectReadable(TransferInterrupted):
    """GET would answer: the question is settled, the body not wanted."""


def _accept_any(_: Head) -> None:
    """HEAD's success has no body to be held to anything."""


def _stop_at_head(_: Head) -> None:
    raise _ObjectReadable("not wanted")
