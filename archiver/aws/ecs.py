"""
ECS task scale-in protection, through the ECS agent of this task; and whether the task has been replaced, from ECS.

    PUT $ECS_AGENT_URI/task-protection/v1/state   {"ProtectionEnabled": true, "ExpiresInMinutes": 60}

The response has `protection` (success), `failure` (ECS refused, with a `Reason`) or `error` (the call failed: access
denied, throttled, ...); see "Amazon ECS task scale-in protection endpoint" in the ECS developer guide. Its page
"Protect your Amazon ECS tasks from being terminated by scale-in events" says that DEPLOYMENT_BLOCKED "means the service
has more protected tasks than the desired count of tasks for the service": that is no statement about this task. The
task's role needs `ecs:UpdateTaskProtection`.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from archiver.aws.ecs_service import Services, open_services
from archiver.errors import TransientError
from archiver.worker.protection import ProtectionRefused

AGENT_TIMEOUT = 5.0  # seconds for one response
MAX_RESPONSE_BYTES = 64 * 1024  # bytes of one response body
DEPLOYMENT_BLOCKED = "DEPLOYMENT_BLOCKED"


class EcsAgent:
    """The agent at *uri*, the value of ECS_AGENT_URI."""

    def __init__(self, session: aiohttp.ClientSession, uri: str, services: Services) -> None:
        self._session = session
        self._url = f"{uri.rstrip('/')}/task-protection/v1/state"
        self._services = services
        self._task_arn = ""  # from the agent's responses

    async def protect(self, minutes: int) -> None:
        await self._put({"ProtectionEnabled": True, "ExpiresInMinutes": minutes}, enabled=True)

    async def release(self) -> None:
        await self._put({"ProtectionEnabled": False}, enabled=False)

    async def replaced(self) -> bool:
        if not self._task_arn:
            raise TransientError("the ARN of this task is unknown: the ECS agent has not reported it")
        return await self._services.replaced(self._task_arn)

    async def _put(self, request_body: Mapping[str, Any], *, enabled: bool) -> None:
        try:
            async with self._session.put(self._url, json=request_body) as response:
                body, status = await _read_body(response), response.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise TransientError(f"the ECS agent did not respond: {type(error).__name__}: {error}") from error
        reply = _parse_body(status, body)
        self._task_arn = _task_arn(reply) or self._task_arn
        raise_for_response(status, reply, enabled=enabled)


async def _read_body(response: aiohttp.ClientResponse) -> bytes:
    body = b""
    while len(body) < MAX_RESPONSE_BYTES and (chunk := await response.content.read(MAX_RESPONSE_BYTES - len(body))):
        body += chunk
    return body


def _parse_body(status: int, body: bytes) -> dict[str, Any]:
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        reply = None
    if not isinstance(reply, dict):
        raise TransientError(f"the ECS agent responded {status} with an invalid body: {body[:100]!r}")
    return reply


def _task_arn(reply: Mapping[str, Any]) -> str:
    match reply:
        case {"protection": {"TaskArn": str(arn)}} | {"failure": {"Arn": str(arn)}} | {"error": {"Arn": str(arn)}}:
            return arn
    return ""


def raise_for_response(status: int, reply: Mapping[str, Any], *, enabled: bool) -> None:
    """Raise the error of the agent's response, if any: ProtectionRefused, TransientError."""
    match reply:
        case {"protection": {"ProtectionEnabled": bool(state)}} if state is enabled:
            return
        case {"failure": {"Reason": "TASK_NOT_VALID"}}:
            raise TransientError("TASK_NOT_VALID: the task belongs to no service")
        case {"failure": {"Reason": str(reason), **rest}}:
            detail = rest.get("Detail")
            kind = ProtectionRefused if reason == DEPLOYMENT_BLOCKED else TransientError
            raise kind(f"{reason}: {detail}" if detail else reason)
        case {"error": {"Code": str(code), **rest}}:
            raise TransientError(f"{code}: {rest.get('Message', '')}")
    raise TransientError(f"the ECS agent responded {status} with an unexpected body: {str(reply)[:100]}")


@asynccontextmanager
async def open_agent(uri: str, timeout_seconds: float = AGENT_TIMEOUT) -> AsyncIterator[EcsAgent]:
    """Open the agent at *uri*. *timeout_seconds*: for each response."""
    timeout = aiohttp.ClientTimeout(total=timeout_seconds)
    async with (
        aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
        open_services(timeout_seconds) as services,
    ):
        yield EcsAgent(session, uri, services)
