"""Webhooks: answers as POST requests, to a URL of the settings or of a request."""

import asyncio
import time
from collections.abc import Callable, Mapping

from archiver import __version__
from archiver.core.webhooks import CallbackRules, WebhookUrl, webhook_headers
from archiver.errors import RequestRefused, TransientError
from archiver.http.exchange import HttpRequest
from archiver.http.parse import Head
from archiver.http.pool import HttpPool, Origin
from archiver.jobs.best_effort import BackgroundSends, BestEffortNotifier, ReceiverGone
from archiver.ports import Attribute, Notifier, OutgoingMessage

MAX_BODY_BYTES = 256 * 1024
TRY_SECONDS = 10.0  # for one request, from the name lookup to the head of the response
MAX_GONE = 1000  # URLs that are remembered
_GONE = 410


class Webhooks:
    """
    Makes notifiers that post with *pool*, signed with *key* (None: unsigned). Its URLs that have answered 410 (Gone)
    are sent nothing more. *clock*: seconds since the epoch.

    Of responses, the status counts: 2xx is accepted. The body is not waited for, redirects are not followed.
    """

    def __init__(
        self,
        pool: HttpPool,
        key: bytes | None,
        clock: Callable[[], float] = time.time,
        try_seconds: float = TRY_SECONDS,
    ) -> None:
        self._pool = pool
        self._try_seconds = try_seconds
        self._key = key
        self._clock = clock
        self._gone: dict[WebhookUrl, None] = {}

    def notifier(self, url: WebhookUrl) -> "WebhookNotifier":
        """Return the notifier that posts to *url*."""
        return WebhookNotifier(self, url)

    async def post(self, url: WebhookUrl, note: OutgoingMessage) -> None:
        """Post *note* once. Raises TransientError; RequestRefused if trying again can't help."""
        if url in self._gone:
            raise ReceiverGone(f"{url.host} has answered 410 (Gone): it is sent nothing more")
        body = note.body.encode()
        headers = webhook_headers(note.id, int(self._clock()), body, self._key)
        request = HttpRequest("POST", _head(url, headers, len(body)), None, _accept_any, memoryview(body), 0)
        try:
            async with asyncio.timeout(self._try_seconds):
                response = await self._pool.request(Origin(url.tls, url.host, url.port), request)
        except TimeoutError as error:
            raise TransientError(f"{url.host}: no response within {self._try_seconds:.0f} s") from error
        self._judge(url, response.head.status)

    def _judge(self, url: WebhookUrl, status: int) -> None:
        if 200 <= status < 300:  # noqa: PLR2004
            return
        if status == _GONE:
            while len(self._gone) >= MAX_GONE:
                del self._gone[next(iter(self._gone))]
            self._gone[url] = None
            raise RequestRefused(f"{url.host} answered 410 (Gone): it is sent nothing more")
        if 300 <= status < 400:  # noqa: PLR2004
            raise RequestRefused(f"{url.host} answered {status}: redirects are not followed")
        raise TransientError(f"{url.host} answered {status}")


class WebhookNotifier:
    """A Notifier that posts to *url*, once for each `send`."""

    def __init__(self, webhooks: Webhooks, url: WebhookUrl) -> None:
        self._webhooks = webhooks
        self._url = url

    def max_body_bytes(self, attributes: Mapping[str, Attribute]) -> int:  # noqa: ARG002
        return MAX_BODY_BYTES

    async def send(self, note: OutgoingMessage) -> None:
        await self._webhooks.post(self._url, note)


class Callbacks:
    """The notifiers of requests that name a `callback_url`, as far as *rules* allow: in the background."""

    def __init__(self, rules: CallbackRules, webhooks: Webhooks, sends: BackgroundSends) -> None:
        self._rules = rules
        self._webhooks = webhooks
        self._sends = sends

    def notifier(self, url: str) -> Notifier:
        """Return what posts to *url*. Raises Rejected if requests may not name it."""
        checked = self._rules.check(url)
        return BestEffortNotifier(self._webhooks.notifier(checked), f"callback_url {checked.host}", self._sends)


def _head(url: WebhookUrl, headers: Mapping[str, str], length: int) -> bytes:
    lines = {
        "host": url.authority,
        "user-agent": f"archiver/{__version__}",
        "content-type": "application/json",
        "content-length": str(length),
        **headers,
    }
    named = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {url.target} HTTP/1.1\r\n{named}\r\n".encode("ascii")


def _accept_any(head: Head) -> None:
    """Judge no response before it is complete."""
    del head
