"""
The Lambda function: `archiver.awslambda.handler`.

    __init__    the handler: one event loop and one set of clients for each execution environment
    service     what is kept between invocations
    event_run   one invocation: the jobs of an event, and what is returned
    job         the job of one message
    hand_on     jobs that would outlast the invocation run as ECS tasks
    task        one event in such a task, or on a laptop: `archiver handle`

Lambda stops the process between invocations and lets it go on later, or never: nothing is left to do when the handler
returns. Connections may be closed then, which a new attempt finds out; where credentials or settings were at fault,
everything is opened anew.
"""

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from time import monotonic
from typing import Protocol

import structlog
from structlog.contextvars import bound_contextvars

from archiver.awslambda.event_run import EventRun, Invocation
from archiver.awslambda.service import Service, open_service
from archiver.doors.references import resolve_references
from archiver.settings import Settings, SettingsError, load_function_settings
from archiver.telemetry.logs import configure_logs
from archiver.telemetry.stdout import NonBlockingWriter, open_stdout
from archiver.worker.collector import collect_rarely

log = structlog.get_logger(__name__)

_FLUSH_SHARE, _MAX_FLUSH_SECONDS = 0.05, 5.0  # of the invocation's time: for what is sent in the background
_ARN_PARTS = 7  # without the alias or version at the end


class Context(Protocol):
    """What Lambda tells of an invocation."""

    aws_request_id: str
    invoked_function_arn: str

    def get_remaining_time_in_millis(self) -> int: ...


class FunctionError(Exception):
    """The invocation failed; the message says why, and what to do."""


class ExecutionEnvironment:
    """The process: its event loop, its settings, and what they open."""

    def __init__(self, output: NonBlockingWriter | None = None) -> None:
        self._output = output or open_stdout()
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._settings: Settings | None = None
        self.service: Service | None = None
        """What is open now."""

    def invoke(self, event: object, invocation: Invocation) -> object:
        """Do *event*. Raises FunctionError, NotDone."""
        try:
            settings = self._load()
            before = signal.getsignal(signal.SIGTERM)
            try:
                with bound_contextvars(request_id=invocation.id):
                    return self._runner.run(self._invoke(settings, event, invocation))
            finally:
                signal.signal(signal.SIGTERM, before)
        except SettingsError as error:
            raise FunctionError("; ".join(error.problems)) from None
        finally:
            self._output.finish()

    def _load(self) -> Settings:
        if self._settings is None:
            self._settings = load_function_settings(resolve_references(os.environ))
            configure_logs(debug=self._settings.debug, dev_mode=self._settings.dev_mode, stream=self._output)
        return self._settings

    async def _invoke(self, settings: Settings, event: object, invocation: Invocation) -> object:
        service = await self._open(settings)
        run = EventRun(service, invocation)
        loop = asyncio.get_running_loop()
        signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(run.stop))
        try:
            return await run.run(event)
        finally:
            await service.flush(min(_MAX_FLUSH_SECONDS, invocation.seconds * _FLUSH_SHARE))
            if run.misconfigured:
                await self.close()

    async def _open(self, settings: Settings) -> Service:
        if self.service is None:
            self.service = await self._stack.enter_async_context(open_service(settings, self._output.write))
            collect_rarely()
        return self.service

    async def close(self) -> None:
        """Close everything that was opened: the next invocation opens it anew, and reads the settings again."""
        self.service = self._settings = None
        await self._stack.aclose()

    def end(self) -> None:
        """End the event loop, and what it has opened."""
        self._runner.run(self.close())
        self._runner.close()


_environment: ExecutionEnvironment | None = None


def handler(event: object, context: Context) -> object:
    """Do what *event* asks for. docs/lambda.md says which events, and what is returned."""
    global _environment  # noqa: PLW0603 - Lambda keeps the module, and nothing else
    if _environment is None:
        _environment = ExecutionEnvironment()
    invocation = Invocation(
        id=context.aws_request_id,
        function=":".join(context.invoked_function_arn.split(":")[:_ARN_PARTS]),
        seconds=context.get_remaining_time_in_millis() / 1000,
        begun_at=monotonic(),
        memory_mib=int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE") or 1769),
    )
    return _environment.invoke(event, invocation)
