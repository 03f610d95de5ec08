"""The permissions of the ways out: of what is set, and of nothing else."""

from archiver.core.ways_out_policy import WaysOutResources, ways_out_statements

QUEUE = "arn:aws-cn:sqs:cn-north-1:123456789012:in"


def test_without_ways_out_nothing_is_allowed() -> None:
    assert ways_out_statements(WaysOutResources(), QUEUE) == []


def test_names_become_arns_and_arns_stay() -> None:
    topic = "arn:aws-cn:sns:cn-northwest-1:210987654321:t"
    named = ways_out_statements(WaysOutResources(topic, "default", "f:live"), QUEUE)
    whole = ways_out_statements(WaysOutResources(bus="arn:aws:events:eu-west-1:1:event-bus/b"), QUEUE)

    assert [one.resources for one in named] == [
        (topic,),
        ("arn:aws-cn:events:cn-north-1:123456789012:event-bus/default",),
        ("arn:aws-cn:lambda:cn-north-1:123456789012:function:f:live",),
    ]
    assert [one.actions[0] for one in named] == ["sns:Publish", "events:PutEvents", "lambda:InvokeFunction"]
    assert [one.resources for one in whole] == [("arn:aws:events:eu-west-1:1:event-bus/b",)]
