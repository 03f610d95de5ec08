"""Where a body goes: views of the caller, filled one after the other."""

from collections.abc import Sequence


class Sink:
    """Views to be filled, one after the other."""

    __slots__ = ("_at", "_views", "capacity", "filled")

    def __init__(self, views: Sequence[memoryview]) -> None:
        self._views = [view for view in reversed(views) if view.nbytes]
        self._at = 0
        self.capacity = sum(view.nbytes for view in self._views)
        self.filled = 0

    def free_space(self) -> memoryview:
        """Where the next bytes go; empty only when everything is filled."""
        if not self._views:
            return memoryview(b"")
        return self._views[-1][self._at :]

    def advance(self, count: int) -> None:
        """*count* bytes, at most `len(room())`, were put there."""
        self.filled += count
        self._at += count
        if self._at == self._views[-1].nbytes:
            self._views.pop()
            self._at = 0

    def put(self, data: memoryview) -> int:
        """Copy as much of *data* as fits; return how much."""
        copied = 0
        while copied < len(data) and self._views:
            free_space = self.free_space()
            count = min(len(free_space), len(data) - copied)
            free_space[:count] = data[copied : copied + count]
            self.advance(count)
            copied += count
        return copied
