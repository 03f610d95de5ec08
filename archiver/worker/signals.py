"""
Stop signals, handled from the first instruction of the process.

Process 1 of a container has no default actions: a signal without a handler is dropped. The imports take a second, and
several on a slow machine. So this module is imported first, and needs only the standard library.
"""

import signal
import sys
from collections.abc import Callable

SIGNALS = (signal.SIGINT, signal.SIGTERM)  # SIGTERM last: once it is handled, which can be seen from outside, both are
EXIT_INTERRUPTED = 128 + signal.SIGINT


class StopSignals:
    """Records stop requests (`requested`), and passes them to a callback."""

    def __init__(self) -> None:
        self.requested = False
        self._callback: Callable[[], None] | None = None

    def listen(self) -> None:
        """Handle SIGTERM and SIGINT from now on: they are recorded, and have no other effect."""
        # Not the event loop's handlers: they start late and end with the loop, and a signal after that would kill.
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Call *callback* at every signal, and now if one was received already. It must not raise."""
        self._callback = callback
        if self.requested:
            callback()

    def _on_signal(self, *_: object) -> None:
        self.requested = True
        if self._callback is not None:
            self._callback()


stop_signals = StopSignals()
"""Those of this process."""


def exit_on_signal() -> None:
    """Exit at once and silently on a signal: for commands that have nothing to clean up."""
    for number in SIGNALS:
        signal.signal(number, lambda *_: sys.exit(EXIT_INTERRUPTED))
