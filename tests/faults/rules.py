"""Rules: which calls fail, and how."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from .history import SCENARIO_CLIENT, Exchange
from .http_streams import Answer, Blocks, Headers, replace_header
from .operations import Call, error_xml, refusal


def is_ranged(call: Call) -> bool:
    """Whether *call* reads a range: of an object whose size was known before."""
    return call.span is not None


def is_whole(call: Call) -> bool:
    return call.span is None


class CutError(Exception):
    """
    Close the connection to the client now.

    *reset*: with RST. *torn*: with FIN, but without a TLS close_notify. Neither: a normal close.
    """

    def __init__(self, *, reset: bool = False, torn: bool = False) -> None:
        super().__init__("the connection was cut on purpose")
        self.reset = reset
        self.torn = torn


class Action:
    """One kind of fault. Each of its four steps may sleep, change the data, or raise `CutError`."""

    def request_body(self, source: Blocks) -> Blocks:
        """Return the body of the request, as read from the client."""
        return source

    async def before(self, exchange: Exchange) -> Answer | None:
        """Run before the request is forwarded. A returned response is sent instead of forwarding the request."""
        return None

    async def after(self, exchange: Exchange, answer: Answer) -> Answer:
        """Run after the emulated AWS has responded. Return the response to send; a GetObject's body is ignored."""
        return answer

    def response_body(self, source: Blocks) -> Blocks:
        """Return the body of the response, as written to the client."""
        return source


@dataclass
class Rule:
    """
    Apply *action* to *times* matching calls in a row, from the *nth* (from 1) on. *times* None: to all of them.

    *key* and *queue* may contain `*` and `?`. *client* selects one worker. *when*: any further condition on the call.
    Calls of the test itself never match. A worker's permission probes do not match if *op* is set.
    """

    action: Action
    op: str | None = None
    bucket: str | None = None
    key: str | None = None
    part: int | None = None
    queue: str | None = None
    client: str | None = None
    nth: int = 1
    times: int | None = 1
    when: Callable[[Call], bool] = lambda _: True
    seen: int = field(default=0, init=False)
    fired: int = field(default=0, init=False)

    def applies(self, client: str, call: Call) -> bool:
        """Count the call if it matches, and return whether the action applies to it."""
        if not self._matches(client, call):
            return False
        self.seen += 1
        due = self.seen >= self.nth and (self.times is None or self.seen < self.nth + self.times)
        self.fired += due
        return due

    def _matches(self, client: str, call: Call) -> bool:
        exact = ((self.op, call.op), (self.bucket, call.bucket), (self.part, call.part), (self.client, client))
        globs = ((self.key, call.key), (self.queue, call.queue))
        return (
            client != SCENARIO_CLIENT
            and not (self.op and call.looks_at_rights)
            and all(expected is None or expected == actual for expected, actual in exact)
            and all(pattern is None or (text is not None and fnmatchcase(text, pattern)) for pattern, text in globs)
            and self.when(call)
        )


@dataclass
class Status(Action):
    """Return an AWS error without carrying out the request."""

    status: int
    code: str
    message: str = "a planned fault"

    async def before(self, exchange: Exchange) -> Answer | None:
        return refusal(exchange.call, self.status, self.code, self.message)


@dataclass
class OkWithError(Action):
    """Return status 200 with an error body, as S3 may do for CompleteMultipartUpload."""

    code: str = "InternalError"

    async def before(self, exchange: Exchange) -> Answer | None:
        return Answer(200, [("Content-Type", "application/xml")], error_xml(self.code, "a planned fault"))


@dataclass
class FixedResponse(Action):
    """Return this response. *forward*: carry out the request first."""

    status: int
    headers: Headers = ()
    body: bytes = b""
    forward: bool = False

    async def before(self, exchange: Exchange) -> Answer | None:
        return None if self.forward else Answer(self.status, self.headers, self.body)

    async def after(self, exchange: Exchange, answer: Answer) -> Answer:
        return Answer(self.status, self.headers, self.body)


@dataclass
class Delay(Action):
    """Wait *before_it* seconds before the request is forwarded, and *after_it* seconds before the response is sent."""

    before_it: float = 0
    after_it: float = 0

    async def before(self, exchange: Exchange) -> Answer | None:
        await asyncio.sleep(self.before_it)
        return None

    async def after(self, exchange: Exchange, answer: Answer) -> Answer:
        await asyncio.sleep(self.after_it)
        return answer


@dataclass
class Stall(Action):
    """Send nothing for *seconds*, then reset the connection. The request is not carried out."""

    seconds: float = 3600

    async def before(self, exchange: Exchange) -> Answer | None:
        await asyncio.sleep(self.seconds)
        raise CutError(reset=True)


@dataclass
class ResetBefore(Action):
    """Reset the connection before the request is carried out."""

    async def before(self, exchange: Exchange) -> Answer | None:
        raise CutError(reset=True)


@dataclass
class DropResponse(Action):
    """Carry out the request, then reset the connection instead of sending the response."""

    async def after(self, exchange: Exchange, answer: Answer) -> Answer:
        raise CutError(reset=True)


@dataclass
class Duplicate(Action):
    """Carry out the request twice, as after a retry by an intermediary. The second response is sent."""


@dataclass
class EditHeader(Action):
    """Change one header of the response; None removes it."""

    name: str
    value: str | None = None

    async def after(self, exchange: Exchange, answer: Answer) -> Answer:
        return Answer(answer.status, replace_header(answer.headers, self.name, self.value), answer.body)


@dataclass
class EditBody(Action):
    """Replace what *pattern* matches in the response's body, but not in an object's, by *replacement*."""

    pattern: bytes
    replacement: bytes

    async def after(self, exchange: Exchange, answer: Answer) -> Answer:
        body = re.sub(self.pattern, self.replacement, answer.body)
        return Answer(answer.status, replace_header(answer.headers, "Content-Length", str(len(body))), body)


@dataclass
class SideEffect(Action):
    """Run functions in a thread before or after the call, for example to replace an object or send a signal."""

    before_it: Callable[[], object] = lambda: None
    after_it: Callable[[], object] = lambda: None

    async def before(self, exchange: Exchange) -> Answer | None:
        await asyncio.to_thread(self.before_it)
        return None

    async def after(self, exchange: Exchange, answer: Answer) -> Answer:
        await asyncio.to_thread(self.after_it)
        return answer
