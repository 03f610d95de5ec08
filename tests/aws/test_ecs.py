"""What the ECS agent's answers mean, and that none of them is waited for without end."""

import asyncio
from collections.abc import Iterator

import pytest
from faults.agent import MISBEHAVES, REFUSES, TASK, Agent, agent
from faults.cluster import PREFIX, Task

from archiver.aws.ecs import open_agent
from archiver.aws.ecs_service import is_replaced
from archiver.errors import TransientError
from archiver.worker.protection import ProtectionRefused


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
    async with open_agent(fake.uri, timeout_seconds=0.5) as protector:
        with pytest.raises(TransientError):
            async with asyncio.timeout(20):
                await protector.protect(10)


async def test_an_agent_that_is_not_there_is_no_refusal() -> None:
    async with open_agent("http://127.0.0.1:9/api") as protector:
        with pytest.raises(TransientError, match="the ECS agent did not respond"):
            await protector.protect(10)


# ---- whether it has been replaced

OTHER = f"{PREFIX}:task-definition/archiver:2"


@pytest.fixture
def ecs(fake: Agent, monkeypatch: pytest.MonkeyPatch) -> Agent:
    """An agent on whose port ECS's API answers too."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_ECS", fake.uri)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    return fake


async def test_a_task_is_replaced_where_another_revision_runs_in_full_number(ecs: Agent) -> None:
    async with open_agent(ecs.uri) as protector:
        await protector.protect(10)
        assert await protector.replaced() is False
        ecs.service.revision = OTHER
        assert await protector.replaced() is False, "none of the new ones runs yet"
        ecs.service.tasks["new"] = Task("new", OTHER)
        assert await protector.replaced() is True

    assert ecs.described == ["DescribeTasks", "DescribeServices"] * 3


async def test_who_may_not_ask_is_not_replaced(ecs: Agent) -> None:
    ecs.secretive = True
    async with open_agent(ecs.uri) as protector:
        await protector.protect(10)
        with pytest.raises(TransientError, match="DescribeTasks"):
            await protector.replaced()


async def test_a_task_that_no_answer_named_can_not_be_asked_for(ecs: Agent) -> None:
    async with open_agent(ecs.uri) as protector:
        with pytest.raises(TransientError, match="the ARN of this task is unknown"):
            await protector.replaced()


async def test_a_task_of_no_service_is_not_replaced(ecs: Agent) -> None:
    ecs.group = "family:archiver"
    async with open_agent(ecs.uri) as protector:
        await protector.protect(10)
        with pytest.raises(TransientError, match=TASK):
            await protector.replaced()


def deployment(**more: object) -> dict[str, object]:
    new = {"status": "PRIMARY", "taskDefinition": "new", "desiredCount": 2, "runningCount": 2, "failedTasks": 0}
    return {"deployments": [{"status": "ACTIVE", "taskDefinition": "old"}, new | more]}


@pytest.mark.parametrize(
    ("service", "replaced"),
    [
        (deployment(), True),
        (deployment(taskDefinition="old"), False),
        (deployment(runningCount=1), False),
        (deployment(failedTasks=1), False),
        (deployment(desiredCount=0, runningCount=0), False),
        ({}, False),
    ],
)
def test_only_a_new_revision_that_runs_well_replaces_a_task(service: dict[str, object], replaced: bool) -> None:
    assert is_replaced("old", service) is replaced
    assert is_replaced(None, service) is False
