"""TLS: the certificate is checked, always."""

import asyncio
import contextlib
import datetime as dt
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from certificates import make_authority, make_server_context, shared_trust

from archiver.aws.clients import ClientLimits, open_clients
from archiver.aws.queues import SqsNotifier
from archiver.aws.session import client_config
from archiver.errors import ConfigurationError, TransferInterrupted, TransientError
from archiver.http.exchange import HttpRequest
from archiver.http.parse import Head
from archiver.http.pool import HttpPool, HttpTimeouts, Origin
from http_client.scripted_server import make_response, serve_scripts
from http_client.tls_peer import TlsPeer, serve_tls_peer

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

BODY = bytes(range(256)) * 8192


def anything(_: Head) -> None:
    """Every head is fine."""


async def fetch(port: int, bundle: str | None, into: bytearray, times: int = 1, host: str = "127.0.0.1") -> None:
    pool = HttpPool(HttpTimeouts(), bundle)
    try:
        for _ in range(times):
            view = memoryview(into)
            request = HttpRequest("GET", b"GET / HTTP/1.1\r\n\r\n", [view[:1000], view[1000:]], anything)
            await pool.request(Origin(tls=True, host=host, port=port), request)
    finally:
        await pool.close()


async def test_body_arrives_whole_through_tls_and_the_connection_is_kept(tmp_path: Path) -> None:
    issuer, bundle = make_authority(tmp_path, "ours")
    into = bytearray(len(BODY))
    async with serve_scripts(
        [make_response("200 OK", BODY)], tls=make_server_context(tmp_path, "127.0.0.1", issuer)
    ) as server:
        await fetch(server.port, bundle, into, times=3)
        assert server.connections == 1
    assert into == BODY


async def test_part_goes_out_whole_through_tls_again_and_again(tmp_path: Path) -> None:
    """The TLS transport of asyncio, told to buffer nothing, pauses an empty buffer and never resumes it."""
    issuer, bundle = make_authority(tmp_path, "ours")
    part = BODY * 4
    taken: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                taken.append(await reader.readexactly(len(part)))
                writer.write(make_response("200 OK"))
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0, ssl=make_server_context(tmp_path, "127.0.0.1", issuer))
    pool = HttpPool(HttpTimeouts(stall=5), bundle)
    origin = Origin(tls=True, host="127.0.0.1", port=server.sockets[0].getsockname()[1])
    head = b"PUT / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(part)
    async with server:
        for _ in range(3):
            request = HttpRequest("PUT", head, None, anything, memoryview(part))
            assert (await pool.request(origin, request)).head.status == 200
        await pool.close()

    assert taken == [part] * 3


async def test_certificate_is_held_against_the_name_that_was_asked_for(tmp_path: Path) -> None:
    issuer, bundle = make_authority(tmp_path, "ours")
    into = bytearray(len(BODY))
    async with serve_scripts(
        [make_response("200 OK", BODY)], tls=make_server_context(tmp_path, "localhost", issuer)
    ) as server:
        await fetch(server.port, bundle, into, host="localhost")
    assert into == BODY


@pytest.mark.parametrize(("host", "trusted"), [("127.0.0.2", "ours"), ("localhost", "ours"), ("127.0.0.1", "theirs")])
async def test_wrong_host_or_unknown_authority_is_refused_before_a_byte_is_sent(
    tmp_path: Path, host: str, trusted: str
) -> None:
    issuer, bundle = make_authority(tmp_path, "ours")
    if trusted != "ours":
        _, bundle = make_authority(tmp_path, trusted)
    async with serve_scripts(
        [make_response("200 OK", BODY)], tls=make_server_context(tmp_path, host, issuer)
    ) as server:
        with pytest.raises(ConfigurationError, match=r"127\.0\.0\.1: certificate refused: .*AWS_"):
            await fetch(server.port, bundle, bytearray(len(BODY)))
        assert server.requests == []


DAY = dt.timedelta(days=1)


@contextlib.asynccontextmanager
async def patient_client() -> "AsyncIterator[SQSClient]":
    """A client as the worker's, with a minute to connect: a busy machine may stand still for the usual 5 seconds."""
    async with open_clients(ClientLimits()) as clients:
        config = client_config(60, attempts=1, pool=1, connect=60)
        async with clients.session.client("sqs", config=config) as sqs:
            yield sqs


async def test_the_sdks_clients_refuse_it_in_the_same_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, theirs = make_authority(tmp_path, "theirs")
    async with serve_scripts([make_response("200 OK", b"{}")]) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("AWS_CA_BUNDLE", theirs)
        async with patient_client() as sqs:
            with pytest.raises(ConfigurationError, match=r"127\.0\.0\.1: certificate refused: .*AWS_CA_BUNDLE"):
                await SqsNotifier(sqs, f"{server.url}/q").check()
        assert server.requests == []


async def test_tls_that_fails_for_another_reason_may_work_later(monkeypatch: pytest.MonkeyPatch) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        async with patient_client() as sqs:
            with pytest.raises(TransientError, match="SSLError"):
                await SqsNotifier(sqs, f"{url}/q").check()


@pytest.mark.parametrize(
    ("valid", "told"),
    [((-2 * DAY, -DAY), "has expired; renew it"), ((DAY, 2 * DAY), "not yet valid; check the clock")],
    ids=["expired", "not valid yet"],
)
async def test_certificate_out_of_its_time_is_refused(
    tmp_path: Path, valid: tuple[dt.timedelta, dt.timedelta], told: str
) -> None:
    issuer, bundle = make_authority(tmp_path, "ours")
    async with serve_scripts(
        [make_response("200 OK", BODY)], tls=make_server_context(tmp_path, "127.0.0.1", issuer, valid=valid)
    ) as server:
        with pytest.raises(ConfigurationError, match=told):
            await fetch(server.port, bundle, bytearray(len(BODY)))
        assert server.requests == []


async def test_handshake_that_hangs_is_given_up_after_the_time_for_connecting() -> None:
    async def hang(peer: TlsPeer) -> None:
        await peer.until_client_closes()

    async with serve_tls_peer(hang) as origin:
        pool = HttpPool(HttpTimeouts(connect=0.1), shared_trust().bundle)
        with pytest.raises(TransferInterrupted, match=r"127\.0\.0\.1: TimeoutError"):
            await pool.request(origin, HttpRequest("GET", b"GET / HTTP/1.1\r\n\r\n", (), anything))
        await pool.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=str)
async def test_server_may_speak_one_version_alone(tmp_path: Path, version: ssl.TLSVersion) -> None:
    issuer, bundle = make_authority(tmp_path, "ours")
    context = make_server_context(tmp_path, "127.0.0.1", issuer)
    context.minimum_version = context.maximum_version = version
    into = bytearray(len(BODY))
    async with serve_scripts([make_response("200 OK", BODY)], tls=context) as server:
        await fetch(server.port, bundle, into, times=2)
        assert server.connections == 1
    assert into == BODY


async def test_system_store_does_not_know_a_private_authority(tmp_path: Path) -> None:
    issuer, _ = make_authority(tmp_path, "ours")
    async with serve_scripts(
        [make_response("200 OK", BODY)], tls=make_server_context(tmp_path, "127.0.0.1", issuer)
    ) as server:
        with pytest.raises(ConfigurationError, match="set AWS_CA_BUNDLE"):
            await fetch(server.port, None, bytearray(len(BODY)))


async def test_server_that_does_not_speak_tls_is_an_interruption(tmp_path: Path) -> None:
    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    async with server:
        with pytest.raises(TransferInterrupted, match="no connection"):
            await fetch(server.sockets[0].getsockname()[1], None, bytearray(1))


async def test_certificate_file_that_is_not_there_is_ours_to_mend() -> None:
    with pytest.raises(ConfigurationError, match="bundle"):
        await fetch(1, "/no/such/bundle.pem", bytearray(1))
