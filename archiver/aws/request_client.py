"""SQS client of the requester: sends requests and polls for answers."""

import difflib
import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from archiver.aws.error_mapping import DENIED, NO_QUEUE, ResourceNotFound, error_codes, error_map, map_errors
from archiver.aws.queues import resolve_queue
from archiver.aws.session import client_config, credential_errors, open_network
from archiver.errors import ArchiverError, ConfigurationError, TransientError

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

LONG_POLL_SECONDS = 20  # seconds
ANSWER_VISIBILITY_TIMEOUT = 10  # seconds for which a received message is invisible to other consumers

_GET_QUEUE_URL = re.compile(r"GetQueueUrl (\S+):")
_ERROR_MAP = error_map(ResourceNotFound, NO_QUEUE) | error_map(ConfigurationError, DENIED)


@asynccontextmanager
async def sqs_client() -> AsyncIterator["SQSClient"]:
    """
    Open a client with the retries of an interactive command. A ResourceNotFound that leaves the block gets a suggestion
    for a misspelt queue name.

    Raises ConfigurationError if an `AWS_*` variable is unusable.
    """
    async with AsyncExitStack() as stack:
        session = (await open_network()).session
        with credential_errors():
            opening = session.client("sqs", config=client_config(LONG_POLL_SECONDS + 10, attempts=3, pool=10))
            client = await stack.enter_async_context(opening)
        try:
            yield client
        except ResourceNotFound as error:
            raise ResourceNotFound(f"{error}{await _suggest_queue(client, str(error))}") from error


async def send_request(client: "SQSClient", queue: str, body: str, job_id: str | None) -> str:
    """
    Send *body* to *queue* (name, URL or ARN) and return the message's id.

    In a FIFO queue, requests of the same job share a message group.

    Raises ResourceNotFound, ConfigurationError, TransientError.
    """
    url = await resolve_queue(client, queue)
    ids: dict[str, Any] = {}
    if url.endswith(".fifo"):
        ids["MessageDeduplicationId"] = token_hex(16)
        ids["MessageGroupId"] = hashlib.sha256((job_id or token_hex(16)).encode()).hexdigest()
    with map_errors(f"SendMessage {queue}", _ERROR_MAP):
        return str((await client.send_message(QueueUrl=url, MessageBody=body, **ids))["MessageId"])


@dataclass
class AnswerPoller:
    """Polls queues for the messages of one job. Messages of other jobs are released at once and never deleted."""

    client: "SQSClient"
    _urls: dict[str, str] = field(default_factory=dict)
    _released_ids: set[str] = field(default_factory=set)

    async def poll(self, queue: str, matches: Callable[[str], bool], wait: int = LONG_POLL_SECONDS) -> list[str]:
        """
        Wait up to *wait* seconds for messages on *queue*; delete those that *matches* and return their bodies.

        Raises ResourceNotFound, ConfigurationError, TransientError.
        """
        if queue not in self._urls:
            self._urls[queue] = await resolve_queue(self.client, queue)
        url = self._urls[queue]
        with map_errors(f"ReceiveMessage {queue}", _ERROR_MAP):
            response = await self.client.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=wait, VisibilityTimeout=ANSWER_VISIBILITY_TIMEOUT
            )
        bodies = []
        for message in response.get("Messages", []):
            if matches(message["Body"]):
                bodies.append(message["Body"])
                with map_errors(f"DeleteMessage {queue}", _ERROR_MAP):
                    await self.client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            elif message["MessageId"] not in self._released_ids:
                # Release each message once only: releasing it at every receive would be a busy loop.
                self._released_ids.add(message["MessageId"])
                await self._release(url, message["ReceiptHandle"])
        return bodies

    async def _release(self, url: str, receipt: str) -> None:
        try:
            with map_errors("ChangeMessageVisibility"):
                await self.client.change_message_visibility(QueueUrl=url, ReceiptHandle=receipt, VisibilityTimeout=0)
        except TransientError as error:  # the visibility timeout releases the message anyway; only report a denial
            if isinstance(error.__cause__, ClientError) and error_codes(error.__cause__) & DENIED:
                raise ConfigurationError(
                    "ChangeMessageVisibility is denied: messages of other jobs stay invisible to their consumers; "
                    "allow sqs:ChangeMessageVisibility"
                ) from error


async def list_queue_names(client: "SQSClient") -> list[str]:
    """Return the names of the account's queues; empty if they can't be listed."""
    try:
        with map_errors("ListQueues"):
            response = await client.list_queues(MaxResults=1000)
    except ArchiverError:
        return []
    return [url.rpartition("/")[2] for url in response.get("QueueUrls", [])]


async def _suggest_queue(client: "SQSClient", text: str) -> str:
    """Return ` (did you mean …?)` with the queue most similar to the one that *text* names; empty if there is none."""
    match = _GET_QUEUE_URL.match(text)
    if match is None:
        return ""
    known = await list_queue_names(client)
    close = difflib.get_close_matches(match[1].rpartition(":")[2], known, n=1, cutoff=0.7)
    return f" (did you mean {close[0]}?)" if close else ""


async def get_queue_arn(client: "SQSClient", queue: str) -> str:
    """Return the ARN of *queue* from SQS. Raises ResourceNotFound, ConfigurationError, TransientError."""
    arn = (await _get_queue_attributes(client, queue)).get("QueueArn")
    if not arn:
        raise TransientError(f"SQS did not return the ARN of {queue}")
    return str(arn)


async def get_dead_letter_queue_arn(client: "SQSClient", queue: str) -> str | None:
    """Return the ARN of the dead-letter queue of *queue*; None if it has none. Raises like `get_queue_arn`."""
    policy = (await _get_queue_attributes(client, queue)).get("RedrivePolicy") or "{}"
    target: str | None = json.loads(policy).get("deadLetterTargetArn")
    return target


async def _get_queue_attributes(client: "SQSClient", queue: str) -> dict[str, str]:
    url = await resolve_queue(client, queue)
    with map_errors(f"GetQueueAttributes {queue}", _ERROR_MAP):
        response = await client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn", "RedrivePolicy"])
    return {str(name): value for name, value in response.get("Attributes", {}).items()}
