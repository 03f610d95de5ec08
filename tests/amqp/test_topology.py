"""The exchanges and queues, and the checks of `archiver check`, on a broker in memory."""

from typing import cast

import pytest
from fakes.amqp import FakeBroker, FakeConnection

from archiver.amqp.connection import Connection
from archiver.amqp.faults import AccessRefused, EntityMissing, Mismatch, Unrouted
from archiver.amqp.preflight import check_publishing, check_topology
from archiver.amqp.publishing import Publisher
from archiver.amqp.topology import Topology
from archiver.errors import TransientError

DELAYED = {"x-dead-letter-exchange": "", "x-message-ttl": 5000}
JOBS = {"x-dead-letter-exchange": "job_delayed", "x-dead-letter-routing-key": "jobs", "x-max-priority": 100}


def topology(broker: FakeBroker) -> Topology:
    return Topology(cast("Connection", FakeConnection(broker)), "jobs")


async def test_what_is_missing_is_made_as_the_platform_has_it() -> None:
    broker = FakeBroker()
    assert await topology(broker).declare() is True
    assert broker.queues == {"job_delayed": DELAYED, "jobs": JOBS}
    assert broker.bindings == {("job_delayed", "job_delayed", "*"), ("jobs", "job_submit", "jobs")}
    assert broker.exchanges == {
        "job_submit": {"type": "topic", "alternate-exchange": "job_queue_not_found"},
        "job_response": {"type": "topic", "alternate-exchange": "job_response_not_found"},
        "job_delayed": {"type": "fanout"},
        "direct_messaging": {"type": "headers", "alternate-exchange": "direct_messaging_not_found"},
    }
    assert await topology(broker).declare() is True


async def test_exchanges_of_others_are_used_as_they_are() -> None:
    broker = FakeBroker(exchanges={"job_response": {"type": "direct"}})
    assert await topology(broker).declare() is True


@pytest.mark.parametrize(
    "broker",
    [
        FakeBroker(queues={"jobs": {}}),
        FakeBroker(queues={"job_delayed": {"x-message-ttl": 1}}),
        FakeBroker(exchanges={"job_delayed": {"type": "topic"}}),
    ],
)
async def test_what_retries_depend_on_has_to_be_the_same(broker: FakeBroker) -> None:
    with pytest.raises(Mismatch, match="PRECONDITION_FAILED"):
        await topology(broker).declare()


async def test_a_queue_that_may_not_be_declared_is_not_ours_and_a_missing_one_is_named() -> None:
    broker = FakeBroker()
    await topology(broker).declare()
    broker.refused |= {"jobs"}
    assert await topology(broker).declare() is False
    with pytest.raises(EntityMissing, match="let this user configure it"):
        await topology(FakeBroker(refused={"jobs"})).declare()
    with pytest.raises(EntityMissing, match="let this user configure it"):
        await topology(FakeBroker(refused={"job_submit"})).declare()
    broker.refused |= {"job_delayed"}
    with pytest.raises(AccessRefused):
        await topology(broker).compare_queue("job_delayed")


async def test_other_queues_are_made_or_found() -> None:
    broker = FakeBroker(queues={"there": {"x-anything": 1}})
    await topology(broker).create_queue("there")
    await topology(broker).create_queue("dead")
    assert broker.queues["dead"] == {}
    with pytest.raises(EntityMissing):
        await topology(broker).find()


async def checked(
    broker: FakeBroker, *, declares: bool = True, dead: str | None = "dead"
) -> dict[str, tuple[str, str]]:
    results = await check_topology(topology(broker), "jobs", dead, declares=declares)
    return {one.what: (one.state, one.told) for one in results}


async def test_a_check_says_what_is_missing_and_what_is_made() -> None:
    broker = FakeBroker()
    found = await checked(broker)
    assert [state for state, _ in found.values()] == ["ok", "ok", "ok", "warning", "warning"]
    assert broker.queues == {}
    assert (await checked(broker, declares=False))["AMQP queue"][0] == "bad"


async def test_a_check_compares_what_is_there() -> None:
    broker = FakeBroker(queues={"job_completed": {}, "job_error": {}})
    await topology(broker).declare()
    assert {state for state, _ in (await checked(broker, dead=None)).values()} == {"ok"}
    broker.queues["jobs"] = {}
    assert (await checked(broker))["AMQP queue"][0] == "bad"
    broker.refused.add("job_delayed")
    assert (await checked(broker))["delay queue"][0] == "bad"


@pytest.mark.parametrize(
    ("error", "state", "published"),
    [
        (None, "ok", 2),
        (AccessRefused("ACCESS_REFUSED"), "unknown", 0),
        (Unrouted("no queue takes it"), "ok", 1),
        (TransientError("no response in time"), "unknown", 0),
    ],
)
async def test_a_check_publishes_what_no_queue_takes(error: Exception | None, state: str, published: int) -> None:
    broker = FakeBroker()
    connection = FakeConnection(broker)
    connection.errors = [error] if error else []

    checked = await check_publishing(Publisher(cast("Connection", connection)))

    assert checked.state == state
    named = [(exchange, key.startswith("archiver-check-")) for exchange, key, _, _ in broker.published]
    assert named == [("", True)] * published


async def test_a_check_tells_an_alarm_of_the_broker_from_a_broker_that_is_down() -> None:
    connection = FakeConnection(FakeBroker())
    connection.blocked = True

    checked = await check_publishing(Publisher(cast("Connection", connection)))

    assert checked.state == "bad"
    assert "the broker takes no messages at present (its alarm for memory or disk)" in checked.told
