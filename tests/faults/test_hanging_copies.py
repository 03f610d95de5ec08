"""Copies that hang, as S3 may take minutes for one: whatever ends the job does not wait for them."""

import pytest

from .crashes import VISIBILITY
from .resumed import COPIED, JOB_TIMEOUT, SENDS, large_job, parts_sent
from .rules import SideEffect, Stall, Status
from .scenario import Scenario
from .worker_process import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.scenario(visibility=VISIBILITY, max_receives=10)]


@pytest.mark.parametrize("end", ["SIGTERM", "lease lost"])
def test_a_worker_that_ends_while_a_copy_hangs_leaves_its_upload_and_the_next_one_goes_on(
    scenario: Scenario, end: str
) -> None:
    """G17, G18: the copy of the first worker hangs for ever, and is made by the second one."""
    large_job(scenario, COPIED)
    job = scenario.jobs[0]
    scenario.inject(Stall(), "UploadPartCopy", key=job.key, part=4, client="first")
    if end == "lease lost":
        scenario.inject(Status(403, "AccessDenied"), "ChangeMessageVisibility", client="first", times=None)
    first = scenario.worker("first", SHUTDOWN_GRACE_SECONDS="1", **COPIED.settings)
    wait_until(lambda: {*parts_sent(scenario)} == COPIED.left, "the parts of the first worker", JOB_TIMEOUT)
    if end == "SIGTERM":
        first.terminate()
        assert first.exit_code() == 0
    else:
        first.wait_for("job.lease_lost")
        first.kill()
    assert scenario.history.select("AbortMultipartUpload") == []

    scenario.worker("second", **COPIED.settings)
    scenario.wait_deleted(seconds=JOB_TIMEOUT)
    assert len(scenario.history.select("CreateMultipartUpload")) == 1
    assert COPIED.left.isdisjoint(parts_sent(scenario, "second"))
    scenario.finish()


@pytest.mark.parametrize("op", SENDS)
def test_an_upload_that_a_lifecycle_rule_aborts_under_a_worker_is_begun_anew_at_once(
    scenario: Scenario, op: str
) -> None:
    """G20: in the middle of the build, with copies and with parts that are sent; the message is not given back."""
    job = scenario.send_request(scenario.put_objects(*COPIED.sizes), strategy="copy")

    def abort() -> None:
        (upload,) = scenario.direct.s3.list_multipart_uploads(Bucket=scenario.archives)["Uploads"]
        scenario.direct.s3.abort_multipart_upload(
            Bucket=scenario.archives, Key=upload["Key"], UploadId=upload["UploadId"]
        )
        gone = upload["UploadId"]
        scenario.inject(Status(404, "NoSuchUpload"), key=job.key, times=None, when=lambda call: call.upload == gone)

    scenario.inject(SideEffect(before_it=abort), op, key=job.key)
    worker = scenario.worker(**COPIED.settings)
    scenario.wait_deleted(seconds=JOB_TIMEOUT)

    assert len([each for each in scenario.history.select("CreateMultipartUpload") if each.call.key == job.key]) == 2
    assert not any(worker.events("job.retried")) and not any(worker.events("worker.paused"))
    assert scenario.answers(job)[0]["archive"]["bytes_copied"] > 0
    scenario.finish()
