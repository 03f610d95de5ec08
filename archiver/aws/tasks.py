"""ECS: starts, looks at and stops one-off tasks."""

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from archiver.aws.error_mapping import DENIED, ResourceNotFound, error_map, map_errors
from archiver.core.tasks import LogStream, StartedTask, TaskState, read_log_stream, read_started, read_task
from archiver.errors import ConfigurationError, TransientError

_ERRORS = error_map(ResourceNotFound, {"ClusterNotFoundException"}) | error_map(ConfigurationError, DENIED)
_NO_CAPACITY = "apacity is unavailable"  # of a ClientException: "Capacity is unavailable at this time. Please try …"


class EcsTasks:
    """One-off tasks of the account of *client*."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def run(self, call: Mapping[str, Any]) -> StartedTask:
        """
        Start a task with the parameters *call* (of `core.tasks.run_task_call`). Raises ConfigurationError
        (ResourceNotFound: no such cluster); TransientError: no capacity, or the outcome is unknown. Then the same call
        with the same token starts no second task.
        """
        try:
            with map_errors(f"RunTask {call['taskDefinition']}", _ERRORS, ConfigurationError):
                response = await self._client.run_task(**call)
        except ConfigurationError as error:
            cause = error.__cause__
            if isinstance(cause, ClientError) and _NO_CAPACITY in str(error):
                raise TransientError(str(error)) from error
            if isinstance(cause, ClientError) and (arn := _started_already(cause)):
                return StartedTask(arn, str(call["taskDefinition"]))
            raise
        return read_started(response)

    async def describe(self, cluster: str, arn: str, container: str) -> TaskState | None:
        """
        Return the state of the task *arn*; None if ECS does not know it. Raises ConfigurationError, TransientError.
        """
        with map_errors(f"DescribeTasks {arn}", _ERRORS, ConfigurationError):
            response = await self._client.describe_tasks(cluster=cluster, tasks=[arn])
        return read_task(response, container)

    async def stop(self, cluster: str, arn: str, reason: str) -> None:
        """Stop the task *arn*: its containers get SIGTERM. Raises ConfigurationError, TransientError."""
        with map_errors(f"StopTask {arn}", _ERRORS, ConfigurationError):
            await self._client.stop_task(cluster=cluster, task=arn, reason=reason)

    async def log_stream(self, task: StartedTask, container: str) -> LogStream | None:
        """Return where the container's output goes; None if it can't be known. Raises as `describe` does."""
        with map_errors(f"DescribeTaskDefinition {task.definition}", _ERRORS, ConfigurationError):
            response = await self._client.describe_task_definition(taskDefinition=task.definition)
        return read_log_stream(response, container, task.id)


def _started_already(error: ClientError) -> str:
    """
    Return the task that another call with the same token has started, "" if *error* names none. Its order had other
    words: the same message, of which more or less was known.
    """
    told: Any = error.response
    arns = told.get("resourceIds") or [""] if told["Error"].get("Code") == "ConflictException" else [""]
    return str(arns[0])
