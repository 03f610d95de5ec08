"""
Task scale-in protection, asked of the ECS agent beside us.

    PUT $ECS_AGENT_URI/task-protection/v1/state   {"ProtectionEnabled": true, "ExpiresInMinutes": 10}

It answers with `protection` (done), with `failure` (the service's answer is no, with a `Reason`) or with `error` (the
call failed: access denied, throttled, ...), as ECS's developer guide has it under "Task scale-in protection endpoint".
The task's role has to allow `ecs:UpdateTaskProtection`.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from archiver.errors import Temporary
from archiver.protection import ProtectionRefused

PATIENCE = 5.0  # seconds for one answer
LONGEST = 64 * 1024  # bytes of one answer
NO_SERVICE = "TASK_NOT_VALID"  # the task was run by hand: nothing scales it


class EcsAgent:
    """The agent at *uri*, the value of ECS_AGENT_URI."""

    def __init__(self, session: aiohttp.ClientSession, uri: str) -> None:
        self._session = session
        self._url = f"{uri.rstrip('/')}/task-protection/v1/state"

    async def protect(self, minutes: int) -> None:
        await self._put({"ProtectionEnabled": True, "ExpiresInMinutes": minutes}, enabled=True)

    async def release(self) -> None:
        await self._put({"ProtectionEnabled": False}, enabled=False)

    async def _put(self, wanted: Mapping[str, Any], *, enabled: bool) -> None:
        try:
            async with self._session.put(self._url, json=wanted) as response:
                body, status = await _read(response), response.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Temporary(f"the ECS agent did not answer: {type(error).__name__}: {error}") from error
        understand(status, body, enabled=enabled)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = b""
    while len(body) < LONGEST and (chunk := await response.content.read(LONGEST - len(body))):
        body += chunk
    return body


def understand(status: int, body: bytes, *, enabled: bool) -> None:
    """What the agent's answer means. Raises ProtectionRefused, Temporary."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise Temporary(f"the ECS agent answered {status} with what is no answer: {body[:100]!r}")
    match told:
        case {"protection": {"ProtectionEnabled": bool(state)}} if state is enabled:
            return
        case {"failure": {"Reason": str(reason), **rest}} if reason != NO_SERVICE:
            detail = rest.get("Detail")
            raise ProtectionRefused(f"{reason}: {detail}" if detail else reason)
        case {"failure": {"Reason": str(reason)}}:
            raise Temporary(f"{reason}: the task belongs to no service")
        case {"error": {"Code": str(code), **rest}}:
            raise Temporary(f"{code}: {rest.get('Message', '')}")
    raise Temporary(f"the ECS agent answered {status} with something else: {body[:100]!r}")


@asynccontextmanager
async def open_agent(uri: str, patience: float = PATIENCE) -> AsyncIterator[EcsAgent]:
    """The agent at *uri*. Every answer is waited for *patience* seconds at the most."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=patience), trust_env=False) as session:
        yield EcsAgent(session, uri)
