"""Lambda: a function that is invoked with answers."""

import asyncio
from collections.abc import Mapping
from typing import Any

from archiver.aws.error_mapping import DENIED, ResourceNotFound, error_map, map_errors
from archiver.aws.notifiers import MAX_BODY_BYTES, UNSENDABLE_ERRORS
from archiver.errors import ConfigurationError, RequestRefused, TransientError
from archiver.ports import Attribute, OutgoingMessage

RESPONSE_SECONDS = 60.0  # that a function has to return, if it is waited for
MAX_REASON_BYTES = 1024  # of what a failed function returned
_ERRORS = error_map(ResourceNotFound, {"ResourceNotFoundException"}) | error_map(ConfigurationError, DENIED)


class FunctionNotifier:
    """
    A Notifier that invokes the function *name* (or an ARN) with the answer as its payload. *waits*: until the function
    returns (`RequestResponse`), else until Lambda has queued the event (`Event`).
    """

    def __init__(self, client: Any, name: str, *, waits: bool = False) -> None:
        self._client = client
        self._name = name
        self._type = "RequestResponse" if waits else "Event"

    async def check(self) -> None:
        """Check that the function exists. Raises ResourceNotFound, ConfigurationError, TransientError."""
        with map_errors(f"GetFunctionConfiguration {self._name}", _ERRORS, ConfigurationError):
            await self._client.get_function_configuration(FunctionName=self._name)

    def max_body_bytes(self, attributes: Mapping[str, Attribute]) -> int:  # noqa: ARG002
        return MAX_BODY_BYTES

    async def send(self, note: OutgoingMessage) -> None:
        """
        Invoke the function with *note*. Raises TransientError (RequestRefused: the function failed, or Lambda refuses
        this payload), ConfigurationError.
        """
        operation = f"Invoke {self._name}"
        try:
            async with asyncio.timeout(RESPONSE_SECONDS):
                with map_errors(operation, {**UNSENDABLE_ERRORS, **_ERRORS}, ConfigurationError):
                    response = await self._client.invoke(
                        FunctionName=self._name, InvocationType=self._type, Payload=note.body.encode()
                    )
                    returned: bytes = await response["Payload"].read(MAX_REASON_BYTES)
                    response["Payload"].close()  # it may have 6 MiB, which nobody wants
        except TimeoutError as error:
            raise TransientError(f"{operation}: no response within {RESPONSE_SECONDS:.0f} s") from error
        if "FunctionError" in response:  # with status 200
            told = returned.decode(errors="replace")
            raise RequestRefused(f"{operation}: the function failed ({response['FunctionError']}): {told}")
