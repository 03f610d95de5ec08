"""
Checks whether a deployment of the ECS service has replaced a task.

The task's role needs `ecs:DescribeTasks` and `ecs:DescribeServices`, and its subnets must reach the ECS API (VPC
endpoint `com.amazonaws.REGION.ecs`). Without either, no task counts as replaced.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from aiobotocore.session import AioSession

from archiver.aws.error_mapping import map_errors
from archiver.aws.session import client_config, credential_errors, new_session
from archiver.errors import ArchiverError, TransientError


class Services:
    """The ECS API. The client is opened by the first call. *timeout_seconds*: for each response."""

    def __init__(self, stack: AsyncExitStack, timeout_seconds: float) -> None:
        self._stack = stack
        self._timeout_seconds = timeout_seconds
        self._client: Any = None

    async def replaced(self, task: str) -> bool:
        """
        Return whether the service runs its desired count of another revision than that of *task* (an ARN).

        Raises TransientError.
        """
        cluster = task.rpartition(":task/")[2].partition("/")[0]
        try:
            client = await self._opened()
            with map_errors("DescribeTasks"):
                tasks = await client.describe_tasks(cluster=cluster, tasks=[task])
            found: dict[str, Any] = next(iter(tasks.get("tasks", ())), {})
            kind, _, service = str(found.get("group", "")).partition(":")
            if kind != "service":
                raise TransientError(f"ECS reports no service for the task {task}")
            with map_errors(f"DescribeServices {service}"):
                services = await client.describe_services(cluster=cluster, services=[service])
        except ArchiverError as error:
            raise TransientError(str(error)) from error
        return is_replaced(found.get("taskDefinitionArn"), next(iter(services.get("services", ())), {}))

    async def _opened(self) -> Any:
        if self._client is None:
            session = new_session(AioSession())
            with credential_errors():
                opening = session.client("ecs", config=client_config(self._timeout_seconds, attempts=1, pool=1))
                self._client = await self._stack.enter_async_context(opening)
        return self._client


def is_replaced(revision: object, service: Mapping[str, Any]) -> bool:
    """
    Return whether *service* (from DescribeServices) runs its desired count of another task definition than *revision*.

    False while the new one is starting or failing: the deployment circuit breaker may roll back to the old revision.
    """
    for deployment in service.get("deployments", ()):
        if deployment.get("status") == "PRIMARY":
            other = deployment.get("taskDefinition") != revision
            full = deployment.get("runningCount", 0) >= deployment.get("desiredCount", 0) > 0
            return bool(revision) and other and full and not deployment.get("failedTasks")
    return False


@asynccontextmanager
async def open_services(timeout_seconds: float) -> AsyncIterator[Services]:
    """Yield the ECS API; its client is closed at the end of the block."""
    async with AsyncExitStack() as stack:
        yield Services(stack, timeout_seconds)
