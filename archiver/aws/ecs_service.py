"""
Which revision ECS wants of a service, and whether a task of it has been replaced.

The task's role has to allow `ecs:DescribeTasks` and `ecs:DescribeServices`, and its subnets have to reach ECS's API
(`com.amazonaws.REGION.ecs` where they have endpoints). Without either, nobody is taken to be replaced.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from aiobotocore.session import AioSession

from archiver.aws.error_mapping import map_errors
from archiver.aws.session import client_config, credential_errors, new_session
from archiver.errors import ArchiverError, TransientError


class Services:
    """ECS's API, with a client that is made for the first question. *timeout_seconds*: seconds for one answer."""

    def __init__(self, stack: AsyncExitStack, timeout_seconds: float) -> None:
        self._stack = stack
        self._timeout_seconds = timeout_seconds
        self._client: Any = None

    async def replaced(self, task: str) -> bool:
        """
        Whether another revision than that of *task* (an ARN) is wanted and runs in full number. Raises TransientError.
        """
        cluster = task.rpartition(":task/")[2].partition("/")[0]
        try:
            client = await self._opened()
            with map_errors("DescribeTasks"):
                tasks = await client.describe_tasks(cluster=cluster, tasks=[task])
            mine: dict[str, Any] = next(iter(tasks.get("tasks", ())), {})
            kind, _, service = str(mine.get("group", "")).partition(":")
            if kind != "service":
                raise TransientError(f"ECS knows no service of the task {task}")
            with map_errors(f"DescribeServices {service}"):
                services = await client.describe_services(cluster=cluster, services=[service])
        except ArchiverError as error:
            raise TransientError(str(error)) from error
        return is_replaced(mine.get("taskDefinitionArn"), next(iter(services.get("services", ())), {}))

    async def _opened(self) -> Any:
        if self._client is None:
            session = new_session(AioSession())
            with credential_errors():
                opening = session.client("ecs", config=client_config(self._timeout_seconds, attempts=1, pool=1))
                self._client = await self._stack.enter_async_context(opening)
        return self._client


def is_replaced(revision: object, service: Mapping[str, Any]) -> bool:
    """
    Whether *service*, as DescribeServices tells it, wants another task definition than *revision*, and has it running.

    Not while the new one is still coming up or fails: its circuit breaker may go back to the old revision.
    """
    for deployment in service.get("deployments", ()):
        if deployment.get("status") == "PRIMARY":
            other = deployment.get("taskDefinition") != revision
            full = deployment.get("runningCount", 0) >= deployment.get("desiredCount", 0) > 0
            return bool(revision) and other and full and not deployment.get("failedTasks")
    return False


@asynccontextmanager
async def open_services(timeout_seconds: float) -> AsyncIterator[Services]:
    """ECS's API while the block runs."""
    async with AsyncExitStack() as stack:
        yield Services(stack, timeout_seconds)
