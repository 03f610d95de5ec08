"""
Signals that ask the process to stop, heard from its first instruction on.

Process 1 of a container has no default actions: a signal that it has no handler for is dropped, and the imports take a
second, on a slow machine several. So this comes first, and needs nothing but the standard library.
"""

import signal
import sys
from collections.abc import Callable

SIGNALS = (signal.SIGTERM, signal.SIGINT)
EXIT_INTERRUPTED = 128 + signal.SIGINT


class StopSignals:
    """Notes that the process was asked to stop (*requested*), and tells who wants to know."""

    def __init__(self) -> None:
        self.requested = False
        self._callback: Callable[[], None] | None = None

    def listen(self) -> None:
        """From now on, SIGTERM and SIGINT are noted, and do nothing else."""
        # Not an event loop's handlers: those begin late, and end with the loop; a signal in the last moment would kill.
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Call *callback* at every signal, and now where one has come already. It must not raise."""
        self._callback = callback
        if self.requested:
            callback()

    def _on_signal(self, *_: object) -> None:
        self.requested = True
        if self._callback is not None:
            self._callback()


stop_signals = StopSignals()
"""The process's own."""


def exit_on_signal() -> None:
    """For what has begun nothing that would have to be undone: a signal ends it there and then, without a word."""
    for number in SIGNALS:
        signal.signal(number, lambda *_: sys.exit(EXIT_INTERRUPTED))
