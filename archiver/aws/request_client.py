"""SQS for who asks for archives: send a request, and watch for what is said about it."""

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
from archiver.aws.session import client_config, credential_errors, open_network
from archiver.aws.sqs import resolve_queue
from archiver.errors import ArchiverError, ConfigurationError, TransientError

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

LONG_POLL_SECONDS = 20  # seconds
ANSWER_VISIBILITY_TIMEOUT = 10  # seconds for which what we look at is kept from others

_GET_QUEUE_URL = re.compile(r"GetQueueUrl (\S+):")
_ERROR_MAP = error_map(ResourceNotFound, NO_QUEUE) | error_map(ConfigurationError, DENIED)


@asynccontextmanager
async def sqs_client() -> AsyncIterator["SQSClient"]:
    """
    A client for a person's patience: a queue's name that does not exist is told with the one that may be meant. Raises
    ConfigurationError where the `AWS_*` variables are of no use.
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
    Put *body* on *queue* (name, URL or ARN); the message's id. A FIFO queue keeps requests of one job in one group.

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
    """Queues that are read for word of one job. What is about others goes back at once; it is never deleted."""

    client: "SQSClient"
    _urls: dict[str, str] = field(default_factory=dict)
    _released_ids: set[str] = field(default_factory=set)

    async def poll(self, queue: str, matches: Callable[[str], bool], wait: int = LONG_POLL_SECONDS) -> list[str]:
        """
        Bodies of what *matches* takes on *queue*, waited for up to *wait* seconds, and deleted. Raises as SQS does.
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
                # At once, the first time. One that nobody else takes stays hidden for a while, else we would spin.
                self._released_ids.add(message["MessageId"])
                await self._release(url, message["ReceiptHandle"])
        return bodies

    async def _release(self, url: str, receipt: str) -> None:
        try:
            with map_errors("ChangeMessageVisibility"):
                await self.client.change_message_visibility(QueueUrl=url, ReceiptHandle=receipt, VisibilityTimeout=0)
        except TransientError as error:  # it comes back by itself; only a refusal is worth a word
            if isinstance(error.__cause__, ClientError) and error_codes(error.__cause__) & DENIED:
                raise ConfigurationError("ChangeMessageVisibility is denied: messages of others stay hidden") from error


async def list_queue_names(client: "SQSClient") -> list[str]:
    """Names of this account's queues, for who misspelt one; none where they may not be listed."""
    try:
        with map_errors("ListQueues"):
            response = await client.list_queues(MaxResults=1000)
    except ArchiverError:
        return []
    return [url.rpartition("/")[2] for url in response.get("QueueUrls", [])]


async def _suggest_queue(client: "SQSClient", text: str) -> str:
    """` (did you mean …?)`, where a queue of this account has a name like the one in *text*; nothing where none has."""
    match = _GET_QUEUE_URL.match(text)
    if match is None:
        return ""
    known = await list_queue_names(client)  # who may not list them is told without
    close = difflib.get_close_matches(match[1].rpartition(":")[2], known, n=1, cutoff=0.7)
    return f" (did you mean {close[0]}?)" if close else ""


async def get_queue_arn(client: "SQSClient", queue: str) -> str:
    """The ARN of *queue*, asked of SQS. Raises ResourceNotFound, ConfigurationError, TransientError."""
    arn = (await _get_queue_attributes(client, queue)).get("QueueArn")
    if not arn:
        raise TransientError(f"SQS does not tell the ARN of {queue}")
    return str(arn)


async def get_dead_letter_queue_arn(client: "SQSClient", queue: str) -> str | None:
    """The ARN of the dead-letter queue of *queue*, None where it has none. Raises as `get_queue_arn`."""
    policy = (await _get_queue_attributes(client, queue)).get("RedrivePolicy") or "{}"
    target: str | None = json.loads(policy).get("deadLetterTargetArn")
    return target


async def _get_queue_attributes(client: "SQSClient", queue: str) -> dict[str, str]:
    url = await resolve_queue(client, queue)
    with map_errors(f"GetQueueAttributes {queue}", _ERROR_MAP):
        response = await client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn", "RedrivePolicy"])
    return {str(name): value for name, value in response.get("Attributes", {}).items()}
