"""Group I: every outage of reads, as long as three minutes under `make faults`."""

import time
from pathlib import Path

import pytest

from .outages import READS, ask_all, last
from .rules import Status
from .stage import Stage
from .worker import until

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
@pytest.mark.stage(max_receives=1)
def test_a_resolver_that_is_away_is_charged_to_no_message(stage: Stage, tmp_path: Path, outage_seconds: float) -> None:
    """I1: the SDK's connections are made anew, ours go on with the addresses that they had."""
    flag = tmp_path / "gone"
    (tmp_path / "sitecustomize.py").write_text(RESOLVER.format(flag=str(flag)))
    endpoint = stage.proxy.listen("worker").replace("127.0.0.1", "localhost")
    worker = stage.worker(PYTHONPATH=str(tmp_path), AWS_ENDPOINT_URL_S3=endpoint)
    stage.wait_deleted(stage.ask([stage.put("first.jpg", b"another photo")]))
    flag.touch()
    time.sleep(20)  # what is kept of names and connections has run out
    ask_all(stage, 12)
    until(lambda: "worker.paused" in worker.log, "the worker to pause", 60)
    time.sleep(outage_seconds)
    assert not stage.dead_letters()
    flag.unlink()
    stage.wait_deleted(seconds=90)
    assert all(len(stage.answers(job)) == 1 for job in stage.jobs)
    stage.finish()
