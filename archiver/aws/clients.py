"""
One session, and one client for each role: no role waits for another's connections, retries or time-outs.

botocore's retry quota and connection pool are per client. With a client of its own, a heartbeat goes out
whatever the uploads suffer, and the minutes that CompleteMultipartUpload may take are not granted to a HEAD.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aioboto3
from aiobotocore.config import AioConfig

from archiver.aws.s3_parts import PartSender
from archiver.aws.session import Network, client_config, credential_errors, environment_errors, open_network

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_sqs import SQSClient

RECEIVE_TIMEOUT_MARGIN = 10.0  # seconds, as every number below that names no other unit
COMPLETE_TIMEOUT = 600.0


@dataclass(frozen=True, slots=True)
class Clients:
    """The open clients, by what they are for; *parts* is ours, for all bodies. *session* can open more."""

    session: aioboto3.Session
    sqs_receive: "SQSClient"
    sqs_lease: "SQSClient"
    sqs_control: "SQSClient"
    s3_control: "S3Client"
    s3_complete: "S3Client"
    parts: PartSender


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """What the clients are sized for: the long poll in seconds, jobs at once."""

    wait_seconds: int = 5
    jobs: int = 4


@asynccontextmanager
async def open_clients(limits: ClientLimits, network: Network | None = None) -> AsyncIterator[Clients]:
    """
    Open every client, and close them all on the way out. Raises ConfigurationError where `AWS_*` is of no use,
    CredentialsError where a provider of credentials gives none.
    """
    network = network or await open_network()
    session = network.session
    with credential_errors():
        await session.get_credentials()  # once for all clients
    async with AsyncExitStack() as stack:

        async def open_client(service: str, config: AioConfig) -> Any:
            with environment_errors():
                client = await stack.enter_async_context(session.client(service, config=config))
            if service == "s3":
                network.transport_config.headers.add_to_client(client)
            return client

        max_calls = 4 * limits.jobs + 2
        parts = PartSender(session, network.endpoint, network.transport_config)
        stack.push_async_callback(parts.close)
        yield Clients(
            session=session,
            # A retried receive would hide the messages that the first answer held: it is tried once.
            sqs_receive=await open_client(
                "sqs", client_config(limits.wait_seconds + RECEIVE_TIMEOUT_MARGIN, attempts=1, pool=2)
            ),
            # A heartbeat that hangs must leave time for the next try. The lease itself sets the bound of them all.
            sqs_lease=await open_client("sqs", client_config(4, attempts=3, pool=max_calls, connect=3)),
            # What others see is tried once a call: between two tries stands a look at the lease.
            sqs_control=await open_client("sqs", client_config(15, attempts=1, pool=max_calls)),
            s3_control=await open_client("s3", s3_client_config(20, attempts=4, pool=max_calls)),
            s3_complete=await open_client("s3", s3_client_config(COMPLETE_TIMEOUT, attempts=1, pool=limits.jobs)),
            parts=parts,
        )


def s3_client_config(read: float, *, attempts: int, pool: int) -> AioConfig:
    """The same for S3. Bodies go out by *parts*; what else S3 is told is neither hashed nor checksummed."""
    return client_config(
        read,
        attempts=attempts,
        pool=pool,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"payload_signing_enabled": False},
    )
