"""A Hold without a lease and without slots."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class FakeHold:
    """A Hold: *confirm* stands for the lease's; `parks` counts the times that its job was parked."""

    def __init__(self, confirm: Callable[[], None] = lambda: None) -> None:
        self.confirm = confirm
        self.parks = 0

    @asynccontextmanager
    async def parked(self) -> AsyncIterator[None]:
        self.parks += 1
        yield
