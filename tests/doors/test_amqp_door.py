"""The RabbitMQ door where no broker is: what the worker says, and how it stops. With one: tests/e2e."""

import asyncio
import socket
import struct

import pytest
from emulator import EmulatedAws
from structlog.testing import capture_logs

from archiver.amqp.connection import Connection
from archiver.app import open_reader
from archiver.aws.clients import Clients
from archiver.doors import open_door
from archiver.doors.amqp import broker_address
from archiver.doors.door import Surroundings
from archiver.errors import TransientError
from archiver.settings import Settings, SettingsError, load_settings
from archiver.worker.breaker import CircuitBreakers
from archiver.worker.gate import ReceiveGate
from archiver.worker.heartbeat import Heartbeat


def settings(bucket: str, **more: str) -> Settings:
    return load_settings({"AMQP_QUEUE": "jobs", "S3_DESTINATION_BUCKET": bucket, **more})


async def open_and_stop(settings: Settings, clients: Clients, stop: asyncio.Event) -> object:
    async with open_reader(settings) as (_, reader):
        surroundings = Surroundings(clients, reader, CircuitBreakers(ReceiveGate()), Heartbeat())
        async with open_door(settings, surroundings, stop) as door:
            return door


async def test_a_worker_without_its_broker_waits_and_can_be_stopped(aws: EmulatedAws, clients: Clients) -> None:
    with socket.socket() as unused, capture_logs() as logs:
        unused.bind(("127.0.0.1", 0))
        stop = asyncio.Event()
        given = settings(aws.bucket(), AMQP_PORT=str(unused.getsockname()[1]))
        opening = asyncio.create_task(open_and_stop(given, clients, stop), name="open")
        while not any(entry["event"] == "worker.paused" for entry in logs):
            await asyncio.sleep(0.01)
        stop.set()
        assert await opening is None
    [reason] = [entry["reason"] for entry in logs if entry["event"] == "worker.paused"]
    assert reason.startswith("RabbitMQ can't be used: 127.0.0.1:")


async def test_a_bucket_that_does_not_exist_is_told_before_the_broker_is_asked(
    aws: EmulatedAws, clients: Clients
) -> None:
    with pytest.raises(SettingsError, match="S3_DESTINATION_BUCKET: this bucket does not exist"):
        await open_and_stop(settings("no-such-bucket", AMQP_PORT="1"), clients, asyncio.Event())


@pytest.mark.parametrize(
    ("given", "port", "by_tls"),
    [
        ({}, 5672, False),
        ({"AMQP_HOSTNAME": "localhost"}, 5672, False),
        ({"AMQP_HOSTNAME": "[::1]"}, 5672, False),
        ({"AMQP_HOSTNAME": "broker.example"}, 5671, True),
        ({"AMQP_HOSTNAME": "broker.example", "AMQP_TLS": "false"}, 5672, False),
        ({"AMQP_TLS": "True"}, 5671, True),
        ({"AMQP_TLS": "1", "AMQP_PORT": "5999"}, 5999, True),
    ],
)
def test_tls_is_used_but_for_this_host(given: dict[str, str], port: int, by_tls: bool) -> None:
    address = broker_address(settings("archives", **given))
    assert (address.port, address.tls is not None) == (port, by_tls)
    assert "guest" not in repr(address).replace("username='guest'", "")


def test_an_address_of_ipv6_may_have_brackets() -> None:
    assert broker_address(settings("archives", AMQP_HOSTNAME="[2001:db8::1]", AMQP_TLS="0")).host == "2001:db8::1"


def test_a_url_is_no_host_and_its_password_is_not_told() -> None:
    with pytest.raises(SettingsError, match=r"^AMQP_HOSTNAME: should be a host's name") as caught:
        broker_address(settings("archives", AMQP_HOSTNAME="amqp://user:secret@broker:5672/v"))
    assert "secret" not in str(caught.value)


def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def test_a_server_that_ends_the_connection_at_once_is_no_broker() -> None:
    """For example a load balancer without one, or a port for TLS."""
    server = await asyncio.start_server(reset, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        connection = Connection(broker_address(settings("archives", AMQP_PORT=str(port))), "tests")
        with pytest.raises(TransientError, match="check AMQP_HOSTNAME, AMQP_PORT and AMQP_TLS"):
            await connection.connect()
        await connection.close()
