"""What the ECS agent's answers mean, and that none of them is waited for without end."""

import asyncio
from collections.abc import Iterator

import pytest
from faults.agent import MISBEHAVES, NO_SERVICE, REFUSES, Agent, agent

from archiver.aws import ecs
from archiver.aws.ecs import open_agent
from archiver.errors import Temporary
from archiver.protection import ProtectionRefused


@pytest.fixture
def fake() -> Iterator[Agent]:
    with agent() as made:
        yield made


async def test_a_task_is_protected_for_so_many_minutes_and_released(fake: Agent) -> None:
    async with open_agent(fake.uri + "/") as protector:
        await protector.protect(10)
        await protector.release()

    path = "/api/0123/task-protection/v1/state"
    assert fake.asked == [
        {"path": path, "ProtectionEnabled": True, "ExpiresInMinutes": 10},
        {"path": path, "ProtectionEnabled": False},
    ]


async def test_a_no_is_told_from_a_failure(fake: Agent) -> None:
    fake.answer = REFUSES
    async with open_agent(fake.uri) as protector:
        with pytest.raises(ProtectionRefused, match=r"^DEPLOYMENT_BLOCKED$"):
            await protector.protect(10)


@pytest.mark.parametrize("how", MISBEHAVES)
async def test_an_agent_that_misbehaves_is_no_refusal(fake: Agent, how: str) -> None:
    fake.answer = MISBEHAVES[how]
    async with open_agent(fake.uri, patience=0.5) as protector:
        with pytest.raises(Temporary):
            async with asyncio.timeout(20):
                await protector.protect(10)


async def test_an_agent_that_is_not_there_is_no_refusal() -> None:
    async with open_agent("http://127.0.0.1:9/api") as protector:
        with pytest.raises(Temporary, match="the ECS agent did not answer"):
            await protector.protect(10)


def test_a_task_of_no_service_is_told_so() -> None:
    assert NO_SERVICE["failure"]["Reason"] == ecs.NO_SERVICE
