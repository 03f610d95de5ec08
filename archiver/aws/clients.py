"""
One session, and one client for each role: no role waits for another's connections, retries or time-outs.

botocore's retry quota and connection pool are per client. With a client of its own, a heartbeat goes out
whatever the uploads suffer, and the minutes that CompleteMultipartUpload may take are not granted to a HEAD.
"""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aioboto3
from aiobotocore.config import AioConfig
from botocore.exceptions import BotoCoreError, InvalidRegionError, NoRegionError, ProfileNotFound

from archiver.aws.endpoint import Endpoint
from archiver.aws.s3_parts import PartSender
from archiver.errors import ConfigurationFault

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_sqs import SQSClient

CONNECT_TIMEOUT = 5.0  # seconds, as every number below that names no other unit
RECEIVE_MARGIN = 10.0
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

    @property
    def s3_endpoint(self) -> Endpoint:
        """Where the SDK's own S3 clients speak to: for those of ours."""
        return endpoint_of(self.s3_control)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the clients are sized for: the long poll in seconds, jobs at once."""

    wait_seconds: int = 5
    jobs: int = 4


@asynccontextmanager
async def open_clients(limits: Limits) -> AsyncIterator[Clients]:
    """Open every client, and close them all on the way out. Raises ConfigurationFault where `AWS_*` is of no use."""
    with usable():
        session = aioboto3.Session(region_name=region())
    async with AsyncExitStack() as stack:

        async def opened(service: str, config: AioConfig) -> Any:
            with usable():
                return await stack.enter_async_context(session.client(service, config=config))

        calls = 4 * limits.jobs + 2
        s3_control = await opened("s3", s3_tuned(20, attempts=4, pool=calls))
        parts = PartSender(session, endpoint_of(s3_control), ca_bundle())
        stack.push_async_callback(parts.close)
        yield Clients(
            session=session,
            # A retried receive would hide the messages that the first answer held: it is tried once.
            sqs_receive=await opened("sqs", tuned(limits.wait_seconds + RECEIVE_MARGIN, attempts=1, pool=2)),
            # A heartbeat that hangs must leave time for the next try. The lease itself sets the bound of them all.
            sqs_lease=await opened("sqs", tuned(4, attempts=3, pool=calls, connect=3)),
            # What others see is tried once a call: between two tries stands a look at the lease.
            sqs_control=await opened("sqs", tuned(15, attempts=1, pool=calls)),
            s3_control=s3_control,
            s3_complete=await opened("s3", s3_tuned(COMPLETE_TIMEOUT, attempts=1, pool=limits.jobs)),
            parts=parts,
        )


def endpoint_of(client: "S3Client") -> Endpoint:
    """The endpoint that the SDK resolved for *client*. Raises ValueError where no URL can be like it."""
    return Endpoint(client.meta.endpoint_url, client.meta.region_name)


def ca_bundle() -> str | None:
    """AWS_CA_BUNDLE, which the SDK's clients read themselves."""
    return os.environ.get("AWS_CA_BUNDLE") or None


@contextmanager
def usable() -> Iterator[None]:
    """Nothing is asked of AWS while a client opens: what goes wrong is the environment's, and told by variable name."""
    try:
        yield
    except (NoRegionError, InvalidRegionError) as error:
        raise ConfigurationFault(f"AWS_REGION: {error}") from error
    except ProfileNotFound as error:
        raise ConfigurationFault(f"AWS_PROFILE: {error}") from error
    except ValueError as error:
        raise ConfigurationFault(f"AWS_ENDPOINT_URL: {error}") from error
    except (BotoCoreError, OSError) as error:
        raise ConfigurationFault(f"AWS_*: {error}") from error


def region() -> str | None:
    """AWS_REGION, which other SDKs read and botocore does not; None leaves botocore to look where it always looks."""
    return os.environ.get("AWS_REGION") or None


def tuned(read: float, *, attempts: int, pool: int, connect: float = CONNECT_TIMEOUT, **more: Any) -> AioConfig:
    """A client's configuration: *attempts* counts the first try too, *pool* the connections."""
    return AioConfig(
        connect_timeout=connect,
        read_timeout=read,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=pool,
        **more,
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
