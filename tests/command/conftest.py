"""A work space for each test, in which nothing may be left."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from archiver.command.space import WorkSpace, open_space

from .runs import MIB, processes_in


@pytest.fixture
def space(tmp_path: Path) -> Iterator[WorkSpace]:
    """Yield a work space of 64 MiB. Afterwards there is neither a file in it nor a process."""
    root = tmp_path / "work"
    with open_space(root, 64 * MIB) as space:
        yield space
    assert os.listdir(root) == []
    assert processes_in(root) == []
