"""A job that ends by an error: what its lanes still bring has no place any more, least of all in its buffers."""

import asyncio

import pytest
from fakes import FakeHold

from archiver.core.ledger import Ledger
from archiver.core.plan import Member
from archiver.errors import ConfigurationError, root_cause
from archiver.stages.assemble import Assembly
from archiver.stages.budget import Reservation
from archiver.stages.checksums import crc32
from archiver.stages.in_order import InOrder
from archiver.stages.room import Room
from archiver.stages.upload import open_upload
from stages.builders import TARGET, StageEnv, random_bytes

PART = 1000


def open_line(stage: StageEnv, count: int) -> InOrder:
    return InOrder(count, Room(stage.budget, 0), lambda _: None, lambda: None)


async def assemble(stage: StageEnv, reservation: Reservation, line: InOrder) -> None:
    async with open_upload(stage.store, TARGET, FakeHold(), None) as upload:
        assembly = Assembly(Ledger(PART), reservation, stage.fetcher, upload, stage.progress)
        await assembly.run(lambda: line.feed(assembly, reservation))


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def put(line: InOrder, number: int, member: Member, body: bytes) -> bool:
    return line.put(number, member, crc32(body), body, 0)


async def test_a_body_that_comes_after_the_end_of_its_job_is_not_written_into_a_buffer_that_another_has() -> None:
    """Lanes are cancelled by then, but they still get what came in the same turn of the event loop."""
    stage = StageEnv(total=3 * PART)
    line, bodies = open_line(stage, 3), [random_bytes(200, number) for number in range(2)]
    members = [stage.member(f"{number}", body) for number, body in enumerate(bodies)]
    async with stage.budget.reservation(PART, 3) as reservation:
        building = asyncio.create_task(assemble(stage, reservation, line))
        await turns()
        assert put(line, 0, members[0], bodies[0])
        building.cancel()
        with pytest.raises(asyncio.CancelledError):
            await building
    async with stage.budget.reservation(PART, 3) as other:
        views = [await other.acquire() for _ in range(3)]
        for view in views:
            view[:] = bytes(PART)
        assert not put(line, 1, members[1], bodies[1])
        assert b"".join(views) == bytes(3 * PART)


@pytest.mark.parametrize("late", range(6))
async def test_a_part_that_is_complete_after_an_upload_failed_does_not_hide_why(late: int) -> None:
    stage = StageEnv(total=3 * PART)
    line, bodies = open_line(stage, 9), [random_bytes(PART - 40, number) for number in range(2)]  # with header: a part
    members = [stage.member(f"{number}", body) for number, body in enumerate(bodies)]
    refused = ConfigurationError("the store refuses it")
    stage.store.faults.plan("part", refused)

    async def lane() -> None:
        """Completes a second part while the upload of the first fails."""
        put(line, 0, members[0], bodies[0])
        while not stage.store.faults.calls["part"]:
            await asyncio.sleep(0)
        await turns(late)
        put(line, 1, members[1], bodies[1])

    with pytest.raises(BaseExceptionGroup) as caught:
        async with stage.budget.reservation(PART, 3) as reservation, asyncio.TaskGroup() as tasks:
            building = tasks.create_task(assemble(stage, reservation, line))
            await turns()
            tasks.create_task(lane())
            await building
    assert root_cause(caught.value) is refused
