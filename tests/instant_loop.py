"""
An event loop in which hours pass in no time: it never waits, its clock goes on instead. What others do in threads is
done at once.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class InstantSelector(selectors.DefaultSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "everything waits for something that never comes"
        self.now += max(0.0, timeout)
        return super().select(0)


class InstantExecutor(ThreadPoolExecutor):
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future = Future[Any]()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - the future's, whatever it is
            future.set_exception(error)
        return future


class InstantLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.selector = InstantSelector()
        super().__init__(self.selector)
        self.set_default_executor(InstantExecutor())

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - asyncio's
        """Asyncio would start a thread for it, and there is none to end."""

    def time(self) -> float:
        return self.selector.now


def run_instantly(work: Coroutine[Any, Any, None]) -> None:
    """*work*, which may sleep as long as it likes and waits for nothing from outside."""
    with asyncio.Runner(loop_factory=InstantLoop) as runner:
        runner.run(work)
