"""Group I: every outage of writes, as long as three minutes under `make faults`."""

import pytest

from .outages import WRITES, last
from .stage import Stage

pytestmark = [pytest.mark.slow, pytest.mark.stage(max_receives=1)]


@pytest.mark.parametrize("name", WRITES)
def test_an_outage_of_writes_is_charged_to_no_message(stage: Stage, name: str, outage_seconds: float) -> None:
    """I1"""
    last(stage, WRITES[name], outage_seconds)
