"""Lambda: invokes a function for a person, and waits for its result as long as a function may run."""

from typing import Any

from archiver.aws.error_mapping import DENIED, ResourceNotFound, error_map, map_errors
from archiver.core.invocations import Invocation, read_invocation
from archiver.errors import ConfigurationError

READ_SECONDS = 910.0  # a function runs for 15 minutes at most
_ERRORS = error_map(ResourceNotFound, {"ResourceNotFoundException"}) | error_map(ConfigurationError, DENIED)


async def invoke(client: Any, function: str, kind: str, payload: bytes) -> Invocation:
    """
    Invoke *function* once. *kind*: an `InvocationType`. Raises ConfigurationError (ResourceNotFound: no such function),
    TransientError: Lambda throttles, or the outcome is unknown.
    """
    more = {"LogType": "Tail"} if kind == "RequestResponse" else {}
    with map_errors(f"Invoke {function}", _ERRORS, ConfigurationError):
        response = await client.invoke(FunctionName=function, InvocationType=kind, Payload=payload, **more)
        returned: bytes = await response["Payload"].read()
    return read_invocation(response, returned)
