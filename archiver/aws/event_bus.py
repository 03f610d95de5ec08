"""EventBridge: a bus that answers are put on, as events."""

from collections.abc import Mapping
from typing import Any

from archiver.aws.error_mapping import DENIED, ResourceNotFound, error_map, is_transient, map_errors
from archiver.aws.notifiers import MAX_BODY_BYTES, UNSENDABLE_ERRORS
from archiver.core.policy import bucket_arn
from archiver.errors import ArchiverError, ConfigurationError, TransientError, Undeliverable
from archiver.ports import Attribute, OutgoingMessage

SOURCE = "archiver"
_BESIDE_DETAIL = 2048  # bytes at most: source, detail type, and the ARN of the archive, whose key has at most 1,024
_ERRORS = error_map(ResourceNotFound, {"ResourceNotFoundException"}) | error_map(ConfigurationError, DENIED)
_MALFORMED = frozenset({"InvalidArgument", "MalformedDetail"})
_PASSING = frozenset({"InternalException", "InternalFailure", "ServiceUnavailable"})


class EventBusNotifier:
    """
    A Notifier that puts events on the bus *name* (or an ARN). `detail` is the answer, `detail-type` says how the job
    ended ("Archive Succeeded", "Command Failed"), `resources` has the ARN of the archive in *bucket*. The request's
    attributes have no place in an event.
    """

    def __init__(self, client: Any, name: str, bucket: str, partition: str) -> None:
        self._client = client
        self._name = name
        self._bucket = bucket
        self._partition = partition

    async def check(self) -> None:
        """Check that the bus exists. Raises ResourceNotFound, ConfigurationError, TransientError."""
        with map_errors(f"DescribeEventBus {self._name}", _ERRORS, ConfigurationError):
            await self._client.describe_event_bus(Name=self._name)

    def max_body_bytes(self, attributes: Mapping[str, Attribute]) -> int:  # noqa: ARG002
        return MAX_BODY_BYTES - _BESIDE_DETAIL

    async def send(self, note: OutgoingMessage) -> None:
        """Put *note* on the bus. Raises TransientError (Undeliverable: it refuses this event), ConfigurationError."""
        entry = {
            "EventBusName": self._name,
            "Source": SOURCE,
            "DetailType": f"{'Command' if note.is_command else 'Archive'} {note.status.title()}",
            "Detail": note.body,
            "Resources": [bucket_arn(self._bucket, note.key, self._partition)] if note.key else [],
        }
        with map_errors(f"PutEvents {self._name}", {**UNSENDABLE_ERRORS, **_ERRORS}, ConfigurationError):
            response = await self._client.put_events(Entries=[entry])
        if response.get("FailedEntryCount"):  # with status 200
            raise _entry_error(f"PutEvents {self._name}", response["Entries"][0])


def _entry_error(operation: str, entry: Mapping[str, Any]) -> ArchiverError:
    code = str(entry.get("ErrorCode"))
    told = f"{operation}: {entry.get('ErrorMessage') or 'no reason given'} ({code})"
    if code in _MALFORMED:
        return Undeliverable(told)
    if code in _PASSING or is_transient({code}):
        return TransientError(told)
    return ConfigurationError(told)  # not authorized, a missing bus, a limit of the account
