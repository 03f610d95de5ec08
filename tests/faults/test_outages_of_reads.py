"""Group I: every outage of reads from S3; it lasts three minutes in `make faults`."""

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
    """I1: each job is answered once, after the outage."""
    run_through_outage(scenario, READS[name], outage_seconds)


@pytest.mark.scenario(max_receives=2)
def test_an_unreadable_object_rejects_only_its_own_requests_and_delays_no_others(scenario: Scenario) -> None:
    """I4: one request for the unreadable object alone, one for it among readable ones."""
    worker = scenario.worker()
    unreadable = scenario.put("unreadable.jpg", b"cannot be read")
    scenario.inject(Status(500, "InternalError"), "GetObject", key="unreadable.jpg", times=None)
    alone = scenario.send([{"source": "unreadable.jpg"}], None)
    mixed = scenario.send(
        [{"source": "unreadable.jpg"}, *({"source": s.key} for s in scenario.put_objects(10, 20, 30))], None
    )
    assert unreadable.key == "unreadable.jpg"
    healthy = [scenario.send_request(scenario.put_objects(1000)) for _ in range(6)]
    scenario.wait_deleted(*healthy)
    scenario.wait_deleted(alone, mixed, seconds=240)
    assert {scenario.failure(job)["code"] for job in (alone, mixed)} == {"retries_exhausted"}
    assert "worker.paused" not in worker.log
    scenario.finish()


RESOLVER = """
import os, socket
real, flag = socket.getaddrinfo, {flag!r}

def resolve(host, *more, **how):
    if os.path.exists(flag) and host in ("localhost", b"localhost"):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    return real(host, *more, **how)

socket.getaddrinfo = resolve
"""
"""sitecustomize.py: name resolution fails while the flag file exists."""


@pytest.mark.fresh
@pytest.mark.scenario(max_receives=1)
def test_a_dns_outage_moves_no_message_to_the_dead_letter_queue(
    scenario: Scenario, tmp_path: Path, outage_seconds: float
) -> None:
    """I1: the SDK's connections resolve the name again; our HTTP client reuses known addresses."""
    flag = tmp_path / "dns-outage"
    (tmp_path / "sitecustomize.py").write_text(RESOLVER.format(flag=str(flag)))
    endpoint = scenario.proxy.listen("worker").replace("127.0.0.1", "localhost")
    worker = scenario.worker(PYTHONPATH=str(tmp_path), AWS_ENDPOINT_URL_S3=endpoint)
    scenario.wait_deleted(scenario.send_request([scenario.put("first.jpg", b"another photo")]))
    flag.touch()
    time.sleep(20)  # until cached names and idle connections have expired
    send_requests(scenario, 12)
    wait_until(lambda: "worker.paused" in worker.log, "the worker to pause", 60)
    time.sleep(outage_seconds)
    assert not scenario.dead_letters()
    flag.unlink()
    scenario.wait_deleted(seconds=90)
    assert all(len(scenario.answers(job)) == 1 for job in scenario.jobs)
    scenario.finish()
