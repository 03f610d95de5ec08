"""CloudWatch Logs: what a container has written."""

from typing import Any

from archiver.aws.error_mapping import DENIED, error_map, map_errors
from archiver.core.tasks import LogStream
from archiver.errors import ConfigurationError

MAX_PAGES = 100  # of one look: a container that writes without pause must not keep its task from being looked at
_NO_STREAM = "ResourceNotFoundException"


class _NotYet(ConfigurationError):
    """There is no such stream: the container has written nothing so far."""


_ERRORS = error_map(_NotYet, {_NO_STREAM}) | error_map(ConfigurationError, DENIED)


class TaskLog:
    """The events of *stream*, each returned once."""

    def __init__(self, client: Any, stream: LogStream) -> None:
        self._client = client
        self._stream = stream
        self._token: str | None = None

    async def read(self) -> list[str]:
        """Return the lines that are new, of all pages. Raises ConfigurationError, TransientError."""
        lines: list[str] = []
        try:
            for _ in range(MAX_PAGES):
                page = await self._page()
                lines += [str(event.get("message", "")) for event in page.get("events") or ()]
                token = page.get("nextForwardToken")
                is_last = not token or token == self._token  # "the end of the stream" (GetLogEvents)
                self._token = token or self._token
                if is_last:
                    break
        except _NotYet:
            return lines
        return lines

    async def _page(self) -> Any:
        more = {"nextToken": self._token} if self._token else {}
        with map_errors(f"GetLogEvents {self._stream.group}", _ERRORS, ConfigurationError):
            return await self._client.get_log_events(
                logGroupName=self._stream.group, logStreamName=self._stream.name, startFromHead=True, **more
            )
