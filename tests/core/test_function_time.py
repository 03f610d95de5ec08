"""How long jobs take in functions, which have the share of a core and of the network that their memory brings."""

from dataclasses import replace

import pytest

from archiver.core.estimate import Estimate
from archiver.core.function_time import seconds_in_function

SMALL = Estimate(size=1000, exact=True, parts=1, part_size=1, calls={}, dollars=0.0, seconds=10.0)


@pytest.mark.parametrize(("memory", "seconds"), [(1769, 10.0), (3538, 10.0), (10_240, 10.0), (176, 100.5), (0, 138.2)])
def test_a_function_with_less_memory_has_less_of_a_core(memory: int, seconds: float) -> None:
    assert seconds_in_function(SMALL, memory) == pytest.approx(seconds, abs=0.1)


def test_a_large_archive_takes_as_long_as_the_network_of_a_function_needs() -> None:
    assert seconds_in_function(replace(SMALL, size=3_000_000_000), 10_240) == pytest.approx(100)
