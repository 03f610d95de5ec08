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
from archiver.aws.session import Network, open_network, provided, tuned, usable

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_sqs import SQSClient

RECEIVE_MARGIN = 10.0  # seconds, as every number below that names no other unit
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
class Limits:
    """What the clients are sized for: the long poll in seconds, jobs at once."""

    wait_seconds: int = 5
    jobs: int = 4


@asynccontextmanager
async def open_clients(limits: Limits, network: Network | None = None) -> AsyncIterator[Clients]:
    """
    Open every client, and close them all on the way out. Raises ConfigurationFault where `AWS_*` is of no use,
    CredentialsFault where a provider of credentials gives none.
    """
    network = network or await open_network()
    session = network.session
    with provided():
        await session.get_credentials()  # once for all clients
    async with AsyncExitStack() as stack:

        async def opened(service: str, config: AioConfig) -> Any:
            with usable():
                client = await stack.enter_async_context(session.client(service, config=config))
            if service == "s3":
                network.wire.headers.attach(client)
            return client

        calls = 4 * limits.jobs + 2
        parts = PartSender(session, network.endpoint, network.wire)
        stack.push_async_callback(parts.close)
        yield Clients(
            session=session,
            # A retried receive would hide the messages that the first answer held: it is tried once.
            sqs_receive=await opened("sqs", tuned(limits.wait_seconds + RECEIVE_MARGIN, attempts=1, pool=2)),
            # A heartbeat that hangs must leave time for the next try. The lease itself sets the bound of them all.
            sqs_lease=await opened("sqs", tuned(4, attempts=3, pool=calls, connect=3)),
            # What others see is tried once a call: between two tries stands a look at the lease.
            sqs_control=await opened("sqs", tuned(15, attempts=1, pool=calls)),
            s3_control=await opened("s3", s3_tuned(20, attempts=4, pool=calls)),
            s3_complete=await opened("s3", s3_tuned(COMPLETE_TIMEOUT, attempts=1, pool=limits.jobs)),
            parts=parts,
        )


def s3_tuned(read: float, *, attempts: int, pool: int) -> AioConfig:
    """The same for S3. Bodies go out by *parts*; what else S3 is told is neither hashed nor checksummed."""
    return tuned(
        read,
        attempts=attempts,
        pool=pool,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"payload_signing_enabled": False},
    )
