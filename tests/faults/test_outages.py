"""
Group I: outages of S3 or SQS, and denied permissions, do not use up the receives of a message.

The redrive policy here allows one receive: a message that is received again would be dead-lettered.
"""

import pytest

from .outages import READS, SHORT_OUTAGE, run_through_outage
from .scenario import Scenario

SAMPLE = ["S3 cut"]
"""The outages of every test run. All are slow; each group has its own file, as files run in parallel."""


@pytest.mark.scenario(max_receives=1)
@pytest.mark.parametrize("name", SAMPLE)
def test_an_outage_moves_no_message_to_the_dead_letter_queue(scenario: Scenario, name: str) -> None:
    """I1: each job is answered once, after the outage."""
    run_through_outage(scenario, READS[name], SHORT_OUTAGE)
