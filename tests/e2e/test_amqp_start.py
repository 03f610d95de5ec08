"""How RabbitMQ can refuse a worker: each way has a sentence that says what to do, and `archiver check` knows it."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from emulator import EmulatedAws
from faults.worker_process import wait_until
from processes.archiver_process import run_command

from archiver.amqp.connection import Connection
from archiver.amqp.faults import EntityMissing, Mismatch
from archiver.amqp.preflight import check_broker
from archiver.amqp.topology import Topology
from archiver.core.amqp_rules import DELAYED
from archiver.doors.amqp import broker_address
from archiver.errors import ArchiverError, ConfigurationError, TransientError
from archiver.settings import SettingsError, load_environment

from .amqp_client import AmqpClient
from .amqp_env import QUEUE, AmqpEnv
from .rabbit import Broker
from .servers import free_port


async def refusal(**settings: str) -> ArchiverError:
    """How a connection with *settings* fails."""
    connection = Connection(broker_address(load_environment(settings)), "tests")
    try:
        with pytest.raises(ArchiverError) as caught:
            await connection.connect()
    finally:
        await connection.close()
    return caught.value


def tls(broker: Broker) -> dict[str, str]:
    files = {"AMQP_CA_FILE": str(broker.ca_file), "AMQP_CERT_FILE": str(broker.client_file)}
    return {"AMQP_PORT": str(broker.tls_port), "AMQP_TLS": "1", **files}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"AMQP_PASSWORD": "wrong"}, "refuses the user guest: check AMQP_USERNAME and AMQP_PASSWORD"),
        ({"AMQP_USERNAME": "nobody"}, "refuses the user nobody"),
        ({"AMQP_VHOST": "nowhere"}, "refuses the virtual host nowhere: it does not exist, or guest may not use it"),
        ({"AMQP_TLS": "1"}, "no TLS is spoken at that port: check AMQP_PORT, or set AMQP_TLS=0"),
    ],
)
async def test_a_broker_that_refuses_says_which_setting_to_look_at(
    broker: Broker, settings: dict[str, str], told: str
) -> None:
    error = await refusal(**{"AMQP_PORT": str(broker.port), **settings})
    assert isinstance(error, ConfigurationError)
    assert told in str(error)
    assert "guest:guest" not in str(error)


async def test_by_tls_with_the_brokers_own_authority_and_a_client_certificate(broker: Broker) -> None:
    connection = Connection(broker_address(load_environment(tls(broker))), "tests")
    try:
        assert (await connection.connect()).count(".") == 2
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("without", "told"),
    [("AMQP_CA_FILE", "set AMQP_CA_FILE to the CA of its certificate"), ("AMQP_CERT_FILE", "AMQP_CERT_FILE")],
)
async def test_a_missing_certificate_has_a_sentence(broker: Broker, without: str, told: str) -> None:
    error = await refusal(**{**tls(broker), without: ""})
    assert isinstance(error, ConfigurationError) or "reset" in str(error)  # the server's alert may be lost
    assert told in str(error)


async def test_a_certificate_for_another_host_is_refused_and_says_what_to_change(broker: Broker) -> None:
    """`127.1` leads to the broker, and is no name in its certificate."""
    error = await refusal(**{**tls(broker), "AMQP_HOSTNAME": "127.1"})
    assert isinstance(error, ConfigurationError)
    assert "127.1" in str(error) and "set AMQP_HOSTNAME to a name in the broker's certificate" in str(error)
    assert "AMQP_CA_FILE" not in str(error)


async def test_a_broker_that_is_not_there_may_come_yet() -> None:
    error = await refusal(AMQP_PORT=str(free_port()))
    assert isinstance(error, TransientError)
    assert "can't be connected to" in str(error)


@pytest.mark.parametrize("name", ["AMQP_CA_FILE", "AMQP_CERT_FILE"])
def test_a_file_that_is_no_certificate_stops_the_start(name: str, tmp_path: Any) -> None:
    (tmp_path / "a.pem").write_text("no certificate")
    for path in (tmp_path / "a.pem", tmp_path / "absent.pem"):
        with pytest.raises(SettingsError, match=name):
            broker_address(load_environment({"AMQP_TLS": "1", name: str(path)}))


@pytest.fixture(scope="module")
def vhost(broker: Broker) -> str:
    return broker.vhost()


@pytest.fixture(scope="module")
def client(broker: Broker, vhost: str) -> Iterator[AmqpClient]:
    with AmqpClient(broker.port, vhost) as opened:
        yield opened


def environ(broker: Broker, vhost: str, **more: str) -> dict[str, str]:
    return {"AMQP_PORT": str(broker.port), "AMQP_VHOST": vhost, **more}


async def check(environ: dict[str, str], queue: str, *, declares: bool = True) -> dict[str, tuple[str, str]]:
    address = broker_address(load_environment(environ))
    results = await check_broker(address, queue, None, 1800, declares=declares)
    return {one.what: (one.state, one.told) for one in results}


async def test_a_check_sees_an_alarm_of_the_broker_that_answers_all_else(broker: Broker, vhost: str) -> None:
    assert (await check(environ(broker, vhost), "jobs"))["publishing"] == ("ok", "the broker takes messages")
    broker.control("set_vm_memory_high_watermark", "0.00001")
    try:
        wait_until(lambda: "memory" in broker.eval("rabbit_alarm:get_alarms()."), "the alarm")
        found = await check(environ(broker, vhost), "jobs")
    finally:
        broker.control("set_vm_memory_high_watermark", "0.4")

    assert found["broker"][0] == "ok"
    assert found["publishing"][0] == "bad"
    assert "its alarm for memory or disk" in found["publishing"][1]


async def test_nothing_is_made_by_a_check(broker: Broker, client: AmqpClient) -> None:
    fresh = broker.vhost()
    found = await check(environ(broker, fresh), "jobs")
    assert [state for state, _ in found.values()] == ["ok", "ok", "ok", "warning", "warning", "ok", "ok"]
    assert "the worker creates it" in found["AMQP queue"][1]
    assert "jobs are held until a queue takes their reply" in found["replies job_completed"][1]
    assert (await check(environ(broker, fresh), "jobs", declares=False))["AMQP queue"][0] == "bad"


async def test_a_queue_of_other_arguments_is_told_in_the_brokers_words(
    broker: Broker, client: AmqpClient, vhost: str
) -> None:
    queue = f"q{uuid.uuid4().hex[:8]}"
    client.declare(queue)
    connection = Connection(broker_address(load_environment(environ(broker, vhost))), "tests")
    try:
        with pytest.raises(Mismatch, match="PRECONDITION_FAILED - inequivalent arg"):
            await Topology(connection, queue).declare()
        with pytest.raises(EntityMissing, match="NOT_FOUND - no queue 'absent'"):
            await Topology(connection, "absent").find()
    finally:
        await connection.close()
    assert (await check(environ(broker, vhost), queue))["AMQP queue"][0] == "bad"
    assert (await check(environ(broker, vhost), queue, declares=False))["AMQP queue"][0] == "ok"


async def test_a_user_who_may_not_declare_uses_what_is_there_and_is_told_what_is_missing(
    broker: Broker, client: AmqpClient, vhost: str
) -> None:
    name = f"u{uuid.uuid4().hex[:8]}"
    rights = '<<"^$">>, <<".*">>, <<".*">>'
    broker.eval(
        f'rabbit_auth_backend_internal:add_user(<<"{name}">>, <<"secret">>, <<"test">>), '
        f'rabbit_auth_backend_internal:set_permissions(<<"{name}">>, <<"{vhost}">>, {rights}, <<"test">>).'
    )
    settings = environ(broker, vhost, AMQP_USERNAME=name, AMQP_PASSWORD="secret")
    connection = Connection(broker_address(load_environment(settings)), "tests")
    try:
        with pytest.raises(EntityMissing, match="let this user configure it"):
            await Topology(connection, "absent").declare()
        own = Connection(broker_address(load_environment(environ(broker, vhost))), "tests")
        assert await Topology(own, "there").declare()
        await own.close()

        assert await Topology(connection, "there").declare() is False
    finally:
        await connection.close()


@pytest.fixture
def env(aws: EmulatedAws, broker: Broker) -> Iterator[AmqpEnv]:
    with AmqpEnv(aws, broker) as opened:
        yield opened


@pytest.mark.parametrize("how", ["missing", "other arguments"])
def test_a_worker_without_its_queue_does_not_start(env: AmqpEnv, how: str) -> None:
    settings = {"AMQP_DECLARE": "0"} if how == "missing" else {}
    if how != "missing":
        env.client.declare(QUEUE)
    ended = run_command("run", env=env.settings(**settings))
    assert ended.returncode == 2
    assert ended.stderr.startswith("AMQP_QUEUE: the queue job_archiver: ")


def test_a_worker_waits_for_its_broker_and_stops_when_it_is_told_to(env: AmqpEnv) -> None:
    env.put("a.jpg")
    worker = env.worker_without_waiting(AMQP_PASSWORD="wrong")
    assert "refuses the user guest" in worker.wait_for("worker.paused")["reason"]
    worker.terminate()
    assert worker.exit_code() == 0


def test_a_worker_by_tls_reports_its_setup_and_takes_what_is_sent(env: AmqpEnv) -> None:
    settings = tls(env.broker)
    env.worker(**settings)
    checked = run_command("check", "--json", env=env.settings(**settings))
    states = {one["what"]: one["state"] for one in json.loads(checked.stdout)}
    assert {
        what: states[what] for what in ("broker", "AMQP queue", "delay queue", "replies job_error")
    } == dict.fromkeys(("broker", "AMQP queue", "delay queue", "replies job_error"), "ok")
    assert "source queue" not in states and "answer queue" not in states
    env.put("a.jpg")

    sent = run_command("send", "--amqp", "--file", "a.jpg", "--job-id", "sent", "--json", env=env.settings(**settings))

    message = json.loads(sent.stdout)
    answer = env.reply()
    assert (answer["job_id"], answer["message_id"]) == ("sent", message["message_id"])
    refused = run_command("send", "--amqp", "--file", "a", "--queue", "nobody", env=env.settings(**settings))
    assert (refused.returncode, "no queue takes it" in refused.stderr) == (2, True)
    assert DELAYED not in refused.stderr
