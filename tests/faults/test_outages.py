"""
Group I: while a store or a queue answers nobody, or refuses what we are, no message is charged for it.

One receive is all that the redrive policy allows here: whatever is booked on a message ends in the dead letters.
"""

import pytest

from .outages import ANSWERS, READS, SHORT_OUTAGE, WRITES, run_through_outage
from .scenario import Scenario

SAMPLE = {name: (READS | WRITES | ANSWERS)[name] for name in ("S3 cut", "answers' key denied")}
"""What every test run tries; the others are slow, each group in a file of its own, as files run side by side."""


@pytest.mark.scenario(max_receives=1)
@pytest.mark.parametrize("name", SAMPLE)
def test_an_outage_moves_no_message_to_the_dead_letter_queue(scenario: Scenario, name: str) -> None:
    """I1: whatever is away, and whichever of its calls."""
    run_through_outage(scenario, SAMPLE[name], SHORT_OUTAGE)
