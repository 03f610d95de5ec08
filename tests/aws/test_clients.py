"""The clients take their region and endpoints from the environment, and each has limits of its own."""

import asyncio
from dataclasses import fields
from typing import Any

import pytest
from emulator import EmulatedAws

from archiver.aws.clients import ClientLimits, open_clients
from archiver.aws.error_mapping import ResourceNotFound
from archiver.aws.s3_store import check_bucket
from archiver.aws.session import open_network
from archiver.errors import ConfigurationError
from archiver.http.pool import Origin


async def test_aws_region_goes_before_aws_default_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-2")
    async with open_clients(ClientLimits()) as clients:
        assert clients.sqs_receive.meta.region_name == "us-east-2"


async def test_an_empty_aws_region_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "")
    async with open_clients(ClientLimits()) as clients:
        assert clients.sqs_receive.meta.region_name == "eu-west-1"


async def test_without_a_region_the_fault_is_the_configurations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(ConfigurationError, match="region"):
        async with open_clients(ClientLimits()):
            raise AssertionError


async def test_each_service_has_its_own_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localhost:1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://localhost:2")
    network = await open_network()
    assert network.endpoint.resolve("photos").origin == Origin(tls=False, host="localhost", port=2)
    async with open_clients(ClientLimits(), network) as clients:
        assert clients.sqs_lease.meta.endpoint_url == "http://localhost:1"


async def test_a_bucket_is_part_of_the_path_at_an_endpoint_that_has_a_name(
    aws: EmulatedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws.endpoint.replace("127.0.0.1", "localhost"))
    async with open_clients(ClientLimits()) as clients:
        await check_bucket(clients.s3, aws.bucket())
        with pytest.raises(ResourceNotFound):
            await check_bucket(clients.s3, "nowhere")


async def test_a_receive_is_tried_once_and_outwaits_the_long_poll() -> None:
    async with open_clients(ClientLimits(wait_seconds=20)) as clients:
        receive: Any = clients.sqs_receive.meta.config
        assert receive.retries["total_max_attempts"] == 1
        assert receive.read_timeout > 20


async def test_no_role_shares_a_client_with_another() -> None:
    async with open_clients(ClientLimits()) as clients:
        assert len({id(getattr(clients, one.name)) for one in fields(clients)}) == len(fields(clients))


async def test_closing_the_clients_leaves_no_task_behind(aws: EmulatedAws) -> None:
    async with open_clients(ClientLimits()) as clients:
        await check_bucket(clients.s3, aws.bucket())
    assert asyncio.all_tasks() == {asyncio.current_task()}
