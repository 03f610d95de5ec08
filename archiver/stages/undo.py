"""Clean-up that a cancellation does not interrupt."""

import asyncio
from collections.abc import Coroutine


async def run_to_its_end(work: Coroutine[object, object, None], name: str) -> None:
    """
    Run *work*, which must be bounded by its tries, to its end. A cancellation meanwhile goes on afterwards. Raises
    CancelledError, and what *work* raises.
    """
    ending, cancelled = asyncio.create_task(work, name=name), None
    while not ending.done():
        try:
            await asyncio.wait([ending])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    ending.result()
