"""An event loop in which hours pass in no time: it never waits, its clock goes on instead."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class InstantSelector(selectors.DefaultSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "everything waits for something that never comes"
        self.now += max(0.0, timeout)
        return super().select(0)


class InstantLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.selector = InstantSelector()
        super().__init__(self.selector)

    def time(self) -> float:
        return self.selector.now


def run_instantly(work: Coroutine[Any, Any, None]) -> None:
    """*work*, which may sleep as long as it likes and waits for nothing from outside."""
    with asyncio.Runner(loop_factory=InstantLoop) as runner:
        runner.run(work)
