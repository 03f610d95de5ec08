"""What the notifiers of SNS, EventBridge and Lambda have in common: their client, and the most they are sent."""

from contextlib import AsyncExitStack
from typing import Any

from archiver.aws.clients import Clients
from archiver.aws.error_mapping import error_map
from archiver.aws.session import client_config, environment_errors
from archiver.errors import Undeliverable

MAX_BODY_BYTES = 256 * 1024
"""What all three accept in every region; where AWS has raised their limits, some take 1 MiB."""

CALL_SECONDS = 15.0

UNSENDABLE_ERRORS = error_map(
    Undeliverable,
    {
        "413",
        "InvalidParameter",
        "InvalidParameterException",
        "InvalidParameterValue",
        "InvalidParameterValueException",
        "InvalidRequestContentException",
        "PayloadTooLargeException",
        "RequestEntityTooLarge",
        "RequestEntityTooLargeException",
        "RequestTooLargeException",
    },
)
"""Caused by the answer, not by its receiver: its size or its characters."""


async def open_client(
    stack: AsyncExitStack, clients: Clients, service: str, arn: str, *, calls: int, read: float = CALL_SECONDS
) -> Any:
    """
    Open a client of *service* in the region of *arn* (or, for a name, in the worker's own), for *calls* at once of
    *read* seconds each. *stack* closes it. One attempt for each call: the caller confirms its lease before the next.

    Raises ConfigurationError.
    """
    config = client_config(read, attempts=1, pool=calls)
    with environment_errors():
        opening: Any = clients.session.client(service, config=config, region_name=region_of(arn))
        return await stack.enter_async_context(opening)


def region_of(arn: str) -> str | None:
    """Return the region that *arn* names; None if it is a name."""
    return arn.split(":")[3] if arn.startswith("arn:") else None
