"""Group I: every outage of reads, as long as three minutes under `make faults`."""

import pytest

from .outages import READS, last
from .rules import Status
from .stage import Stage

pytestmark = pytest.mark.slow


@pytest.mark.stage(max_receives=1)
@pytest.mark.parametrize("name", READS)
def test_an_outage_of_reads_is_charged_to_no_message(stage: Stage, name: str, outage_seconds: float) -> None:
    """I1"""
    last(stage, READS[name], outage_seconds)


@pytest.mark.stage(max_receives=2)
def test_one_object_that_can_not_be_read_rejects_its_own_request_and_holds_up_no_other(stage: Stage) -> None:
    """I4: a poisoned object among healthy ones, and alone."""
    worker = stage.worker()
    poisoned = stage.put("poisoned.jpg", b"no more to be read")
    stage.break_(Status(500, "InternalError"), "GetObject", key="poisoned.jpg", times=None)
    bad = stage.send([{"source": "poisoned.jpg"}], None)
    mixed = stage.send([{"source": "poisoned.jpg"}, *({"source": s.key} for s in stage.photos(10, 20, 30))], None)
    assert poisoned.key == "poisoned.jpg"
    healthy = [stage.ask(stage.photos(1000)) for _ in range(6)]
    stage.wait_deleted(*healthy)
    stage.wait_deleted(bad, mixed, seconds=240)
    assert {stage.failure(job)["code"] for job in (bad, mixed)} == {"retries_exhausted"}
    assert "worker.paused" not in worker.log
    stage.finish()
