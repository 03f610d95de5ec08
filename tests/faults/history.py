"""Every request and every answer that passed the proxy, in order; and every archive that could be seen."""

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
    One request and what became of it.

    Times are of the monotonic clock, in seconds: *began* when its head had arrived, *committed* when the emulated AWS
    had carried it out (None: it never did), *ended* when its answer was out, or wasn't going to be.
    *status* is what the client was told, None where it was told nothing; *aborted*: the answer broke off.
    *faults* are the actions that were planned for it. *facts* are what `facts.facts_of` found.
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
        """Whether the client knows that it was done."""
        return self.committed is not None and self.status is not None and self.status < 300 and not self.aborted


@dataclass(frozen=True, slots=True)
class ObservedArchive:
    """What stood at an archive's key at one moment."""

    at: float
    key: str
    body: bytes = field(repr=False)


class History:
    """Grows while the proxy works, in one thread; others may read it at any time."""

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
        The exchanges of these operations, of one client or of all workers (the stage's own calls are left out, and
        those that only look whether it is answered).
        """
        chosen = (e for e in list(self.exchanges) if (not ops or e.op in ops) and not e.call.is_look)
        return [e for e in chosen if (e.client != SCENARIO_CLIENT if client is None else e.client == client)]

    def lines(self) -> Iterator[str]:
        """The history as JSON, one exchange a line."""
        return (json.dumps(_plain(exchange), default=str) for exchange in list(self.exchanges))


SCENARIO_CLIENT = "stage"
"""The client name of the test's own calls: no rule applies to them and no promise binds them."""


def _plain(exchange: Exchange) -> Mapping[str, Any]:
    record = asdict(exchange)
    call = record.pop("call")
    named = {name: value for name, value in call.items() if value is not None and name != "fields"}
    return {"seq": record.pop("seq"), "client": record.pop("client"), **named, **record}
