"""Fixtures: a proxy for each test, in front of the session's emulated AWS."""

import uuid
from collections.abc import Generator, Iterator

import pytest
from certificates import shared_trust

from .emulator import Emulator, clients
from .outages import LONG_OUTAGE, SHORT_OUTAGE
from .proxy import FaultProxy
from .proxy_fixture import BODY, ProxyHarness
from .scenario import Scenario
from .scenario_config import ScenarioConfig


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all-crashes",
        action="store_true",
        help="run the reference job with every fault at every call; outages last three minutes",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "scenario(**config): the configuration of the scenario")


SCENARIO_KEY = pytest.StashKey[Scenario]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add all calls and log lines of a failed scenario to the test report."""
    report = yield
    if report.failed and report.when == "call" and SCENARIO_KEY in item.stash:
        report.sections.append(("scenario", item.stash[SCENARIO_KEY].dump()))
    return report


@pytest.fixture
def outage_seconds(request: pytest.FixtureRequest) -> float:
    """Return the duration of an outage in seconds."""
    return LONG_OUTAGE if request.config.getoption("--all-crashes") else SHORT_OUTAGE


@pytest.fixture
def scenario(emulator: Emulator, request: pytest.FixtureRequest) -> Iterator[Scenario]:
    """Yield a scenario with the default configuration, or with that of `pytest.mark.scenario`."""
    marker = request.node.get_closest_marker("scenario")
    with Scenario(emulator, ScenarioConfig(**(marker.kwargs if marker else {}))) as scenario:
        request.node.stash[SCENARIO_KEY] = scenario
        yield scenario
        del request.node.stash[SCENARIO_KEY]  # tests stay until the end of the run, with all that they hold


@pytest.fixture
def harness(emulator: Emulator) -> Iterator[ProxyHarness]:
    name = f"b{uuid.uuid4().hex}"
    with FaultProxy(emulator.address, observed_bucket=name, serving=shared_trust().server_context) as proxy:
        direct = clients(emulator.plain)
        through = clients(proxy.listen("worker"), read_timeout=1)
        direct.s3.create_bucket(Bucket=name)
        direct.s3.put_object(Bucket=name, Key="a/b.jpg", Body=BODY)
        queue = through.sqs.create_queue(QueueName=name)["QueueUrl"]
        yield ProxyHarness(proxy, through, direct, name, queue)
        for client in (direct.s3, direct.sqs, through.s3, through.sqs):
            client.close()
