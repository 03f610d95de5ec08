"""Room for bodies that arrived before it is their turn."""

from collections.abc import Callable

from archiver.stages.budget import BufferPool, Reservation

MAX_STEP_BYTES = 256 * 1024


class Room:
    """
    Bytes of one job's bodies that wait outside the part buffers, charged to *budget*: those of a buffer that the job's
    reservation can spare, and up to *max_extra* others while no other job needs them. A body in here can always be
    given up, because its object can be read again: so nobody ever waits for room. *on_revoked* is called when it may
    have become overfull, because a job needs its bytes for buffers.
    """

    def __init__(self, budget: BufferPool, max_extra: int) -> None:
        self.used = 0
        self.capacity = 0
        """Bytes that fit, as of the last `refresh`."""
        self._budget = budget
        self.max_extra = max_extra
        self.on_revoked: Callable[[], object] = int
        self._extra = 0
        self._step = max(1, min(MAX_STEP_BYTES, budget.total // 16))
        self.reservation: Reservation | None = None

    def refresh(self) -> None:
        """Learn what the reservation can spare now. Call it when that becomes less."""
        self.capacity = self._extra + (self.reservation.spare_bytes if self.reservation else 0)

    def take(self, size: int) -> bool:
        """Charge *size* bytes. Return False if they are not free."""
        if self.used + size > self.capacity:
            self.refresh()
        while self.used + size > self.capacity:
            if self._extra + self._step > self.max_extra or not self._budget.try_acquire_extra(self._step):
                return False
            self._extra += self._step
            self.refresh()
        self.used += size
        return True

    def give(self, size: int) -> None:
        """Return *size* bytes."""
        self.used -= size
        while self._extra and self.used <= (self._extra - self._step) // 2:
            self._shrink()

    @property
    def overfull(self) -> bool:
        """Whether bodies must be given up, because the reservation needs its buffer."""
        return self.used > self.capacity

    @property
    def charged(self) -> int:
        """As of `Revocable`."""
        return self._extra

    def revoke(self, size: int) -> int:
        """As of `Revocable`, in whole steps."""
        given = min(self._extra, -(-size // self._step) * self._step)
        self._extra -= given
        self.refresh()
        self.on_revoked()
        return given

    def close(self) -> None:
        """Return everything; what is still in it is overfull."""
        while self._extra:
            self._shrink()

    def _shrink(self) -> None:
        self._extra -= self._step
        self._budget.release_extra(self._step)
        self.refresh()
