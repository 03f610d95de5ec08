"""Group J: a job that is cancelled while a call of it hangs."""

import pytest

from archiver.core.receipt import mark_key
from archiver.jobs.cancellation import MARK

from .crashes import VISIBILITY
from .observations import answer_body, executed
from .rules import Stall
from .scenario import Scenario
from .scenario_config import MIB

STAGES = {
    "HeadObject": "sources",
    "GetObject": "sources",
    "CreateMultipartUpload": "archives",
    "UploadPart": "archives",
    "UploadPartCopy": "archives",
}


@pytest.mark.parametrize(
    "op", [op if op == "UploadPart" else pytest.param(op, marks=pytest.mark.slow) for op in STAGES]
)
@pytest.mark.scenario(visibility=VISIBILITY)
def test_a_cancelled_job_ends_at_any_stage_and_leaves_its_slot_and_no_upload(scenario: Scenario, op: str) -> None:
    """J5: the call never ends; the mark is found at a renewal of the lease."""
    bucket = scenario.sources if STAGES[op] == "sources" else scenario.archives
    copied = op == "UploadPartCopy"
    photos = scenario.put_objects(20_000, 11 * MIB if copied else 6 * MIB)
    scenario.inject(Stall(60), op, bucket=bucket, times=None, when=lambda call: not (copied and call.is_look))
    settings = {"S3_STRATEGY": "copy", "MEMORY_BUDGET_MIB": "30"} if copied else {}
    scenario.worker(CANCELLATION="1", MAX_CONCURRENT_JOBS="1", **settings)
    job = scenario.send_request(photos, job_id="j", on_missing="skip" if op == "HeadObject" else "fail")
    scenario.wait_call(op)
    scenario.direct.s3.put_object(Bucket=scenario.archives, Key=mark_key(job.key), Body=MARK)

    scenario.wait_deleted(job)
    (answer,) = executed(list(scenario.view.messages(scenario.view.resources.failure_queue)))
    assert (answer_body(answer)["status"], answer_body(answer)["job_id"]) == ("cancelled", "j")
    assert scenario.dead_letters() == []
    listed = scenario.direct.s3.list_objects_v2(Bucket=scenario.archives)["Contents"]
    assert [one["Key"] for one in listed] == [mark_key(job.key)]
    assert scenario.direct.s3.list_multipart_uploads(Bucket=scenario.archives).get("Uploads", []) == []

    scenario.clear_faults()
    other = scenario.send_request(photos, job_id="k")
    scenario.wait_deleted(other)
    assert scenario.answers(other)[-1]["status"] == "succeeded"
