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

from archiver.aws.error_mapping import DENIED, NO_QUEUE, NotThere, codes, table, translated
from archiver.aws.session import open_network, provided, tuned
from archiver.aws.sqs import resolve_queue
from archiver.errors import ArchiverError, ConfigurationFault, Temporary

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

POLL = 20  # seconds
HIDE = 10  # seconds for which what we look at is kept from others

_ASKED = re.compile(r"GetQueueUrl (\S+):")
_SPECIAL = table(NotThere, NO_QUEUE) | table(ConfigurationFault, DENIED)


@asynccontextmanager
async def sqs_client() -> AsyncIterator["SQSClient"]:
    """
    A client for a person's patience: a queue's name that does not exist is told with the one that may be meant. Raises
    ConfigurationFault where the `AWS_*` variables are of no use.
    """
    async with AsyncExitStack() as stack:
        session = (await open_network()).session
        with provided():
            opening = session.client("sqs", config=tuned(POLL + 10, attempts=3, pool=10))
            client = await stack.enter_async_context(opening)
        try:
            yield client
        except NotThere as error:
            raise NotThere(f"{error}{await _meant(client, str(error))}") from error


async def send_request(client: "SQSClient", queue: str, body: str, job_id: str | None) -> str:
    """
    Put *body* on *queue* (name, URL or ARN); the message's id. A FIFO queue keeps requests of one job in one group.

    Raises NotThere, ConfigurationFault, Temporary.
    """
    url = await resolve_queue(client, queue)
    ids: dict[str, Any] = {}
    if url.endswith(".fifo"):
        ids["MessageDeduplicationId"] = token_hex(16)
        ids["MessageGroupId"] = hashlib.sha256((job_id or token_hex(16)).encode()).hexdigest()
    with translated(f"SendMessage {queue}", _SPECIAL):
        return str((await client.send_message(QueueUrl=url, MessageBody=body, **ids))["MessageId"])


@dataclass
class Watch:
    """Queues that are read for word of one job. What is about others goes back at once; it is never deleted."""

    client: "SQSClient"
    _urls: dict[str, str] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)

    async def look(self, queue: str, ours: Callable[[str], bool], wait: int = POLL) -> list[str]:
        """Bodies of what *ours* takes on *queue*, waited for up to *wait* seconds, and deleted. Raises as SQS does."""
        if queue not in self._urls:
            self._urls[queue] = await resolve_queue(self.client, queue)
        url = self._urls[queue]
        with translated(f"ReceiveMessage {queue}", _SPECIAL):
            told = await self.client.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=wait, VisibilityTimeout=HIDE
            )
        bodies = []
        for message in told.get("Messages", []):
            if ours(message["Body"]):
                bodies.append(message["Body"])
                with translated(f"DeleteMessage {queue}", _SPECIAL):
                    await self.client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            elif message["MessageId"] not in self._seen:
                # At once, the first time. One that nobody else takes stays hidden for a while, else we would spin.
                self._seen.add(message["MessageId"])
                await self._give_back(url, message["ReceiptHandle"])
        return bodies

    async def _give_back(self, url: str, receipt: str) -> None:
        try:
            with translated("ChangeMessageVisibility"):
                await self.client.change_message_visibility(QueueUrl=url, ReceiptHandle=receipt, VisibilityTimeout=0)
        except Temporary as error:  # it comes back by itself; only a refusal is worth a word
            if isinstance(error.__cause__, ClientError) and codes(error.__cause__) & DENIED:
                raise ConfigurationFault("ChangeMessageVisibility is denied: messages of others stay hidden") from error


async def queue_names(client: "SQSClient") -> list[str]:
    """Names of this account's queues, for who misspelt one; none where they may not be listed."""
    try:
        with translated("ListQueues"):
            told = await client.list_queues(MaxResults=1000)
    except ArchiverError:
        return []
    return [url.rpartition("/")[2] for url in told.get("QueueUrls", [])]


async def _meant(client: "SQSClient", text: str) -> str:
    """` (did you mean …?)`, where a queue of this account has a name like the one in *text*; nothing where none has."""
    asked = _ASKED.match(text)
    if asked is None:
        return ""
    known = await queue_names(client)  # who may not list them is told without
    close = difflib.get_close_matches(asked[1].rpartition(":")[2], known, n=1, cutoff=0.7)
    return f" (did you mean {close[0]}?)" if close else ""


async def queue_arn_of(client: "SQSClient", queue: str) -> str:
    """The ARN of *queue*, asked of SQS. Raises NotThere, ConfigurationFault, Temporary."""
    arn = (await _attributes(client, queue)).get("QueueArn")
    if not arn:
        raise Temporary(f"SQS does not tell the ARN of {queue}")
    return str(arn)


async def redrive_target(client: "SQSClient", queue: str) -> str | None:
    """The ARN of the dead-letter queue of *queue*, None where it has none. Raises as `queue_arn_of`."""
    policy = (await _attributes(client, queue)).get("RedrivePolicy") or "{}"
    target: str | None = json.loads(policy).get("deadLetterTargetArn")
    return target


async def _attributes(client: "SQSClient", queue: str) -> dict[str, str]:
    url = await resolve_queue(client, queue)
    with translated(f"GetQueueAttributes {queue}", _SPECIAL):
        told = await client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn", "RedrivePolicy"])
    return {str(name): value for name, value in told.get("Attributes", {}).items()}
