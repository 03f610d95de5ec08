"""Log configuration: one JSON object per line on stdout, with the event as `message`, for libraries too."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog
from structlog.typing import Processor

from archiver.core.printable import printable_lines
from archiver.telemetry.stdout import NonBlockingWriter

LIBRARY_LOGGERS = ("botocore", "aiobotocore", "aioboto3", "boto3", "aiohttp", "asyncio", "urllib3")
SILENT_LOGGERS = ("aio_pika", "aiormq")
"""Libraries that log, with tracebacks, what they raise as well; their DEBUG has whole frames."""
MAX_VALUE_LENGTH = 2048  # characters; values from requests must not flood the log


def configure_logs(
    *,
    debug: bool = False,
    dev_mode: bool = False,
    stream: TextIO | NonBlockingWriter | None = None,
    min_level: str = "info",
) -> None:
    """
    Configure structlog and the standard library's logging. *stream*: default stdout. *min_level*: the lowest level
    written, unless *debug*.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        _truncate_values,
    ]
    level = logging.DEBUG if debug else logging.getLevelNamesMapping()[min_level.upper()]
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(dev_mode=dev_mode)],
        )
    )
    _set_handler(handler, level, debug=debug)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _renderers(*, dev_mode: bool) -> list[Processor]:
    if dev_mode:
        console = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
        return [console, _make_printable]
    return [
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("message"),
        structlog.processors.JSONRenderer(),
    ]


def _set_handler(handler: logging.Handler, level: int, *, debug: bool) -> None:
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in LIBRARY_LOGGERS:
        # Never DEBUG: at that level botocore logs bodies, signed headers and receipt handles.
        logging.getLogger(name).setLevel(logging.INFO if debug else logging.WARNING)
    for name in SILENT_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _truncate_values(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if isinstance(value, str) and len(value) > MAX_VALUE_LENGTH:
            event[name] = value[:MAX_VALUE_LENGTH] + "…"
    return event


def _make_printable(_: Any, __: str, line: Any) -> str:
    """Escape control characters: a console line may quote a request, which must not control the terminal."""
    return printable_lines(line)
