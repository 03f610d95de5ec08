"""The connection is cut after every frame of a job's exchange, and before the first: no message is lost or left."""

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest

from archiver.amqp.connection import Address, Connection
from archiver.amqp.publishing import AmqpNotifier, Publisher
from archiver.amqp.source import AmqpSource, read_facts
from archiver.amqp.topology import Topology
from archiver.errors import Rejected, TransientError
from archiver.ports import Hold, JobResult, JobSuccess, Message, OutgoingMessage
from archiver.stages.retry import retry_transient
from archiver.worker.gate import ReceiveGate
from archiver.worker.heartbeat import Heartbeat
from archiver.worker.loop import Worker, WorkerLimits
from archiver.worker.settle import Settler

from .amqp_client import AmqpClient
from .amqp_proxy import CuttingProxy
from .rabbit import Broker

VISIBILITY = 2
JOB_SECONDS = 0.9  # more than a third of the visibility: one renewal
DELAY = 0.3
AT_ONCE = 24
ROUNDS = 3


@pytest.fixture(scope="module")
def vhost(broker: Broker) -> str:
    return broker.vhost()


@pytest.fixture(scope="module")
def client(broker: Broker, vhost: str) -> Iterator[AmqpClient]:
    with AmqpClient(broker.port, vhost) as opened:
        yield opened


class ReplyingJob:
    """A job that lasts, and then replies with an id that is that of its message."""

    def __init__(self, notifier: AmqpNotifier) -> None:
        self._notifier = notifier

    def read_job_id(self, message: Message) -> str | None:
        return message.body

    async def run(self, message: Message, hold: Hold) -> JobSuccess:
        await asyncio.sleep(JOB_SECONDS)

        async def send() -> None:
            hold.confirm()
            await self._notifier.send(OutgoingMessage(message.body, f"reply to {message.id}", ""))

        await retry_transient(send)
        return JobSuccess("succeeded", 0, 0, "", reused=False)

    async def reject(self, message: Message, rejection: Rejected, hold: Hold) -> None:
        raise AssertionError(rejection)

    async def send_failure(self, message: Message, rejection: Rejected, hold: Hold) -> None:
        raise AssertionError(rejection)


class Exchange:
    """
    One message, one job, one reply, through a proxy of its own that cuts after so many frames. *replies_alone*: only
    the connection of the reply goes through it, so that the message can be acknowledged where its reply was lost.
    """

    def __init__(self, broker: Broker, vhost: str, cut_after: int | None, *, replies_alone: bool = False) -> None:
        self.queue = f"q{uuid.uuid4().hex[:10]}"
        self.replies = f"{self.queue}-replies"
        self.frames = 0
        self._broker = broker
        self._vhost = vhost
        self._cut_after = cut_after
        self._replies_alone = replies_alone

    async def run(self) -> list[str]:
        """Work until a job is done; return how its deliveries ended."""
        outcomes = _Observer()
        async with CuttingProxy(self._broker.port, self._cut_after) as proxy:
            address = Address("127.0.0.1", proxy.port, self._vhost, "guest", "guest")
            direct = replace(address, port=self._broker.port)
            sending = Connection(address, "tests")
            receiving = Connection(direct if self._replies_alone else address, "tests")
            try:
                await retry_transient(Topology(receiving, self.queue, DELAY).declare)
                facts = replace(read_facts(self._vhost, self.queue, 1800, 20), visibility=VISIBILITY)
                async with AmqpSource(receiving, self.queue, facts, wait_seconds=0.5, delay=DELAY) as source:
                    job = ReplyingJob(AmqpNotifier(Publisher(sending), "", self.replies))
                    gate = ReceiveGate()
                    settler = Settler(source, job, gate, outcomes)
                    worker = Worker(source, settler, gate, WorkerLimits(1, 0.5, 5), heartbeat=Heartbeat())
                    async with asyncio.timeout(60):
                        await worker.run(outcomes.stop)
            finally:
                self.frames = proxy.frames
                await sending.close()
                await receiving.close()
        self._cut_after = None
        return outcomes.ended_as


class _Observer:
    def __init__(self) -> None:
        self.ended_as: list[str] = []
        self.stop = asyncio.Event()

    def ended(self, job: JobResult) -> None:
        self.ended_as.append(job.outcome)
        if job.outcome == "done":
            self.stop.set()


async def settle(exchange: Exchange, client: AmqpClient) -> tuple[list[str], set[tuple[str, str | None]]]:
    """Run *exchange* until nothing of it is left; return the outcomes, and the replies with their ids."""
    await asyncio.to_thread(client.declare, exchange.replies)
    arguments = {
        "x-dead-letter-exchange": "job_delayed",
        "x-dead-letter-routing-key": exchange.queue,
        "x-max-priority": 100,
    }
    await asyncio.to_thread(client.declare, exchange.queue, arguments)
    await asyncio.to_thread(client.publish, "one", exchange.queue, message_id="m-1", delivery_mode=2)
    outcomes: list[str] = []
    for _ in range(ROUNDS):
        outcomes += await exchange.run()
        await asyncio.sleep(DELAY + 0.5)
        if await asyncio.to_thread(client.depth, exchange.queue) == 0:
            break
    assert await asyncio.to_thread(client.depth, exchange.queue) == 0
    taken = await asyncio.to_thread(client.take_all, exchange.replies)
    replies = {(reply.body, reply.properties.message_id) for reply in taken}
    return outcomes, replies


async def test_the_connection_is_cut_after_every_frame_and_nothing_is_lost(
    broker: Broker, vhost: str, client: AmqpClient
) -> None:
    frames, ended = await cut_after_every_frame(broker, vhost, client, replies_alone=False)
    assert frames > 60, "connecting twice, declaring, getting, renewing, replying, acknowledging"
    assert ended == {}, f"of {frames} frames"


async def test_a_message_is_not_acknowledged_before_the_broker_has_confirmed_its_reply(
    broker: Broker, vhost: str, client: AmqpClient
) -> None:
    """The connection that acknowledges stays: a reply that was only sent would be lost, and its message gone."""
    frames, ended = await cut_after_every_frame(broker, vhost, client, replies_alone=True)
    assert frames > 10, "connecting, opening a channel, replying"
    assert ended == {}, f"of {frames} frames"


async def cut_after_every_frame(
    broker: Broker, vhost: str, client: AmqpClient, *, replies_alone: bool
) -> tuple[int, dict[int, str]]:
    """Return the frames of an exchange, and what went wrong in exchanges that were cut after so many of them."""
    whole = Exchange(broker, vhost, None, replies_alone=replies_alone)
    outcomes, replies = await settle(whole, client)
    assert (outcomes, replies) == (["done"], {("one", "reply to m-1")})
    slots = asyncio.Semaphore(AT_ONCE)
    ended: dict[int, str] = {}

    async def cut(after: int) -> None:
        async with slots:
            try:
                cutting = Exchange(broker, vhost, after, replies_alone=replies_alone)
                found, replied = await settle(cutting, client)
            except (AssertionError, TransientError, TimeoutError) as error:
                ended[after] = repr(error)
                return
            if replied != {("one", "reply to m-1")} or found[-1] != "done":
                ended[after] = f"{found} {replied}"

    async with asyncio.TaskGroup() as cuts:
        for after in range(whole.frames):
            cuts.create_task(cut(after), name=f"cut after {after}")
    return whole.frames, ended


async def test_a_connection_that_falls_silent_is_a_lost_lease_and_is_opened_anew(
    broker: Broker, vhost: str, client: AmqpClient
) -> None:
    """Neither end is told; the broker waits for two heartbeats of 60 s. Each renewal asks the broker."""
    queue = f"q{uuid.uuid4().hex[:10]}"
    client.declare(queue)
    client.publish("one", queue)
    gate, outcomes = ReceiveGate(), _Observer()
    async with CuttingProxy(broker.port, None) as proxy:
        address = Address("127.0.0.1", proxy.port, vhost, "guest", "guest")
        connection = Connection(address, "tests", patience=VISIBILITY)
        facts = replace(read_facts(vhost, queue, 1800, 20), visibility=VISIBILITY)
        async with AmqpSource(connection, queue, facts, wait_seconds=0.5, delay=None) as source:
            settler = Settler(source, SilencingJob(proxy), gate, outcomes)
            worker = Worker(source, settler, gate, WorkerLimits(1, 0.5, 5), heartbeat=Heartbeat())
            async with asyncio.timeout(60):
                await worker.run(outcomes.stop)
        await connection.close()
    assert outcomes.ended_as == ["lease_lost", "done"]


class SilencingJob(ReplyingJob):
    """A job during which the connection falls silent; the second time it is done at once."""

    def __init__(self, proxy: CuttingProxy) -> None:
        self._proxy = proxy
        self._begun = 0

    async def run(self, message: Message, hold: Hold) -> JobSuccess:
        self._begun += 1
        if self._begun == 1:
            self._proxy.silence()
            await asyncio.sleep(10 * VISIBILITY)
        return JobSuccess("succeeded", 0, 0, "", reused=False)
