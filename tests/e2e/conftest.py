"""
One LocalStack, filled by our own `localstack/init-aws.sh` as compose would, one SeaweedFS, one MiniStack and one
RabbitMQ for all tests.
"""

import os
import subprocess
from collections.abc import Iterator

import pytest

from .rabbit import Broker, rabbitmq
from .servers import LOCALSTACK, ROOT, exported_environment, installed_program, localstack, ministack, seaweedfs
from .worker_env import WorkerEnv

OTHER_SOURCES = ("[sqs]", "[orders]")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The contract's tests name its sources; here each runs once."""
    others = [item for item in items if "test_amqp_contract" in item.nodeid and item.nodeid.endswith(OTHER_SOURCES)]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in others]


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """LocalStack with the queues and buckets of the local workflow; the environment of `.envrc.dist` for it."""
    with localstack(tmp_path_factory.mktemp("localstack")) as endpoint:
        environ = exported_environment(endpoint)
        path = f"{installed_program(LOCALSTACK, 'aws').parent}:{os.environ['PATH']}"
        for _ in range(2):  # a restart of the container runs it again
            subprocess.run(
                [ROOT / "localstack/init-aws.sh"],
                env={**environ, "PATH": path},
                check=True,
                capture_output=True,
                timeout=120,
            )
        yield environ


@pytest.fixture(scope="session")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """MiniStack; the environment of `.envrc.dist` for it."""
    with ministack(tmp_path_factory.mktemp("ministack")) as endpoint:
        yield exported_environment(endpoint)


@pytest.fixture
def worker_env(local: dict[str, str]) -> Iterator[WorkerEnv]:
    with WorkerEnv(local) as worker_env:
        yield worker_env


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """One RabbitMQ for all tests; each uses a virtual host of its own."""
    with rabbitmq() as running:
        yield running
