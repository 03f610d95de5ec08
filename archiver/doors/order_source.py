"""A MessageSource of orders that are all known at the start."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from archiver.core.orders import SOURCE_ID
from archiver.errors import LeaseLost
from archiver.ports import Attribute, Message, QueueFacts

MAX_RECEIVES = 3
VISIBILITY = 30  # seconds
POLL_SECONDS = 1.0


@dataclass(slots=True)
class Order:
    """One order. *available_at*: on the monotonic clock; *receives*: so far."""

    id: str
    body: str
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    receives: int = 0
    available_at: float = -math.inf
    first_received: str = ""


class OrderSource:
    """
    Gives out *orders* in their order, at most *at_once* at a time: the next one when the last one has ended. One that
    is released comes again after the others, for the last time at its third receive. *on_end* is called when all have
    ended.
    """

    def __init__(
        self,
        orders: Iterable[Order] = (),
        *,
        on_end: Callable[[], None],
        at_once: int = 1,
        visibility: int = VISIBILITY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._facts = QueueFacts(SOURCE_ID, visibility, math.inf, MAX_RECEIVES)
        self._waiting = deque(orders)
        self._held: dict[str, tuple[Order, float]] = {}  # by receipt, with the time until which it is held
        self._on_end = on_end
        self._at_once = at_once
        self._clock = clock
        self._changed = asyncio.Event()
        self._receipts = 0

    @property
    def facts(self) -> QueueFacts:
        return self._facts

    @property
    def unfinished(self) -> int:
        """How many orders have not ended."""
        return len(self._waiting) + len(self._held)

    def add(self, order: Order) -> None:
        """Give out *order* after the others."""
        self._waiting.append(order)
        self._changed.set()

    async def receive(self, limit: int) -> list[Message]:
        received_at = self._clock()
        if not (taken := self._take(limit)):
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._changed.wait()
            taken = self._take(limit)
        return [self._deliver(order, received_at) for order in taken]

    def _pause(self) -> float:
        """Return the seconds until an order becomes available, at most those of one poll."""
        times = [order.available_at for order in self._waiting] + [until for _, until in self._held.values()]
        return max(0.0, min([POLL_SECONDS, *(at - self._clock() for at in times)]))

    def _take(self, limit: int) -> list[Order]:
        now = self._clock()
        for receipt, (order, until) in list(self._held.items()):
            if until < now:  # its lease was lost, for example because the process was suspended
                del self._held[receipt]
                self._waiting.append(order)
        ready = [order for order in self._waiting if order.available_at <= now]
        taken = ready[: max(0, min(limit, self._at_once - len(self._held)))]
        for order in taken:
            self._waiting.remove(order)
        return taken

    def _deliver(self, order: Order, received_at: float) -> Message:
        self._receipts += 1
        receipt = f"receipt-{self._receipts}"
        order.receives += 1
        order.first_received = order.first_received or str(int(time.time() * 1000))
        self._held[receipt] = (order, received_at + self._facts.visibility)
        return Message(
            order.id,
            order.body,
            receipt,
            received_at,
            order.receives,
            datetime.now(UTC),
            order.first_received,
            attributes=order.attributes,
        )

    async def extend(self, message: Message, seconds: int) -> None:
        order = self._order_of(message)
        self._held[message.receipt] = (order, self._clock() + seconds)

    async def release(self, message: Message, delay: int) -> None:
        order = self._order_of(message)
        del self._held[message.receipt]
        order.available_at = self._clock() + delay
        self.add(order)

    async def delete(self, message: Message) -> None:
        self._order_of(message)
        del self._held[message.receipt]
        self._changed.set()
        if not self.unfinished:
            self._on_end()

    def _order_of(self, message: Message) -> Order:
        order, until = self._held.get(message.receipt, (None, -math.inf))
        if order is None or until < self._clock():
            raise LeaseLost("the order is not held any more")
        return order
