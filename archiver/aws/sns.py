"""SNS: a topic that answers are published to."""

from collections.abc import Mapping
from typing import Any

from archiver.aws.attributes import MAX_ATTRIBUTES, attributes_size, to_sqs, valid_attributes
from archiver.aws.error_mapping import DENIED, ResourceNotFound, error_map, map_errors
from archiver.aws.notifiers import MAX_BODY_BYTES, UNSENDABLE_ERRORS
from archiver.errors import ConfigurationError
from archiver.ports import Attribute, OutgoingMessage

STATUS_ATTRIBUTE = "status"
_STATUS_ROOM = attributes_size({STATUS_ATTRIBUTE: Attribute("String", "x" * 32)})
_ERRORS = error_map(ResourceNotFound, {"NotFound", "NotFoundException"}) | error_map(
    ConfigurationError, DENIED | {"AuthorizationError"}
)


class SnsNotifier:
    """
    A Notifier that publishes to the topic *arn*. The message is the answer; its attributes are `status`, for filters of
    subscriptions, and up to nine of the request's: a subscribed queue takes ten.
    """

    def __init__(self, client: Any, arn: str) -> None:
        self._client = client
        self._arn = arn

    async def check(self) -> None:
        """Check that the topic exists. Raises ResourceNotFound, ConfigurationError, TransientError."""
        with map_errors(f"GetTopicAttributes {self._arn}", _ERRORS, ConfigurationError):
            await self._client.get_topic_attributes(TopicArn=self._arn)

    def max_body_bytes(self, attributes: Mapping[str, Attribute]) -> int:
        """Return the bytes of UTF-8 left for a body next to *attributes*."""
        return MAX_BODY_BYTES - _STATUS_ROOM - attributes_size(_passed_on(attributes))

    async def send(self, note: OutgoingMessage) -> None:
        """Publish *note*. Raises TransientError (Undeliverable: SNS refuses this message), ConfigurationError."""
        status = {STATUS_ATTRIBUTE: Attribute("String", note.status)} if note.status else {}
        attributes = {**status, **_passed_on(note.attributes)}
        fifo = self._arn.endswith(".fifo")  # SNS requires this suffix
        ids = {"MessageGroupId": note.group, "MessageDeduplicationId": note.id} if fifo else {}
        with map_errors(f"Publish {self._arn}", {**UNSENDABLE_ERRORS, **_ERRORS}, ConfigurationError):
            await self._client.publish(
                TopicArn=self._arn, Message=note.body, MessageAttributes=to_sqs(attributes), **ids
            )


def _passed_on(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    """Return the first nine of *attributes* that SNS accepts; its types have no labels of the sender's."""
    valid = {name: one for name, one in valid_attributes(attributes).items() if name != STATUS_ATTRIBUTE}
    plain = {name: Attribute(one.type.partition(".")[0], one.value) for name, one in valid.items()}
    return dict(list(plain.items())[: MAX_ATTRIBUTES - 1])
