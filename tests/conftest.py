"""Every test runs without the machine's AWS settings. The fixture `aws` provides S3 and SQS on 127.0.0.1 with TLS."""

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Iterator

import hypothesis
import pytest
import zygote
from certificates import shared_trust
from emulator import REGION, EmulatedAws, Emulator
from service_models import share_service_models
from zygote import FRESH

from archiver.aws.clients import ClientLimits, Clients, open_clients

# No deadline: a busy machine must not fail a test.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")

share_service_models()

NETWORK_VARIABLES = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)


@pytest.fixture(autouse=True, scope="session")
def _isolated_environment() -> Iterator[None]:
    """Set fake credentials; remove the machine's AWS settings and proxies; disable the metadata service."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.upper().startswith("AWS_") or name.upper() in NETWORK_VARIABLES:
                patch.delenv(name)
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


LONG_FOLDERS = ("faults", "processes", "cli", "project", "docs", "deploy", "interop", "worker")


SLOW_LIMIT = 1500
"""
Seconds that a slow test, or one with servers of others, may take: it fails by its name, before whoever runs the tests
gives up on all of them.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run files that wait for processes first, so that no pytest process is left with a long file at the end."""
    for item in items:
        if item.get_closest_marker("slow") or item.nodeid.startswith("tests/e2e/"):
            item.add_marker(pytest.mark.timeout(SLOW_LIMIT))
    items.sort(key=lambda item: not item.nodeid.startswith(tuple(f"tests/{folder}/" for folder in LONG_FOLDERS)))


def pytest_collection_finish() -> None:
    """Freeze modules and tests, which live until the end, so that garbage collections do not scan them again."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    zygote.close()


@pytest.fixture(autouse=True)
def _fresh(request: pytest.FixtureRequest) -> None:
    """`pytest.mark.fresh`: start processes without forking, for tests of process startup or memory use."""
    if request.node.get_closest_marker("fresh"):
        request.getfixturevalue("monkeypatch").setenv(FRESH, "1")


@pytest.fixture(scope="session")
def emulator(_isolated_environment: None) -> Iterator[Emulator]:
    """One emulated AWS for all tests of this pytest process."""
    emulator = Emulator(shared_trust().server_context)
    gc.collect()
    gc.freeze()  # moto, too, lives until the end
    yield emulator
    emulator.stop()


@pytest.fixture(scope="session")
def _emulator(emulator: Emulator) -> Iterator[EmulatedAws]:
    import boto3  # noqa: PLC0415  # slow to import, and most tests do not need it

    bundle = shared_trust().bundle
    s3, sqs = (boto3.client(name, endpoint_url=emulator.endpoint, verify=bundle) for name in ("s3", "sqs"))
    yield EmulatedAws(emulator.endpoint, bundle, s3, sqs)
    s3.close()
    sqs.close()


@pytest.fixture
def aws(_emulator: EmulatedAws, monkeypatch: pytest.MonkeyPatch) -> EmulatedAws:
    """The emulator, as the endpoint of AWS clients opened in this test."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", _emulator.endpoint)
    monkeypatch.setenv("AWS_CA_BUNDLE", _emulator.bundle)
    return _emulator


@pytest.fixture
async def clients(aws: EmulatedAws) -> AsyncIterator[Clients]:
    """The service's own clients, connected to the emulator."""
    selector = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
    before = len(selector.get_map())
    async with open_clients(ClientLimits(wait_seconds=1)) as opened:
        yield opened
    # aiohttp does not wait until abandoned TLS connections are closed; the loop must not be closed before them.
    async with asyncio.timeout(10):
        while len(selector.get_map()) > before:
            await asyncio.sleep(0.005)
