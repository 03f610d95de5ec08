"""Work that a cancellation does not interrupt."""

import asyncio
from collections.abc import Coroutine


async def run_to_its_end(work: Coroutine[object, object, None], name: str) -> None:
    """
    Run *work*, which must be bounded by its tries, to its end. A cancellation meanwhile goes on afterwards. Raises
    CancelledError, and what *work* raises.
    """
    task = asyncio.create_task(work, name=name)
    await wait_for_end(task)
    task.result()


async def wait_for_end(task: asyncio.Task[None]) -> None:
    """Wait until *task* has ended in any way. A cancellation meanwhile goes on afterwards. Raises CancelledError."""
    cancelled = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
