"""A proxy of its own for each test, before the session's emulated AWS."""

import uuid
from collections.abc import Generator, Iterator

import pytest
from certificates import ours

from .bench import BODY, Bench
from .emulator import Emulator, clients
from .outages import LONG, SHORT
from .proxy import FaultProxy
from .setting import Setting
from .stage import Stage


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all-crashes",
        action="store_true",
        help="break the reference job at every call in every way, and let outages last three minutes",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "stage(**setting): how the stage of a scenario is set")


STAGE_OF = pytest.StashKey[Stage]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A scenario that failed tells its story: every call and every log line."""
    report = yield
    if report.failed and report.when == "call" and STAGE_OF in item.stash:
        report.sections.append(("story", item.stash[STAGE_OF].story()))
    return report


@pytest.fixture
def outage_seconds(request: pytest.FixtureRequest) -> float:
    """How long an outage lasts."""
    return LONG if request.config.getoption("--all-crashes") else SHORT


@pytest.fixture
def stage(emulator: Emulator, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A stage of the usual setting, or of the one that a mark gives."""
    marker = request.node.get_closest_marker("stage")
    with Stage(emulator, Setting(**(marker.kwargs if marker else {}))) as stage:
        request.node.stash[STAGE_OF] = stage
        yield stage


@pytest.fixture
def bench(emulator: Emulator) -> Iterator[Bench]:
    name = f"b{uuid.uuid4().hex}"
    with FaultProxy(emulator.address, watched=name, serving=ours().serving) as proxy:
        direct = clients(emulator.plain)
        through = clients(proxy.listen("worker"), read_timeout=1)
        direct.s3.create_bucket(Bucket=name)
        direct.s3.put_object(Bucket=name, Key="a/b.jpg", Body=BODY)
        queue = through.sqs.create_queue(QueueName=name)["QueueUrl"]
        yield Bench(proxy, through, direct, name, queue)
        for client in (direct.s3, direct.sqs, through.s3, through.sqs):
            client.close()
