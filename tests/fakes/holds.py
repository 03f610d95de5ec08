"""A fake Hold, without a lease and without slots."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class FakeHold:
    """A Hold: *confirm* replaces the lease's; `parks` counts how often its job was parked."""

    def __init__(self, confirm: Callable[[], None] = lambda: None) -> None:
        self.confirm = confirm
        self.parks = 0
        self.ends = False

    def end(self) -> None:
        self.ends = True

    @asynccontextmanager
    async def parked(self) -> AsyncIterator[None]:
        self.parks += 1
        yield
