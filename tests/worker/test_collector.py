"""Garbage is collected rarely, but it is collected."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from archiver.worker.collector import YOUNG_OBJECTS, collect_rarely


@pytest.fixture(autouse=True)
def usual_collector() -> Iterator[None]:
    usual = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*usual)


class Node:
    """Refers to itself."""

    def __init__(self) -> None:
        self.itself = self


def test_what_existed_at_the_start_is_never_looked_at_again() -> None:
    collect_rarely()

    assert gc.get_freeze_count() > 10_000


def test_a_cycle_is_freed_by_the_time_that_as_many_objects_were_made() -> None:
    collect_rarely()
    cycle = weakref.ref(Node())

    kept: list[list[None]] = [[] for _ in range(YOUNG_OBJECTS // 2)]
    assert cycle() is not None
    kept += [[] for _ in range(YOUNG_OBJECTS)]

    assert cycle() is None
