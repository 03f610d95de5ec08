"""What answers are sent to beside SQS, on the emulated AWS: topics, buses and functions."""

import io
import itertools
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from emulator import EmulatedAws


@dataclass
class Receivers:
    """Makes receivers, with names that are new for every call."""

    aws: EmulatedAws
    sns: Any
    events: Any
    functions: Any
    iam: Any
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def topic(self, *, fifo: bool = False) -> tuple[str, str]:
        """Create a topic, and a queue that is subscribed to it; the ARN and the URL."""
        queue = self.aws.queue(fifo=fifo)
        name = queue.rpartition("/")[2]
        given = {"FifoTopic": "true"} if fifo else {}
        topic = str(self.sns.create_topic(Name=name, Attributes=given)["TopicArn"])
        self.sns.subscribe(
            TopicArn=topic, Protocol="sqs", Endpoint=self.aws.arn(queue), Attributes={"RawMessageDelivery": "true"}
        )
        return topic, queue

    def bus(self) -> str:
        """Create a bus; its name."""
        name = f"bus-{id(self)}-{next(self._numbers)}"
        self.events.create_event_bus(Name=name)
        return name

    def function(self) -> str:
        """Create a function that returns its event; its name."""
        number = next(self._numbers)
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("f.py", "def handle(event, context): return event")
        name = f"function-{uuid.uuid4().hex[:16]}-{number}"  # the emulator keeps those of objects that are gone
        role = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")
        self.functions.create_function(
            FunctionName=name,
            Runtime="python3.11",
            Role=role["Role"]["Arn"],
            Handler="f.handle",
            Code={"ZipFile": code.getvalue()},
        )
        return name

    def messages(self, queue: str) -> list[tuple[str, dict[str, Any]]]:
        """Bodies and attributes of all that is in *queue*."""
        return [
            (
                message["Body"],
                {
                    name: value.get("StringValue", value.get("BinaryValue"))
                    for name, value in message.get("MessageAttributes", {}).items()
                },
            )
            for message in self.aws.all_messages(queue)
        ]


@pytest.fixture
def receivers(aws: EmulatedAws) -> Iterator[Receivers]:
    """Import it where it is used."""
    import boto3  # noqa: PLC0415  # slow to import
    from moto.core.config import default_user_config  # noqa: PLC0415

    default_user_config["lambda"]["use_docker"] = False  # functions return their event, and need no engine
    clients = [
        boto3.client(name, endpoint_url=aws.endpoint, verify=aws.bundle) for name in ("sns", "events", "lambda", "iam")
    ]
    yield Receivers(aws, *clients)
    for client in clients:
        client.close()
