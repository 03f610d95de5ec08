"""S3 and SQS for tests: an emulator on 127.0.0.1, with plain clients to arrange and to look."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

REGION = "eu-west-1"
ACCOUNT = "123456789012"


@dataclass
class Aws:
    """An emulator at *endpoint*, with plain boto3 clients to arrange and to look. Names are new for every call."""

    endpoint: str
    s3: Any
    sqs: Any
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def bucket(self) -> str:
        """Create a bucket; its name."""
        name = f"bucket-{next(self._numbers)}"
        self.s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        return name

    def queue(self, attributes: Mapping[str, str] | None = None, *, fifo: bool = False) -> str:
        """Create a queue; its URL. Empty attributes count as not given."""
        given = {name: value for name, value in (attributes or {}).items() if value}
        name = f"queue-{next(self._numbers)}"
        if fifo:
            name, given = f"{name}.fifo", {**given, "FifoQueue": "true"}
        return str(self.sqs.create_queue(QueueName=name, Attributes=given)["QueueUrl"])

    def arn(self, url: str) -> str:
        """The ARN of the queue at *url*."""
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{url.rsplit('/', 1)[-1]}"

    def all_messages(self, url: str) -> list[dict[str, Any]]:
        """Everything that can be received from *url* now."""
        found: list[dict[str, Any]] = []
        while got := self.sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], AttributeNames=["All"]
        ).get("Messages"):
            found += got
        return found
