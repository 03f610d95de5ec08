"""
Small objects by one GET each: it tells an object's size, and brings its bytes.

Lanes ask for the objects in the archive's order, and their responses come in any. A member's address is known once all
members before it are known, so a body that comes early waits in the job's `Room`. The window of requests ahead is thus
counted in bytes. A response that is late holds up all behind it: its object is asked for once more, and the first
response counts (a *hedge*).

An object of more than `MAX_BODY_BYTES` is given up at its head, which costs a connection. It is then read in ranges,
directly into its place (`stages.assemble`), and so is whatever found no room. While most objects are large, they are
asked for by HEAD.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from archiver.core.draft import DraftFile
from archiver.core.objects import ObjectInfo
from archiver.core.plan import Member, ObjectVersion, member_for
from archiver.ports import Unanswered, WholeRead
from archiver.stages.checksums import crc32
from archiver.stages.fetch import Fetcher
from archiver.stages.in_order import Arrival, InOrder
from archiver.stages.lanes import LaneQueue
from archiver.stages.room import Room

if TYPE_CHECKING:
    from archiver.core.copy_gain import CopyGain

MAX_BODY_BYTES = 1024 * 1024
MAX_AHEAD = 4096  # files, of the first that is not added
FIRST_ESTIMATE = 64 * 1024  # bytes of a body, while none has arrived
ESTIMATED_EVERY = 16  # responses
WOKEN_LANES = 4
FIRST_REQUESTS = 16  # at once; two more for each response
HEDGE_TICK_SECONDS = 0.025
HEDGE_TICKS = 6  # without progress
OVERTAKEN_TICKS, OVERTAKEN_BY = 2, 16  # sooner if so many that were asked for later are there: the store is not slow
MIN_HEDGES, HEDGED_SHARE = 8, 50  # at most one in so many objects is asked for twice


class Gather(LaneQueue):
    """
    Brings the members of one archive. *files*: what is known of each. A `Member` is known: its object is asked for at
    its ETag if it is small: at most *max_body* bytes, which touch no more than two parts. *kept*: the numbers of those
    whose bytes are in the archive already. *gain*: is told of all large members; None: nothing can be copied.
    """

    def __init__(
        self,
        files: Sequence[DraftFile | Member],
        fetcher: Fetcher,
        room: Room,
        max_body: int = MAX_BODY_BYTES,
        kept: frozenset[int] = frozenset(),
        *,
        gain: "CopyGain | None" = None,
    ) -> None:
        super().__init__(fetcher)
        self._max_body = max_body
        self._kept = kept
        self._gain = gain
        self.line = InOrder(len(files), room, self._on_added, self._give_up_requests)
        self.full = asyncio.Event()
        """Set when no more can be learned without an assembly: everything is known, or there is no room."""
        self._files = files
        self._room = room
        self._issued = 0  # files that were asked for, or need not be
        self._charged: dict[int, int] = {}  # bytes of room of a file that was asked for
        self._spaces: dict[int, memoryview] = {}  # of bodies that come in pieces
        self._answered = self._large = self._small_bytes = 0
        self._estimate = min(max_body, FIRST_ESTIMATE)
        self._hedge: int | None = None
        self._hedged: set[int] = set()

    @property
    def exhausted(self) -> bool:
        return self.line.added == self.line.count

    # What the lanes ask for

    def find_next(self) -> WholeRead | None:
        hedge, self._hedge = self._hedge, None
        if hedge is not None and hedge in self._charged:
            return self._request(hedge, "GET")
        last = min(len(self._files), self.line.added + MAX_AHEAD)
        while self._issued < last and len(self._charged) < FIRST_REQUESTS + 2 * self._answered:
            number, file = self._issued, self._files[self._issued]
            if not isinstance(file, Member):
                if 2 * self._large > self._answered:
                    return self._issue(number, "HEAD", 0)
                size = self._estimate
            elif number in self._kept or not self._is_small_object(file):
                self._keep(number, _at_hand(file))
                continue
            else:
                size = file.size
            if self._room.take(size):
                return self._issue(number, "GET", size)
            if self._room.used or self.line.waits_for_assembly:
                self.full.set()  # what waits makes room
                return None
            if not isinstance(file, Member):
                return self._issue(number, "HEAD", 0)  # there is no room to be had
            self._keep(number, Arrival(file))
        if not self._charged:
            self.full.set()
        return None

    def _issue(self, number: int, method: Literal["HEAD", "GET"], charged: int) -> WholeRead:
        self._issued += 1
        self._charged[number] = charged
        return self._request(number, method)

    def _request(self, number: int, method: Literal["HEAD", "GET"]) -> WholeRead:
        file = self._files[number]
        if not isinstance(file, Member):
            return WholeRead(number, file.location, method)
        content = file.content
        if isinstance(content, bytes):
            raise TypeError("bytes at hand are not asked for")
        return WholeRead(number, content.location, method, content.etag)

    def _keep(self, number: int, arrival: Arrival) -> None:
        self._issued = max(self._issued, number + 1)
        self.line.keep(number, arrival)
        if self._gain is not None and arrival.body is None:
            self._gain.met(arrival.member)
        if self.line.all_arrived or (arrival.body is None and arrival.member.size):
            self.full.set()

    def _is_small_object(self, member: Member) -> bool:
        return isinstance(member.content, ObjectVersion) and 0 < member.size <= self._max_body

    # What they bring

    def space(self, read: WholeRead, length: int) -> memoryview | None:
        number = read.number
        charged = self._charged.get(number)
        if charged is None or length > self._max_body:
            return None
        more = length if number in self._spaces else length - charged  # a second response needs its own
        if more > 0:
            if not self._room.take(more):
                return None
            self._charged[number] = charged + more
        space = self._spaces[number] = memoryview(bytearray(length))
        return space

    def arrived(self, read: WholeRead, info: ObjectInfo, body: memoryview | None) -> None:
        number = read.number
        charged = self._charged.pop(number, None)
        if charged is None:
            return  # the other response was faster
        space = self._spaces.pop(number, None)
        self._fetcher.limiter.succeeded()
        self._answered += 1
        if info.size > self._max_body:
            self._large += 1
        else:
            self._small_bytes += info.size
            if self._answered % ESTIMATED_EVERY == 1:  # a quarter more than the mean
                mean = self._small_bytes // (self._answered - self._large)
                self._estimate = min(self._max_body, mean * 5 // 4 + 1)
        file = self._files[number]
        member = file if isinstance(file, Member) else member_for(file, info, "store")
        crc, content, whole = 0, member.content, body if member.size else b""
        if whole is not None and member.size:
            crc = crc32(whole)
            damaged = isinstance(content, ObjectVersion) and content.crc32 not in (None, crc)
            if damaged or len(whole) != member.size:  # it is read again, and checked
                whole = None
        if whole is None or not self.line.put(number, member, crc, whole, charged):
            self._wait_for_turn(number, Arrival(member, crc, whole, charged), space)
        self._ask_for_more()

    def _wait_for_turn(self, number: int, arrival: Arrival, space: memoryview | None) -> None:
        """Keep the member; *space* is the job's own, any other body is copied."""
        size = 0 if arrival.body is None else len(arrival.body)
        if size and (self._room.overfull or (size > arrival.charged and not self._room.take(size - arrival.charged))):
            size, arrival.body = 0, None
        if size < arrival.charged:
            self._room.give(arrival.charged - size)
        arrival.charged = size
        if arrival.body is not None and arrival.body is not space:
            arrival.body = bytes(arrival.body)
        self._keep(number, arrival)

    def _ask_for_more(self) -> None:
        """More requests are allowed at once after each of the first responses."""
        if self._resting and 2 * self._answered < self._fetcher.concurrency:
            self.wake()

    async def recover(self, unanswered: Unanswered) -> None:
        number = unanswered.read.number
        file = self._files[number]
        member = file if isinstance(file, Member) else None
        if member is None and isinstance(file, DraftFile) and number in self._charged:
            member = member_for(file, await self._fetcher.head(file.location), "store")
        charged = self._charged.pop(number, None)
        if member is not None and charged is not None:
            self._answered += 1
            self._spaces.pop(number, None)
            body = None if member.size else b""
            if body is None or not self.line.put(number, member, 0, body, charged):
                self._wait_for_turn(number, Arrival(member, 0, body, charged), None)
            self._ask_for_more()

    def _on_added(self, count: int) -> None:
        """Lanes that rest ask again when there is some room, not for each body that leaves it."""
        if self.exhausted:
            self.wake_all()
        elif self._resting and (4 * self._room.used <= 3 * self._room.capacity or not self._charged):
            self.wake(count + WOKEN_LANES)

    def _give_up_requests(self) -> None:
        """
        Return the room of responses that have not come, the last first, until it is not overfull: one that finds no
        room when it comes is read again. So a large member never waits for a store that is slow with another object.
        """
        for number in sorted(self._charged.keys() - self._spaces.keys(), reverse=True):
            if not self._room.overfull:
                return
            self._room.give(self._charged[number])
            self._charged[number] = 0

    # A slow response at the head of the line

    async def hedge(self) -> None:
        """Ask once more for the object that all others wait for, until all have arrived."""
        limit = max(MIN_HEDGES, len(self._files) // HEDGED_SHARE)
        head, ticks = -1, 0
        while not self.line.all_arrived:  # large members may be read or copied for minutes after that
            await asyncio.sleep(HEDGE_TICK_SECONDS)
            self.grow()  # all lanes may wait for slow responses
            first = min(self._charged, default=-1) if self.line.waits_for_assembly else self.line.added
            head, ticks = (head, ticks + 1) if head == first else (first, 0)
            overtaken = self.line.arrived - self.line.added >= OVERTAKEN_BY
            if ticks < (OVERTAKEN_TICKS if overtaken else HEDGE_TICKS):
                continue
            if head in self._charged and head not in self._hedged and len(self._hedged) < limit:
                self._hedged.add(head)
                self._hedge = head
                self._fetcher.resumes["hedged"] += 1
                self.wake()


def _at_hand(member: Member) -> Arrival:
    """A member that no lane asks for: its body is here, it has none, or it is large."""
    body = b"" if not member.size else member.content if isinstance(member.content, bytes) else None
    return Arrival(member, 0 if body is None else crc32(body), body)
