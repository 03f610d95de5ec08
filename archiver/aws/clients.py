"""
One session and one SQS client per purpose, so that purposes share no connections, retry quota or timeouts.

botocore's retry quota and connection pool are per client. A separate client keeps heartbeats independent of failing
sends. S3 is called without the SDK.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aioboto3
from aiobotocore.config import AioConfig

from archiver.aws.s3_calls import S3Calls
from archiver.aws.session import Network, client_config, credential_errors, environment_errors, open_network

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

RECEIVE_TIMEOUT_MARGIN = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Clients:
    """The open clients by purpose. *s3*: the project's own client; *session* can open more."""

    session: aioboto3.Session
    sqs_receive: "SQSClient"
    sqs_lease: "SQSClient"
    sqs_control: "SQSClient"
    s3: S3Calls


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Sizing of the clients: *wait_seconds* of the long poll, number of concurrent *jobs*."""

    wait_seconds: int = 5
    jobs: int = 4


@asynccontextmanager
async def open_clients(limits: ClientLimits, network: Network | None = None) -> AsyncIterator[Clients]:
    """
    Open all clients, and close them at the end of the block.

    Raises ConfigurationError if an `AWS_*` variable is unusable; CredentialsError if a credentials provider fails.
    """
    network = network or await open_network()
    session = network.session
    with credential_errors():
        await session.get_credentials()  # once for all clients
    async with AsyncExitStack() as stack:

        async def open_sqs(config: AioConfig) -> Any:
            with environment_errors():
                return await stack.enter_async_context(session.client("sqs", config=config))

        max_calls = 4 * limits.jobs + 2
        s3 = S3Calls.open(session, network.endpoint, network.transport_config)
        stack.push_async_callback(s3.close)
        yield Clients(
            session=session,
            # One attempt: a retry would leave the messages of a lost first response invisible.
            sqs_receive=await open_sqs(client_config(limits.wait_seconds + RECEIVE_TIMEOUT_MARGIN, attempts=1, pool=2)),
            # A hanging renewal must leave time for a retry. The lease limits their total time.
            sqs_lease=await open_sqs(client_config(4, attempts=3, pool=max_calls, connect=3)),
            # One attempt for externally visible writes: the worker checks its lease before each retry.
            sqs_control=await open_sqs(client_config(15, attempts=1, pool=max_calls)),
            s3=s3,
        )
