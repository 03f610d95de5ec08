"""Scenes on the session's emulator; stages behind a proxy where a test must hold the worker at one of its calls."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from emulator import Aws
from faults.emulator import Emulator
from faults.stage import Setting, Stage

from .worker_env import Scene


@pytest.fixture(scope="session")
def emulated(_emulator: Aws) -> Aws:
    """The emulated AWS, for fixtures of any scope; workers are told by their settings where it is."""
    return _emulator


@pytest.fixture(scope="module")
def shared(emulated: Aws) -> Iterator[Scene]:
    """One scene for the tests of a module."""
    with Scene(emulated) as scene:
        yield scene


@pytest.fixture
def scene(emulated: Aws) -> Iterator[Scene]:
    with Scene(emulated) as scene:
        yield scene


@pytest.fixture
def plain(emulator: Emulator) -> str:
    """The endpoint of the same AWS that speaks plain http."""
    return emulator.plain


@pytest.fixture
def set_stage(emulator: Emulator) -> Iterator[Callable[..., Stage]]:
    """Sets a stage of the given `Setting`."""
    with ExitStack() as stack:
        yield lambda **setting: stack.enter_context(Stage(emulator, Setting(**setting)))
