"""ECS's calls for one-off tasks: their shape on the emulator, and what errors become."""

import pytest
from aws.failing_clients import FailingClient, client_error
from ecs_cluster import EmulatedCluster
from emulator import EmulatedAws

from archiver.aws.dsn_session import open_access
from archiver.aws.error_mapping import ResourceNotFound
from archiver.aws.tasks import EcsTasks
from archiver.core.tasks import TaskTarget, run_task_call
from archiver.errors import ArchiverError, ConfigurationError, TransientError

CALL = run_task_call(TaskTarget("tools", "archiver:3", "archiver", ["subnet-1"]), "{}", "token")
ARN = "arn:aws:ecs:eu-west-1:123456789012:task/tools/0123"


@pytest.mark.parametrize(
    ("code", "message", "status", "error"),
    [
        ("ClusterNotFoundException", "Cluster not found.", 400, ResourceNotFound),
        ("AccessDeniedException", "not authorized to perform: iam:PassRole", 400, ConfigurationError),
        ("InvalidParameterException", "Override for container named x is not a container", 400, ConfigurationError),
        ("ClientException", "TaskDefinition is inactive", 400, ConfigurationError),
        ("ClientException", "Capacity is unavailable at this time. Please try again later", 400, TransientError),
        ("ThrottlingException", "Rate exceeded", 400, TransientError),
        ("ServerException", "so", 500, TransientError),
        ("UnrecognizedClientException", "so", 400, ConfigurationError),
    ],
)
async def test_errors_of_ecs_are_sorted_by_who_can_help(
    code: str, message: str, status: int, error: type[ArchiverError]
) -> None:
    refusal = client_error(code, status)
    refusal.response["Error"]["Message"] = message
    tasks = EcsTasks(FailingClient(refusal))

    with pytest.raises(error) as caught:
        await tasks.run(CALL)
    assert type(caught.value) is error
    with pytest.raises(ArchiverError):
        await tasks.describe("tools", ARN, "archiver")
    with pytest.raises(ArchiverError):
        await tasks.stop("tools", ARN, "so")


async def test_a_token_that_has_started_a_task_with_other_words_names_that_task() -> None:
    refusal = client_error("ConflictException", 400)
    with pytest.raises(ConfigurationError):
        await EcsTasks(FailingClient(refusal)).run(CALL)
    refusal.response["resourceIds"] = [ARN]  # type: ignore[typeddict-unknown-key]
    assert (await EcsTasks(FailingClient(refusal)).run(CALL)).arn == ARN


async def test_no_answer_may_be_one_later() -> None:
    with pytest.raises(TransientError):
        await EcsTasks(FailingClient(TimeoutError())).run(CALL)


@pytest.mark.slow
async def test_a_task_is_started_seen_and_stopped_on_the_emulator(aws: EmulatedAws) -> None:
    cluster = EmulatedCluster(aws)
    target = TaskTarget(cluster.name, cluster.definition, "archiver", [cluster.subnet], [cluster.group], public_ip=True)
    async with open_access(None).client("ecs", read=15) as client:
        tasks = EcsTasks(client)
        started = await tasks.run(run_task_call(target, '{"files": ["a"]}', "token"))
        state = await tasks.describe(cluster.name, started.arn, "archiver")
        await tasks.stop(cluster.name, started.arn, "enough")

        seen = cluster.task(started)
        with pytest.raises(ResourceNotFound):
            await tasks.run(run_task_call(TaskTarget("none", "none", "none", ["subnet-1"]), "{}", "token"))
    cluster.close()
    assert state is not None and state.status
    assert seen["startedBy"] == "archiver"
    environment = seen["overrides"]["containerOverrides"][0]["environment"]
    assert environment == [{"name": "TASK_ORDER", "value": '{"files": ["a"]}'}]
