"""A plain AMQP client, to arrange and to look: blocking calls, on a connection and an event loop of its own."""

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

import aio_pika
import pamqp.commands
import pamqp.frame
from aio_pika.abc import AbstractIncomingMessage
from aiormq.abc import ChannelFrame

T = TypeVar("T")

BACKEND_QUEUES = ("job_completed", "job_error", "job_progression", "worker_discovery")


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return bytes([kind]) + channel.to_bytes(2, "big") + len(payload).to_bytes(4, "big") + payload + b"\xce"


@dataclass(frozen=True, slots=True)
class Reply:
    """What came out of a queue."""

    body: str
    properties: AbstractIncomingMessage

    @property
    def headers(self) -> Mapping[str, Any]:
        return self.properties.headers


class AmqpClient:
    """`with AmqpClient(port, vhost) as client`."""

    def __init__(self, port: int, vhost: str) -> None:
        self._port = port
        self._vhost = vhost
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="amqp-client", daemon=True)
        self._connection: aio_pika.abc.AbstractConnection | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def connect(self) -> None:
        """Connect, or connect anew."""
        self.close()
        connecting = aio_pika.connect(host="127.0.0.1", port=self._port, virtualhost=self._vhost)
        self._connection = self._run(connecting)

    def close(self) -> None:
        if self._connection is not None:
            self._run(self._connection.close())
            self._connection = None

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _channel(self) -> aio_pika.abc.AbstractChannel:
        assert self._connection is not None
        channel = self._connection.channel(on_return_raises=True)
        await channel.initialize()
        return channel

    def declare(
        self, queue: str, arguments: Mapping[str, Any] | None = None, bind: tuple[str, str] | None = None
    ) -> None:
        async def work() -> None:
            async with await self._channel() as channel:
                declared = await channel.declare_queue(queue, durable=True, arguments=dict(arguments or {}))
                if bind is not None:
                    await declared.bind(bind[0], bind[1])

        self._run(work())

    def delete(self, queue: str) -> None:
        async def work() -> None:
            async with await self._channel() as channel:
                await channel.queue_delete(queue)

        self._run(work())

    def declare_exchange(self, name: str, kind: str, arguments: Mapping[str, Any] | None = None) -> None:
        async def work() -> None:
            async with await self._channel() as channel:
                await channel.declare_exchange(name, kind, durable=True, arguments=dict(arguments or {}))

        self._run(work())

    def declare_backend(self) -> None:
        """What the Media Cloud AI backend declares, with its names and arguments."""
        for name in ("job_submit", "job_response"):
            other = "job_queue_not_found" if name == "job_submit" else "job_response_not_found"
            self.declare_exchange(name, "topic", {"alternate-exchange": other})
        for name in ("job_queue_not_found", "job_response_delayed"):
            self.declare_exchange(name, "fanout")
        delayed = {"x-message-ttl": 5000, "x-dead-letter-exchange": ""}
        self.declare("job_response_delayed", delayed, ("job_response_delayed", "*"))
        self.declare("job_response_not_found")
        for queue in BACKEND_QUEUES:
            arguments = {"x-dead-letter-exchange": "job_response_delayed", "x-dead-letter-routing-key": queue}
            self.declare(queue, arguments, ("job_response", queue))
            self.declare(f"{queue}_timeout")

    def publish(
        self,
        body: str | bytes,
        key: str,
        exchange: str = "",
        headers: Mapping[str, Any] | None = None,
        **properties: Any,
    ) -> None:
        """Publish, and return when a queue has it."""

        async def work() -> None:
            async with await self._channel() as channel:
                raw = body.encode() if isinstance(body, str) else body
                message = aio_pika.Message(raw, headers=dict(headers or {}), **properties)
                way = await channel.get_exchange(exchange, ensure=False)
                await way.publish(message, key, mandatory=True, timeout=20)

        self._run(work())

    def publish_raw(self, body: bytes, key: str, *, message_id: bytes, headers: bytes, time: bytes) -> None:
        """Publish with properties that no client would encode, given as the bytes on the wire."""

        async def work() -> None:
            channel = await self._channel()
            wire: Any = await channel.get_underlay_channel()
            flags = 1 << 13 | 1 << 7 | 1 << 6  # headers, message id, timestamp
            table = len(headers).to_bytes(4, "big") + headers
            properties = flags.to_bytes(2, "big") + table + bytes([len(message_id)]) + message_id + time
            head = (60).to_bytes(2, "big") + bytes(2) + len(body).to_bytes(8, "big") + properties
            publish = pamqp.frame.marshal(pamqp.commands.Basic.Publish(routing_key=key), wire.number)
            frames = [publish, frame(2, wire.number, head), frame(3, wire.number, body)]
            await wire.write_queue.put(ChannelFrame(payload=b"".join(frames), should_close=False, drain_future=None))
            await wire.basic_qos(prefetch_count=0)
            await channel.close()

        self._run(work())

    def publish_all(self, bodies: list[str], key: str) -> None:
        """Publish many persistent messages."""

        async def work() -> None:
            async with await self._channel() as channel:
                way = channel.default_exchange
                messages = [aio_pika.Message(body.encode(), delivery_mode=2) for body in bodies]
                await asyncio.gather(*(way.publish(message, key, mandatory=True) for message in messages))

        self._run(work())

    def take(self, queue: str) -> Reply | None:
        """Take the next message of *queue*, if there is one."""

        async def work() -> Reply | None:
            async with await self._channel() as channel:
                found = await (await channel.get_queue(queue, ensure=False)).get(fail=False)
                if found is None:
                    return None
                await found.ack()
                return Reply(found.body.decode(), found)

        return self._run(work())

    def take_all(self, queue: str) -> list[Reply]:
        """Take all that is in *queue*."""

        async def work() -> list[Reply]:
            replies = []
            async with await self._channel() as channel:
                there = await channel.get_queue(queue, ensure=False)
                while (found := await there.get(fail=False)) is not None:
                    await found.ack()
                    replies.append(Reply(found.body.decode(), found))
            return replies

        return self._run(work())

    def depth(self, queue: str) -> int:
        """Messages in *queue* that nobody has."""

        async def work() -> int:
            async with await self._channel() as channel:
                declared = await channel.declare_queue(queue, passive=True)
                return int(declared.declaration_result.message_count or 0)

        return self._run(work())
