"""The history of a scenario: all requests and responses at the proxy, in order, and all archives that appeared."""

import itertools
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .operations import Call


@dataclass(slots=True)
class Exchange:
    """
    One request and its response.

    Times are monotonic, in seconds. *began*: the request's head was read. *committed*: the emulated AWS had carried
    it out; None if it did not. *ended*: the response was sent or dropped. *status*: sent to the client, None if no
    response was sent. *aborted*: the response was not sent completely. *faults*: the actions applied to the call.
    *facts*: the fields of request and response (`fields.py`).
    """

    seq: int
    client: str
    call: Call
    began: float
    committed: float | None = None
    ended: float | None = None
    status: int | None = None
    aborted: bool = False
    faults: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def op(self) -> str:
        return self.call.op

    @property
    def ok(self) -> bool:
        """Whether the client received a complete success response."""
        return self.committed is not None and self.status is not None and self.status < 300 and not self.aborted


@dataclass(frozen=True, slots=True)
class ObservedArchive:
    """The object at an archive's key at one time."""

    at: float
    key: str
    body: bytes = field(repr=False)


class History:
    """Exchanges and archives. The proxy's thread appends; other threads may read at any time."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.observed_archives: list[ObservedArchive] = []
        self._numbers = itertools.count(1)

    def begin(self, client: str, call: Call) -> Exchange:
        exchange = Exchange(next(self._numbers), client, call, time.monotonic())
        self.exchanges.append(exchange)
        return exchange

    def record_archive(self, key: str, body: bytes) -> None:
        self.observed_archives.append(ObservedArchive(time.monotonic(), key, body))

    def select(self, *ops: str, client: str | None = None) -> list[Exchange]:
        """
        Return the exchanges of these operations, of one client or of all workers.

        The scenario's own calls and permission probes (`Call.is_look`) are left out.
        """
        chosen = (e for e in list(self.exchanges) if (not ops or e.op in ops) and not e.call.is_look)
        return [e for e in chosen if (e.client != SCENARIO_CLIENT if client is None else e.client == client)]

    def lines(self) -> Iterator[str]:
        """Return the history as JSON, one exchange per line."""
        return (json.dumps(_plain(exchange), default=str) for exchange in list(self.exchanges))


SCENARIO_CLIENT = "stage"
"""The client name of the test's own calls. Neither rules nor promises apply to them."""


def _plain(exchange: Exchange) -> Mapping[str, Any]:
    record = asdict(exchange)
    call = record.pop("call")
    named = {name: value for name, value in call.items() if value is not None and name != "fields"}
    return {"seq": record.pop("seq"), "client": record.pop("client"), **named, **record}
