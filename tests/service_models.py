"""botocore's models of S3 and SQS, read once for all sessions of a process and of those forked from it."""

import asyncio
from functools import cache

import aioboto3
import botocore.session
from aiobotocore.config import AioConfig
from botocore import UNSIGNED
from botocore.loaders import create_loader


def share_service_models() -> None:
    """
    From now on, give all sessions of this process one loader. With a loader of its own, each session parses a megabyte
    of JSON: 0.1 s of processor time.
    """
    botocore.session.create_loader = cache(create_loader)


def read_service_models() -> None:
    """Open and close a client of S3 and one of SQS: forked processes find read what that reads and imports."""
    asyncio.run(_open_clients())


async def _open_clients() -> None:
    session = aioboto3.Session(region_name="eu-west-1")
    unsigned = AioConfig(signature_version=UNSIGNED)  # asks no provider for credentials
    async with session.client("s3", config=unsigned), session.client("sqs", config=unsigned):
        pass
