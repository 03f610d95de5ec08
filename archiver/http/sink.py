"""Scatter buffer for a response body."""

from collections.abc import Sequence


class Sink:
    """The caller's views, filled one after the other."""

    __slots__ = ("_at", "_views", "capacity", "filled")

    def __init__(self, views: Sequence[memoryview]) -> None:
        self._views = [view for view in reversed(views) if view.nbytes]
        self._at = 0
        self.capacity = sum(view.nbytes for view in self._views)
        self.filled = 0

    def free_space(self) -> memoryview:
        """Return the view for the next bytes; empty only if all views are filled."""
        if not self._views:
            return memoryview(b"")
        return self._views[-1][self._at :]

    def advance(self, count: int) -> None:
        """Record that *count* bytes, at most `len(free_space())`, were written there."""
        self.filled += count
        self._at += count
        if self._at == self._views[-1].nbytes:
            self._views.pop()
            self._at = 0

    def put(self, data: memoryview) -> int:
        """Copy as much of *data* as fits. Return the number of bytes copied."""
        copied = 0
        while copied < len(data) and self._views:
            free_space = self.free_space()
            count = min(len(free_space), len(data) - copied)
            free_space[:count] = data[copied : copied + count]
            self.advance(count)
            copied += count
        return copied
