"""
`/health/live`, `/health/ready` and `/metrics` over HTTP, for orchestrators and for Prometheus.

Live: the event loop turns, as whoever gets an answer knows. Ready: the worker has started, receives, and is not on its
way out. A worker takes its work from a queue, so nothing is routed by readiness; it is for those who wait or look.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog
from aiohttp import web

from archiver.settings import SettingsError
from archiver.telemetry.prometheus import CONTENT_TYPE

log = structlog.get_logger(__name__)

MAX_HEADER_BYTES = 8190  # bytes
SHUTDOWN_TIMEOUT = 1.0  # seconds for requests under way when the worker ends


@asynccontextmanager
async def open_health_server(
    host: str, port: int, problem: Callable[[], str | None], page: Callable[[], bytes]
) -> AsyncIterator[None]:
    """
    Answer while the block runs: *problem* says why the worker is not ready, *page* is what a scrape gets.

    Raises SettingsError where *host* and *port* can't be listened on.
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
