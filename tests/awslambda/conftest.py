"""A function on the emulated AWS. Retries cost no time."""

from collections.abc import AsyncIterator

import pytest
from emulator import EmulatedAws

from archiver.awslambda.service import Service
from archiver.jobs import receipt
from archiver.stages import retry, upload

from .function_env import FunctionEnv


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "BACKOFF_CAP", 0.0)
    monkeypatch.setattr(retry, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(upload, "UPLOAD_RETRY_SECONDS", 0.0)
    monkeypatch.setattr(upload, "PART_RETRY_SECONDS", 0.0)
    monkeypatch.setattr(receipt, "WRITE_RETRY_SECONDS", 0.0)


@pytest.fixture
def env(aws: EmulatedAws) -> FunctionEnv:
    env = FunctionEnv(aws)
    env.put("a.jpg", b"a")
    return env


@pytest.fixture
async def service(env: FunctionEnv) -> AsyncIterator[Service]:
    settings = {"ORDERS_PREFIX": f"{env.sources}/orders/", "EVENT_REQUEST": '{"metadata": {"by": "event"}}'}
    async with env.service(**settings, METRICS="emf") as service:
        yield service
