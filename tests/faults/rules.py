"""Which calls go wrong, and how."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from .history import SCENARIO_CLIENT, Exchange
from .http_streams import Answer, Blocks, Headers, replace_header
from .operations import Call, error_xml, refusal


class CutError(Exception):
    """
    The connection to the client ends here: with a RST where *reset*, without a word of TLS (close_notify) where *torn*,
    else as if all had been said.
    """

    def __init__(self, *, reset: bool = False, torn: bool = False) -> None:
        super().__init__("the connection was cut on purpose")
        self.reset = reset
        self.torn = torn


class Action:
    """One way to go wrong: any of its four steps may sleep, change what passes, or raise `CutError`."""

    def request_body(self, source: Blocks) -> Blocks:
        """The body of the request, as it is read from the client."""
        return source

    async def before(self, exchange: Exchange) -> Answer | None:
        """Before the request is forwarded. An answer given here is the answer, and nothing is forwarded."""
        return None

    async def after(self, exchange: Exchange, answer: Answer) -> Answer:
        """When the emulated AWS has done it and answered (of a GetObject's answer, only the head can be edited)."""
        return answer

    def response_body(self, source: Blocks) -> Blocks:
        """The body of the answer, as it is written to the client."""
        return source


@dataclass
class Rule:
    """
    *action* befalls the calls that match from the *nth* (from 1) on, *times* in a row; for ever where *times* is None.

    *key* and *queue* may hold `*` and `?`. Calls of the test itself never match, nor does a worker's look at its rights
    where *op* is named; *client* narrows to one worker.
    *when* may ask anything else of a call.
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
        """Count a call, and say whether it is one of those that go wrong."""
        if not self._matches(client, call):
            return False
        self.seen += 1
        due = self.seen >= self.nth and (self.times is None or self.seen < self.nth + self.times)
        self.fired += due
        return due

    def _matches(self, client: str, call: Call) -> bool:
        exact = ((self.op, call.op), (self.bucket, call.bucket), (self.part, call.part), (self.client, client))
        loose = ((self.key, call.key), (self.queue, call.queue))
        return (
            client != SCENARIO_CLIENT
            and not (self.op and call.looks_at_rights)
            and all(asked is None or asked == had for asked, had in exact)
            and all(asked is None or (had is not None and fnmatchcase(had, asked)) for asked, had in loose)
            and self.when(call)
        )


@dataclass
class Status(Action):
    """An error of AWS instead of what was asked."""

    status: int
    code: str
    message: str = "a planned fault"

    async def before(self, exchange: Exchange) -> Answer | None:
        return refusal(exchange.call, self.status, self.code, self.message)


@dataclass
class OkWithError(Action):
    """Status 200 and an error in the body, as S3 may answer CompleteMultipartUpload."""

    code: str = "InternalError"

    async def before(self, exchange: Exchange) -> Answer | None:
        return Answer(200, [("Content-Type", "application/xml")], error_xml(self.code, "a planned fault"))


@dataclass
class FixedResponse(Action):
    """Any answer at all. *forward*: after the request was carried out."""

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
    """Wait, in seconds: before the request goes on, and before its answer does."""

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
    """No answer, and nothing carried out, for *seconds*; then the connection is reset."""

    seconds: float = 3600

    async def before(self, exchange: Exchange) -> Answer | None:
        await asyncio.sleep(self.seconds)
        raise CutError(reset=True)


@dataclass
class ResetBefore(Action):
    """The connection is reset before the request is carried out."""

    async def before(self, exchange: Exchange) -> Answer | None:
        raise CutError(reset=True)


@dataclass
class DropResponse(Action):
    """The request is carried out, and the connection reset instead of an answer."""

    async def after(self, exchange: Exchange, answer: Answer) -> Answer:
        raise CutError(reset=True)


@dataclass
class Duplicate(Action):
    """The request is carried out twice, as after a retry by something in between; the second answer counts."""


@dataclass
class EditHeader(Action):
    """The answer with one header changed; None takes it away."""

    name: str
    value: str | None = None

    async def after(self, exchange: Exchange, answer: Answer) -> Answer:
        return Answer(answer.status, replace_header(answer.headers, self.name, self.value), answer.body)


@dataclass
class SideEffect(Action):
    """Something else happens just then: an object is replaced, a worker gets a signal. In a thread, and awaited."""

    before_it: Callable[[], object] = lambda: None
    after_it: Callable[[], object] = lambda: None

    async def before(self, exchange: Exchange) -> Answer | None:
        await asyncio.to_thread(self.before_it)
        return None

    async def after(self, exchange: Exchange, answer: Answer) -> Answer:
        await asyncio.to_thread(self.after_it)
        return answer
