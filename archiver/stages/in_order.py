"""Members that arrive in any order are added to an archive in its order."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from archiver.core.plan import Member
from archiver.stages.assemble import RESERVED_BUFFERS, Assembly
from archiver.stages.budget import Reservation
from archiver.stages.room import Room

YIELD_EVERY_MEMBERS = 1000  # members that are added before the event loop runs other tasks


@dataclass(slots=True)
class Arrival:
    """
    A member whose turn to be added comes. *body* with its CRC-32; None: it is read when it is added. *charged*: bytes
    of room that it occupies.
    """

    member: Member
    crc32: int = 0
    body: bytes | memoryview | None = None
    charged: int = 0


class InOrder:
    """
    The members of one archive, by number from 0 to *count* - 1. *on_added* is called with the number of members that
    were added, which makes room for others. *give_up_requests* returns room that no body is in yet.
    """

    def __init__(
        self, count: int, room: Room, on_added: Callable[[int], None], give_up_requests: Callable[[], None]
    ) -> None:
        self.count = count
        self.added = 0
        """Members that were added: the number of the next one."""
        self.known_bytes = 0
        """Of all members that have arrived and could not be added at once."""
        self.check_bodies: Callable[[int], None] = lambda _: None
        """Raises OutgrownError if so many are too many, CopiesPayError if it is better to begin anew."""
        self._room = room
        self._on_added = on_added
        self._give_up_requests = give_up_requests
        self._waiting: dict[int, Arrival] = {}
        self._assembly: Assembly | None = None
        self._busy = False  # `feed` adds a member
        self._turn = asyncio.Event()
        self._kept = asyncio.Event()

    @property
    def arrived(self) -> int:
        """Members that are known."""
        return self.added + len(self._waiting)

    @property
    def all_arrived(self) -> bool:
        return self.arrived == self.count

    @property
    def waits_for_assembly(self) -> bool:
        return self._assembly is None

    @property
    def waiting(self) -> list[Member]:
        """The members that wait, in order."""
        return [self._waiting[number].member for number in sorted(self._waiting)]

    def put(self, number: int, member: Member, crc: int, body: bytes | memoryview, charged: int) -> bool:
        """
        Add the member if it is its turn and needs no wait. Return False if it has to wait: then `keep` keeps it.
        """
        if number != self.added or self._busy or self._assembly is None:
            return False
        if not self._assembly.place(member, crc, body):
            return False
        self._room.give(charged)
        self.added += 1
        if self.added in self._waiting:
            self._drain()
        else:
            self._on_added(1)
        if self.added == self.count:
            self._turn.set()
        return True

    def keep(self, number: int, arrival: Arrival) -> None:
        """Keep a member until it is its turn. Its body is its own by now."""
        self._waiting[number] = arrival
        self.known_bytes += arrival.member.size
        self._kept.set()
        if number == self.added:
            self._turn.set()

    def _place(self, arrival: Arrival) -> bool:
        if self._assembly is None or arrival.body is None:
            return False
        return self._assembly.place(arrival.member, arrival.crc32, arrival.body)

    def _drain(self) -> None:
        """Add what has waited, as far as that needs no wait."""
        before = self.added
        while (arrival := self._waiting.get(self.added)) is not None:
            if not self._place(arrival):
                self._turn.set()
                break
            self._forget(arrival)
        self._on_added(self.added - before + 1)

    def _forget(self, arrival: Arrival) -> None:
        del self._waiting[self.added]
        self._room.give(arrival.charged)
        self.added += 1

    async def feed(self, assembly: Assembly, reservation: Reservation) -> None:
        """Add all members to *assembly*, in order. The room may use a buffer of *reservation* that is not needed."""
        self._assembly, self._room.reservation = assembly, reservation
        reservation.spared = 1 if reservation.reserved == RESERVED_BUFFERS else 0
        self._room.refresh()
        try:
            await self._feed(assembly, reservation)
        except BaseException:
            # Lanes that are cancelled still receive what came in the same turn of the event loop, when the buffers may
            # be another job's.
            self._assembly = None
            raise

    async def _feed(self, assembly: Assembly, reservation: Reservation) -> None:
        while self.added < self.count:
            arrival = self._waiting.get(self.added)
            if arrival is None:
                self._turn.clear()
                await self._turn.wait()
                continue
            self.check_bodies(self.known_bytes)
            self._busy = True
            if reservation.spared and assembly.ledger.parts_touched(arrival.member) >= RESERVED_BUFFERS:
                reservation.spared = 0
                self._room.refresh()
                await self._leave_spared_buffer()
            await assembly.add(arrival.member, arrival.crc32, arrival.body)
            self._busy = False
            reservation.spared = 1 if reservation.reserved == RESERVED_BUFFERS else 0
            self._forget(arrival)
            if self.added in self._waiting:
                self._drain()
            else:
                self._on_added(1)
            if not self.added % YIELD_EVERY_MEMBERS:
                await asyncio.sleep(0)

    async def _leave_spared_buffer(self) -> None:
        """
        Free the buffer which the room used: with bytes that no other job needs, else at the cost of reading objects
        again. Wait only for bodies that are on their way; they end by themselves.
        """
        while not self._room.take(0):
            self._kept.clear()
            self.give_up_bodies()
            self._give_up_requests()
            if self._room.overfull:
                await self._kept.wait()

    def give_up_bodies(self) -> None:
        """Give up bodies that wait, the last first, until the room is not overfull: their objects are read again."""
        for number in sorted(self._waiting, reverse=True):
            if not self._room.overfull:
                return
            arrival = self._waiting[number]
            if arrival.charged:
                charged, arrival.body, arrival.charged = arrival.charged, None, 0
                self._room.give(charged)
