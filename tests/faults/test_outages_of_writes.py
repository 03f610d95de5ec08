"""Group I: every outage of writes to S3; it lasts three minutes in `make faults`."""

import pytest

from .outages import WRITES, run_through_outage
from .scenario import Scenario

pytestmark = [pytest.mark.slow, pytest.mark.scenario(max_receives=1)]


@pytest.mark.parametrize("name", WRITES)
def test_an_outage_of_writes_moves_no_message_to_the_dead_letter_queue(
    scenario: Scenario, name: str, outage_seconds: float
) -> None:
    """I1: each job is answered once, after the outage."""
    run_through_outage(scenario, WRITES[name], outage_seconds)
