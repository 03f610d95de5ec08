"""botocore's models of S3 and SQS, read once for all sessions of a process and of those forked from it."""

import asyncio
from collections.abc import Callable
from functools import cache
from typing import Any

import aioboto3
import botocore.session
from aiobotocore.config import AioConfig
from botocore import UNSIGNED
from botocore.hooks import EventAliaser
from botocore.loaders import create_loader


def share_service_models() -> None:
    """
    From now on, give all sessions of this process one loader. With a loader of its own, each session parses a megabyte
    of JSON: 0.1 s of processor time.
    """
    botocore.session.create_loader = cache(create_loader)
    _share_event_names()


def _share_event_names() -> None:
    """Have each name of an event translated once, not once in each session: a tenth of a client's start."""
    initialize: Callable[..., None] = EventAliaser.__init__
    names: dict[str, str] = {}

    def share(self: Any, *args: Any, **kwargs: Any) -> None:
        initialize(self, *args, **kwargs)
        self._alias_name_cache = names

    EventAliaser.__init__ = share  # type: ignore[method-assign]


def read_service_models() -> None:
    """Open and close a client of S3 and one of SQS: forked processes find read what that reads and imports."""
    asyncio.run(_open_clients())


async def _open_clients() -> None:
    session = aioboto3.Session(region_name="eu-west-1")
    unsigned = AioConfig(signature_version=UNSIGNED)  # asks no provider for credentials
    async with session.client("s3", config=unsigned), session.client("sqs", config=unsigned):
        pass
