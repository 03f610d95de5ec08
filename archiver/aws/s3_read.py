"""HEAD, GET and listings with the own HTTP client: one attempt per call, pinned to one version, errors mapped."""

from collections.abc import Sequence

from archiver.aws.endpoint import Endpoint
from archiver.aws.s3_lanes import S3Lanes
from archiver.aws.s3_list import list_page
from archiver.aws.s3_responses import ExpectedRange, object_info, read_error
from archiver.aws.s3_transport import S3Request, S3Transport, Session, TransportConfig
from archiver.core.locations import Location
from archiver.core.objects import ListPage, ObjectInfo
from archiver.core.select import Prefix
from archiver.errors import SourceChanged, TransferInterrupted
from archiver.http.parse import Head
from archiver.http.pool import HttpPool

_CHECKSUMS = (("x-amz-checksum-mode", "ENABLED"),)


class S3Reader:
    """The `ObjectReader` for S3. Calls may run concurrently; `close` closes all connections."""

    def __init__(
        self,
        session: Session,
        endpoint: Endpoint,
        config: TransportConfig | None = None,
        pool: HttpPool | None = None,
    ) -> None:
        self.transport = S3Transport(session, endpoint, config, pool)
        self._endpoint = endpoint
        self._config = config
        self._request = self.transport.request
        self.serve = S3Lanes({"": self.transport}).serve
        self.close = self.transport.close

    def with_session(self, session: Session) -> "S3Reader":
        """
        Return a reader with the credentials of *session*, and with the connections of this reader, which closes them.
        """
        return S3Reader(session, self._endpoint, self._config, self.transport.pool)

    async def head(self, location: Location) -> ObjectInfo:
        """
        Return size, ETag, date, content type and CRC-32 of the object.

        Raises SourceUnavailable (missing, denied, archived), TransferInterrupted, CredentialsRefused,
        ConfigurationError.
        """
        request = S3Request("HEAD", location, amz=_CHECKSUMS)
        response = await self._request(request)
        if 400 <= response.head.status < 500 and response.head.status not in (404, 429):  # noqa: PLR2004
            # A response to HEAD has no code: a 403 may be a denial, a wrong clock or an expired token.
            await self._raise_get_error(location)
            response = await self._request(request)
        if response.head.status < 300:  # noqa: PLR2004
            return object_info(response.head)
        raise read_error(response)

    async def list(self, prefix: Prefix, token: str = "") -> ListPage:
        """
        Return one page of the objects under *prefix*, at most 1,000.

        Raises SourceUnavailable (the bucket is missing or may not be listed), TransferInterrupted, CredentialsRefused,
        ConfigurationError.
        """
        return await list_page(self._request, prefix, token)

    async def read(self, location: Location, etag: str, start: int, into: Sequence[memoryview]) -> None:
        """
        Fill *into*, at least one byte, with the object's bytes from *start* on.

        Raises TransferInterrupted with the number of valid bytes received, SourceChanged, SourceUnavailable (denied),
        CredentialsRefused, ConfigurationError.
        """
        if not etag.isprintable():  # it would break the header line; S3 returns no such ETag
            raise SourceChanged("no object has this ETag")
        end = start + sum([view.nbytes for view in into]) - 1
        lines = f"Range: bytes={start}-{end}\r\nIf-Match: {etag}\r\n"
        response = await self._request(S3Request("GET", location, ExpectedRange(etag, start, end).check, into, lines))
        if response.head.status >= 300:  # noqa: PLR2004
            raise read_error(response, pinned=True)

    async def _raise_get_error(self, location: Location) -> None:
        """Send a GET for the error code that HEAD lacks, and raise its error; return if the GET succeeds."""
        try:
            response = await self._request(S3Request("GET", location, _stop_at_head, lines="Range: bytes=0-0\r\n"))
        except _ObjectReadable:
            return
        if response.head.status != 416:  # noqa: PLR2004 - 416: an empty object, which is readable
            raise read_error(response)


class _ObjectReadable(TransferInterrupted):
    """The GET succeeded: its body is not read."""


def _stop_at_head(_: Head) -> None:
    raise _ObjectReadable("not wanted")
