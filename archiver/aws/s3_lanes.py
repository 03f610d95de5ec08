"""Many HEADs and GETs of whole objects, one after another over few connections; see `archiver.http.lane`."""

import time
from collections.abc import Mapping
from typing import NamedTuple

from archiver.aws.endpoint import BucketEndpoint, UnusableNameError, encoded_path
from archiver.aws.plain_head import PlainHeads
from archiver.aws.s3_transport import COMMON_HEADERS, S3Transport
from archiver.aws.sigv4 import RequestTemplate, SigningInput
from archiver.core.locations import Location
from archiver.errors import ArchiverError
from archiver.http.lane import NOT_PLAIN, SCRATCH_BYTES, Ended, Lane
from archiver.http.pool import Origin
from archiver.ports import ReadQueue, Unanswered, WholeRead

_CHECKSUMS = ("x-amz-checksum-mode", "ENABLED")
_THROTTLED = (b"HTTP/1.1 503", b"HTTP/1.1 429")
_MAX_TEMPLATES = 1024


class S3Lanes:
    """
    Lanes over the connections that all *transports* share. Each request is signed by the transport of its location's
    role ("": the worker's own), whoever used the connection before: S3 authorises each request, never a connection.
    """

    def __init__(self, transports: Mapping[str, S3Transport]) -> None:
        self._transports = transports
        self._requests = _Requests(transports)
        self._heads = PlainHeads()
        self._scratch = bytearray(SCRATCH_BYTES)

    async def serve(self, queue: ReadQueue) -> Unanswered | None:
        """
        Answer the requests of *queue* one after another, over one connection at a time, until it has none (None), or
        until one can't be answered so: it is returned.
        """
        lane = _S3Lane(self._scratch, queue, self._requests, self._heads)
        while lane.has_request():
            try:
                transport = self._transports[lane.read.location.role]
                lane.origin = await _origin(transport, lane.read.location)
                await transport.pool.lend(lane.origin, lane)
            except (ArchiverError, UnusableNameError) as error:
                return Unanswered(lane.read, str(error))
            if lane.ended is Ended.UNUSUAL:
                return Unanswered(lane.read, lane.reason, lane.throttled)
        return None


async def _origin(transport: S3Transport, location: Location) -> Origin:
    """Prepare for a request for *location*: return where it goes. Raises UnusableNameError, ArchiverError."""
    await transport.current_credentials()
    endpoint = transport.endpoint.resolve(location.bucket)
    encoded_path(endpoint, location)
    if not transport.pool.reaches_directly(endpoint.origin):
        raise UnusableNameError("requests go through a proxy that forwards them")
    return endpoint.origin


class _S3Lane(Lane):
    """One lane. *read*: the request that is to be sent, or was sent last."""

    __slots__ = ("_arrived", "_heads", "_info", "_queue", "_requests", "_unsent", "origin", "read", "throttled")

    read: WholeRead
    origin: Origin

    def __init__(self, scratch: bytearray, queue: ReadQueue, requests: "_Requests", heads: PlainHeads) -> None:
        super().__init__(scratch)
        self._heads = heads
        self._queue = queue
        self._requests = requests
        self._unsent = False
        self.throttled = False

    def has_request(self) -> bool:
        """Return whether there is a request to send; it is taken from the queue then."""
        if not self._unsent:
            read = self._queue.next()
            if read is None:
                return False
            self.read, self._unsent = read, True
        return True

    def next_request(self) -> bytes | None:
        if not self._unsent and not self.has_request():
            return None
        try:
            request = self._requests.build(self.read, self.origin)
        except UnusableNameError:
            return None  # the next run finds it out, too
        self._unsent = request is None
        return request

    def read_head(self, head: bytes) -> int:
        info, read = self._heads.read(head), self.read
        if info is None or (read.etag is not None and info.etag != read.etag):
            self.throttled = head.startswith(_THROTTLED)
            return NOT_PLAIN
        self._arrived, self._info = read, info
        return 0 if read.method == "HEAD" else info.size

    def space(self, length: int) -> memoryview | None:
        return self._queue.space(self._arrived, length)

    def take(self, body: memoryview | None) -> None:
        self._queue.arrived(self._arrived, self._info, body)


class _Template(NamedTuple):
    second: int
    endpoint: BucketEndpoint
    signing: RequestTemplate


class _Requests:
    """Builds requests, out of templates that serve all lanes for one second."""

    def __init__(self, transports: Mapping[str, S3Transport]) -> None:
        self._transports = transports
        self._templates: dict[tuple[str, str, str], _Template] = {}

    def build(self, read: WholeRead, origin: Origin) -> bytes | None:
        """
        Return the request; None if it needs another connection than one to *origin*, or new credentials. Raises
        UnusableNameError.
        """
        template = self._templates.get((read.method, read.location.bucket, read.location.role))
        if template is None or template.second != int(time.time()):
            template = self._renew(read)
        if template is None or template.endpoint.origin != origin:
            return None
        path = encoded_path(template.endpoint, read.location)
        pinned = "" if read.etag is None else f"If-Match: {read.etag}\r\n"
        return (f"{read.method} {path} HTTP/1.1\r\n{template.signing.sign(path)}{COMMON_HEADERS}{pinned}\r\n").encode(
            "latin-1"
        )

    def _renew(self, read: WholeRead) -> _Template | None:
        bucket, role, now = read.location.bucket, read.location.role, time.time()
        transport = self._transports[role]
        credentials = transport.cached_credentials
        if credentials is None:
            return None
        endpoint = transport.endpoint.resolve(bucket)
        amz = (_CHECKSUMS, *transport.headers.lines(read.method, bucket, ""))
        subject = SigningInput(read.method, endpoint.host, "", amz)
        signing = transport.signer.template(subject, endpoint.region, credentials, now)
        if len(self._templates) >= _MAX_TEMPLATES:  # buckets come from requests
            self._templates.clear()
        template = self._templates[read.method, bucket, role] = _Template(int(now), endpoint, signing)
        return template
