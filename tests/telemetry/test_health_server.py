"""The health server, asked as orchestrators, scrapers and strangers ask."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession
from structlog.testing import capture_logs

from archiver.settings import SettingsError
from archiver.telemetry.health_server import open_health_server


class Asked:
    """What is wrong with the worker, and where it can be asked."""

    problem: str | None = None
    port = 0


@asynccontextmanager
async def serving() -> AsyncIterator[Asked]:
    asked = Asked()
    with capture_logs() as logs:
        async with open_health_server("127.0.0.1", 0, lambda: asked.problem, lambda: b"archiver_paused 0.0\n"):
            asked.port = logs[0]["port"]
            yield asked


async def get(asked: Asked, path: str, method: str = "GET") -> tuple[int, str, str]:
    async with ClientSession() as session, session.request(method, f"http://127.0.0.1:{asked.port}{path}") as answer:
        return answer.status, answer.headers["Content-Type"], await answer.text()


async def test_a_worker_in_trouble_lives_and_is_not_ready_and_says_why() -> None:
    async with serving() as asked:
        assert (await get(asked, "/health/ready"))[::2] == (200, "ok\n")
        asked.problem = "the worker is stopping"
        assert (await get(asked, "/health/ready"))[::2] == (503, "the worker is stopping\n")
        assert (await get(asked, "/health/live"))[::2] == (200, "ok\n")


async def test_metrics_are_what_prometheus_reads() -> None:
    async with serving() as asked:
        status, kind, text = await get(asked, "/metrics")

    assert (status, text) == (200, "archiver_paused 0.0\n")
    assert kind.startswith("text/plain; version=")


@pytest.mark.parametrize(("method", "path", "status"), [("POST", "/metrics", 405), ("GET", "/", 404)])
async def test_nothing_else_is_there(method: str, path: str, status: int) -> None:
    async with serving() as asked:
        assert (await get(asked, path, method))[0] == status


@pytest.mark.parametrize(
    "said", [b"\x16\x03\x01 no http\r\n\r\n", b"GET /" + b"a" * 100_000, b"GET /metrics HTTP/1.1\r\n"]
)
async def test_whoever_does_not_speak_http_disturbs_nobody(said: bytes) -> None:
    async with serving() as asked:
        reader, writer = await asyncio.open_connection("127.0.0.1", asked.port)
        writer.write(said)
        assert (await get(asked, "/health/live"))[0] == 200
        writer.close()
        del reader


async def test_a_client_that_never_ends_its_request_does_not_keep_the_worker_from_stopping() -> None:
    async with asyncio.timeout(20), serving() as asked:
        _, writer = await asyncio.open_connection("127.0.0.1", asked.port)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n")
        await writer.drain()
    writer.close()


async def test_a_port_that_is_taken_stops_the_start_with_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"^HEALTH_PORT: can't listen on 127\.0\.0\.1:{port}: .*in use"):
            async with open_health_server("127.0.0.1", port, lambda: None, lambda: b""):
                pass
