"""The permissions that the ways out beside SQS need."""

from dataclasses import dataclass

from archiver.core.policy import Statement

PUBLISH_ACTIONS = ("sns:Publish", "sns:GetTopicAttributes")
PUT_EVENTS_ACTIONS = ("events:PutEvents", "events:DescribeEventBus")
INVOKE_ACTIONS = ("lambda:InvokeFunction", "lambda:GetFunctionConfiguration")


@dataclass(frozen=True, slots=True)
class WaysOutResources:
    """What settings name: a topic (an ARN), a bus and a function (names or ARNs). None: not set."""

    topic: str | None = None
    bus: str | None = None
    function: str | None = None


def ways_out_statements(resources: WaysOutResources, queue: str) -> list[Statement]:
    """Return the permissions for *resources*, with names in the region and account of *queue* (an ARN)."""
    partition, _, region, account = queue.split(":")[1:5]

    def arn(service: str, kind: str, name: str) -> str:
        return name if name.startswith("arn:") else f"arn:{partition}:{service}:{region}:{account}:{kind}{name}"

    why = "answers go here; the other action finds out at startup whether it exists"
    topic, bus, function = resources.topic, resources.bus, resources.function
    statements = [
        Statement("PublishAnswers", PUBLISH_ACTIONS, (topic,) if topic else (), why),
        Statement("PutAnswers", PUT_EVENTS_ACTIONS, (arn("events", "event-bus/", bus),) if bus else (), why),
        Statement(
            "InvokeWithAnswers", INVOKE_ACTIONS, (arn("lambda", "function:", function),) if function else (), why
        ),
    ]
    return [statement for statement in statements if statement.resources]
