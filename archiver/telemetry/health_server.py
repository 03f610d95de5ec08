"""
`/health/live`, `/health/ready` and `/metrics` over HTTP, for orchestrators and for Prometheus.

Live: the event loop runs; any response proves it. Ready: the worker has started, receives messages, and is not
stopping. Readiness routes no traffic, because jobs come from a queue; it is for deployments and monitoring.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog
from aiohttp import web

from archiver.settings import SettingsError
from archiver.telemetry.prometheus import CONTENT_TYPE

log = structlog.get_logger(__name__)

MAX_HEADER_BYTES = 8190
SHUTDOWN_TIMEOUT = 1.0  # seconds for running requests when the worker ends


@asynccontextmanager
async def open_health_server(
    host: str, port: int, problem: Callable[[], str | None], page: Callable[[], bytes]
) -> AsyncIterator[None]:
    """
    Serve while the block runs. *problem* returns why the worker is not ready (None: it is). *page* returns the metrics.

    Raises SettingsError if the server can't listen on *host* and *port*.
    """
    runner = web.AppRunner(
        _application(problem, page),
        access_log=None,
        handle_signals=False,
        shutdown_timeout=SHUTDOWN_TIMEOUT,
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
    )
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise SettingsError([f"HEALTH_PORT: can't listen on {host}:{port}: {error.strerror or error}"]) from None
        address = runner.addresses[0]
        log.info("health.listening", host=address[0], port=address[1])
        yield
    finally:
        await runner.cleanup()


def _application(problem: Callable[[], str | None], page: Callable[[], bytes]) -> web.Application:
    async def live(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def ready(_: web.Request) -> web.Response:
        reason = problem()
        return web.Response(status=200 if reason is None else 503, text=f"{reason or 'ok'}\n")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=page(), headers={"Content-Type": CONTENT_TYPE})

    application = web.Application()
    for path, answer in (("/health/live", live), ("/health/ready", ready), ("/metrics", metrics)):
        application.router.add_get(path, answer)
    return application
