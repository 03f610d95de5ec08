"""Every test runs without the machine's AWS settings; those that ask for `aws` get S3 and SQS on 127.0.0.1."""

import os
from collections.abc import AsyncIterator, Iterator

import hypothesis
import pytest
import zygote
from emulator import REGION, Aws
from zygote import FRESH

from archiver.aws.clients import Clients, Limits, open_clients

# A machine that is busy with something else is no failure.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")

NETWORK = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture(autouse=True, scope="session")
def _alone() -> Iterator[None]:
    """Fake credentials, no settings of this machine, no metadata service, no proxy."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.upper().startswith("AWS_") or name.upper() in NETWORK:
                patch.delenv(name)
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


def pytest_sessionfinish() -> None:
    zygote.close()


@pytest.fixture(autouse=True)
def _fresh(request: pytest.FixtureRequest) -> None:
    """`pytest.mark.fresh`: the test is about how a process starts or what memory it takes, so none is forked."""
    if request.node.get_closest_marker("fresh"):
        request.getfixturevalue("monkeypatch").setenv(FRESH, "1")


@pytest.fixture(scope="session")
def _emulator(_alone: None) -> Iterator[Aws]:
    import boto3  # noqa: PLC0415  # heavy, and most tests do without
    from moto.server import ThreadedMotoServer  # noqa: PLC0415

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    s3 = boto3.client("s3", endpoint_url=endpoint)
    sqs = boto3.client("sqs", endpoint_url=endpoint)
    yield Aws(endpoint, s3, sqs)
    s3.close()
    sqs.close()
    server.stop()


@pytest.fixture
def aws(_emulator: Aws, monkeypatch: pytest.MonkeyPatch) -> Aws:
    """The emulator, as the place that AWS clients opened in this test talk to."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", _emulator.endpoint)
    return _emulator


@pytest.fixture
async def clients(aws: Aws) -> AsyncIterator[Clients]:
    """The service's own clients, on the emulator."""
    async with open_clients(Limits(wait_seconds=1)) as opened:
        yield opened
