"""Notices that a response body stops arriving, or arrives too slowly."""

from archiver.http.exchange import TickTimeouts


class BodyWatch:
    """
    Watches one body at a time. Time is counted in ticks of the pool's clock, so that a blocked event loop causes no
    timeout: data that arrived in the meantime is read before the next tick.
    """

    __slots__ = ("_received", "_silent_ticks", "_window_start", "_window_ticks")

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """A new body begins."""
        self._received = self._silent_ticks = self._window_start = self._window_ticks = 0

    def tick(self, received: int, timeouts: TickTimeouts) -> str | None:
        """Count one tick; *received*: bytes of the body so far. Return why the body is given up, if it is."""
        self._silent_ticks = 0 if received != self._received else self._silent_ticks + 1
        self._received = received
        self._window_ticks += 1
        if self._silent_ticks > timeouts.stall:
            return "the body stalled"
        if self._window_ticks > timeouts.window:
            if received - self._window_start < timeouts.window_bytes:
                return "the body arrived too slowly"
            self._window_start, self._window_ticks = received, 0
        return None
