"""Group I: every outage of reads, as long as three minutes under `make faults`."""

import time
from pathlib import Path

import pytest

from .outages import READS, run_through_outage, send_requests
from .rules import Status
from .scenario import Scenario
from .worker_process import wait_until

pytestmark = pytest.mark.slow


@pytest.mark.scenario(max_receives=1)
@pytest.mark.parametrize("name", READS)
def test_an_outage_of_reads_moves_no_message_to_the_dead_letter_queue(
    scenario: Scenario, name: str, outage_seconds: float
) -> None:
    """I1"""
    run_through_outage(scenario, READS[name], outage_seconds)


@pytest.mark.scenario(max_receives=2)
def test_an_unreadable_object_rejects_only_its_own_requests_and_delays_no_others(scenario: Scenario) -> None:
    """I4: a poisoned object among healthy ones, and alone."""
    worker = scenario.worker()
    poisoned = scenario.put("poisoned.jpg", b"no more to be read")
    scenario.inject(Status(500, "InternalError"), "GetObject", key="poisoned.jpg", times=None)
    bad = scenario.send([{"source": "poisoned.jpg"}], None)
    mixed = scenario.send(
        [{"source": "poisoned.jpg"}, *({"source": s.key} for s in scenario.put_objects(10, 20, 30))], None
    )
    assert poisoned.key == "poisoned.jpg"
    healthy = [scenario.send_request(scenario.put_objects(1000)) for _ in range(6)]
    scenario.wait_deleted(*healthy)
    scenario.wait_deleted(bad, mixed, seconds=240)
    assert {scenario.failure(job)["code"] for job in (bad, mixed)} == {"retries_exhausted"}
    assert "worker.paused" not in worker.log
    scenario.finish()


RESOLVER = """
import os, socket
real, gone = socket.getaddrinfo, {flag!r}

def resolve(host, *more, **how):
    if os.path.exists(gone) and host in ("localhost", b"localhost"):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    return real(host, *more, **how)

socket.getaddrinfo = resolve
"""
"""What Python runs at its start: a resolver that fails while a file is there."""


@pytest.mark.fresh
@pytest.mark.scenario(max_receives=1)
def test_a_dns_outage_moves_no_message_to_the_dead_letter_queue(
    scenario: Scenario, tmp_path: Path, outage_seconds: float
) -> None:
    """I1: the SDK's connections are made anew, ours go on with the addresses that they had."""
    flag = tmp_path / "gone"
    (tmp_path / "sitecustomize.py").write_text(RESOLVER.format(flag=str(flag)))
    endpoint = scenario.proxy.listen("worker").replace("127.0.0.1", "localhost")
    worker = scenario.worker(PYTHONPATH=str(tmp_path), AWS_ENDPOINT_URL_S3=endpoint)
    scenario.wait_deleted(scenario.send_request([scenario.put("first.jpg", b"another photo")]))
    flag.touch()
    time.sleep(20)  # what is kept of names and connections has run out
    send_requests(scenario, 12)
    wait_until(lambda: "worker.paused" in worker.log, "the worker to pause", 60)
    time.sleep(outage_seconds)
    assert not scenario.dead_letters()
    flag.unlink()
    scenario.wait_deleted(seconds=90)
    assert all(len(scenario.answers(job)) == 1 for job in scenario.jobs)
    scenario.finish()
