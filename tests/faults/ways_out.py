"""A topic, a bus and a function that get the answers of workers, and the check that each of them did."""

import json
from typing import Any

import pytest
from emulator import ACCOUNT, REGION, EmulatedAws
from receivers import Receivers

from .crashes import Point
from .history import Exchange
from .observations import executed
from .scenario import Scenario

LOOKING = (
    Point("GetTopicAttributes", "topic"),
    Point("DescribeEventBus", "bus"),
    Point("GetFunctionConfiguration", "function"),
)
TELLING = (Point("Publish", "topic"), Point("PutEvents", "bus"), Point("Invoke", "function"))


class WaysOut:
    """A topic, a bus and a function, in another region than the worker, and what they got."""

    def __init__(self, receivers: Receivers) -> None:
        self._receivers = receivers
        self._topic, self._queue = receivers.topic()
        self.settings = {
            "NOTIFY_SNS_TOPIC": self._topic,
            "NOTIFY_EVENT_BUS": f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{receivers.bus()}",
            "NOTIFY_LAMBDA": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{receivers.function()}",
        }

    def published(self) -> list[dict[str, Any]]:
        """The answers that came through the topic."""
        return [json.loads(body) for body, _ in self._receivers.messages(self._queue)]


@pytest.fixture
def ways_out(aws: EmulatedAws, receivers: Receivers) -> WaysOut:
    return WaysOut(receivers)


def told_by_events(exchanges: list[Exchange]) -> list[dict[str, Any]]:
    return [json.loads(exchange.call.fields["Entries"][0]["Detail"]) for exchange in exchanges]


def check_that_all_were_told(scenario: Scenario, ways_out: WaysOut) -> None:
    """Every receiver got the answer that the queue got, at least once, and nothing else."""
    (job,) = scenario.jobs
    answers = scenario.answers(job)
    assert len({json.dumps(answer) for answer in answers}) == 1
    (answer, *_) = answers
    for got in (ways_out.published(), told_by_events(executed(scenario.history.select("PutEvents")))):
        assert got
        assert [other for other in got if other != answer] == []
    assert executed(scenario.history.select("Invoke"))
