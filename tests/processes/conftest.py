"""Scenes on the session's emulator; stages behind a proxy where a test must hold the worker at one of its calls."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from emulator import EmulatedAws
from faults.emulator import Emulator
from faults.scenario import Scenario, ScenarioConfig

from .worker_env import WorkerEnv


@pytest.fixture(scope="session")
def emulated(_emulator: EmulatedAws) -> EmulatedAws:
    """The emulated AWS, for fixtures of any scope; workers are told by their settings where it is."""
    return _emulator


@pytest.fixture(scope="module")
def shared(emulated: EmulatedAws) -> Iterator[WorkerEnv]:
    """One scene for the tests of a module."""
    with WorkerEnv(emulated) as worker_env:
        yield worker_env


@pytest.fixture
def worker_env(emulated: EmulatedAws) -> Iterator[WorkerEnv]:
    with WorkerEnv(emulated) as worker_env:
        yield worker_env


@pytest.fixture
def plain(emulator: Emulator) -> str:
    """The endpoint of the same AWS that speaks plain http."""
    return emulator.plain


@pytest.fixture
def open_scenario(emulator: Emulator) -> Iterator[Callable[..., Scenario]]:
    """Sets a stage of the given `ScenarioConfig`."""
    with ExitStack() as stack:
        yield lambda **config: stack.enter_context(Scenario(emulator, ScenarioConfig(**config)))
