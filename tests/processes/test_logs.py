"""What a worker writes: one JSON object a line, every line of a job with its ids, and nothing secret in any of them."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest
from faults.rules import Status
from faults.scenario import Scenario
from faults.worker_process import WorkerProcess

from .archiver_process import Worker
from .worker_env import WorkerEnv

CANARY = "canary-in-the-coal-mine"
ENDS = {"job.done", "job.rejected", "job.retried", "job.returned", "job.lease_lost", "job.rejection_failed"}


@dataclass(frozen=True, slots=True)
class Written:
    """What a worker wrote in its life, with three jobs in it: the ids of their messages by how they ended."""

    worker: Worker
    messages: Mapping[str, str]
    size: int


def stopped(worker: WorkerProcess) -> None:
    worker.terminate()
    assert worker.exit_code() == 0


@pytest.fixture(scope="module")
def written(shared: WorkerEnv) -> Written:
    shared.put("a.jpg", b"a" * 1000)
    shared.put("b.jpg", b"b" * 500)
    worker = shared.worker()
    messages = {
        "done": shared.send_request("a.jpg", "b.jpg", job_id="good"),
        "rejected": shared.send_request("never-was.jpg", job_id="bad"),
        "broken": shared.send('{"files": '),
    }
    shared.wait_until_empty()
    stopped(worker)
    (key,) = shared.archive_keys()
    return Written(worker, messages, len(shared.aws.s3.get_object(Bucket=shared.archives, Key=key)["Body"].read()))


def test_every_line_is_a_json_object_and_every_line_of_a_job_has_its_ids(written: Written) -> None:
    lines = written.worker.lines

    assert all(line["message"] and line["level"] and line["timestamp"] for line in lines)
    ids = {name: {line["job_id"] for line in written.worker.about(m)} for name, m in written.messages.items()}
    assert ids == {"done": {"good"}, "rejected": {"bad"}, "broken": {None}}
    elsewhere = [line["message"] for line in lines if "message_id" not in line]
    assert elsewhere == ["worker.starting", "worker.ready", "worker.stopping", "worker.stopped"]


def test_one_line_says_how_a_job_ended(written: Written) -> None:
    ends = {
        name: [line for line in written.worker.about(message) if line["message"] in ENDS]
        for name, message in written.messages.items()
    }

    (done,), (rejected,), (broken,) = ends["done"], ends["rejected"], ends["broken"]
    assert (done["message"], done["status"], done["files"], done["reused"]) == ("job.done", "succeeded", 2, False)
    assert done["bytes"] == written.size
    assert done["seconds"] > 0
    assert (rejected["message"], rejected["code"]) == ("job.rejected", "source_missing")
    assert "never-was.jpg" in rejected["reason"]
    assert (broken["message"], broken["code"]) == ("job.rejected", "invalid_json")


def test_debug_lines_hold_no_body_no_receipt_handle_no_signature_and_no_secret(
    open_scenario: Callable[..., Scenario],
) -> None:
    """The checker looks for the stage's own secrets and receipt handles, too."""
    scenario = open_scenario()
    scenario.inject(Status(500, "InternalError"), "GetObject", key="shoot/1.jpg", times=2)  # as a whole, then by range
    worker = scenario.worker(DEBUG="1")
    scenario.send_request(scenario.put_objects(1000), job_id="good", archive_name=CANARY)
    scenario.send([{"source": "never-was.jpg"}], None, job_id="bad", archive_name=CANARY)
    scenario.wait_deleted()
    stopped(worker)

    assert worker.wait_for("read.retried")["level"] == "debug"
    for secret in (CANARY, "Signature", "AWS4-HMAC-SHA256", "AKIDEXAMPLE"):
        assert secret not in worker.log
    # Receipt handles are longer than this, ids and digests are shorter.
    assert not re.search(r"[A-Za-z0-9+/=]{100}", worker.log)
    scenario.finish()


def test_dev_mode_writes_lines_for_people(worker_env: WorkerEnv) -> None:
    worker = worker_env.worker(DEV_MODE="1")
    stopped(worker)

    assert worker.output
    assert not any(line.startswith("{") for line in worker.output)
    with pytest.raises(json.JSONDecodeError):
        assert worker.lines
