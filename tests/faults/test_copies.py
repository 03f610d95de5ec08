"""Archives whose large members are copied, through a proxy that gives the emulator what S3 does at copies."""

import pytest

from .archive import read_archive
from .rules import FixedResponse, OkWithError, SideEffect, Status
from .scenario import Scenario
from .scenario_config import MIB, content

NO_CRC32 = (
    b'<CopyPartResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><ETag>&quot;e&quot;</ETag></CopyPartResult>'
)
VIDEOS = (11 * MIB, 100, 12 * MIB)
ROOM = {"MEMORY_BUDGET_MIB": "30"}


def test_what_the_store_copies_is_in_the_archive_and_was_not_read(scenario: Scenario) -> None:
    """E16: the store shows that it can, then copies; moto without the proxy does not show it."""
    job = scenario.send_request(scenario.put_objects(100, 10 * MIB + 50_000))
    scenario.worker(S3_STRATEGY="auto", **ROOM)
    scenario.wait_deleted()

    (answer,) = scenario.answers(job)
    archive = answer["archive"]
    assert 5 * MIB <= archive["bytes_copied"] < 5 * MIB + 60_000
    assert archive["bytes_copied"] + archive["bytes_streamed"] == archive["size"]
    scenario.finish()


@pytest.mark.slow
@pytest.mark.parametrize(
    "action",
    [
        Status(403, "AccessDenied"),
        Status(400, "InvalidRequest"),
        Status(501, "NotImplemented"),
        FixedResponse(200, [("Content-Type", "application/xml")], NO_CRC32),
    ],
    ids=["denied", "refused", "not implemented", "no CRC-32"],
)
@pytest.mark.parametrize("nth", [1, 2])
def test_a_copy_that_is_refused_in_the_middle_of_a_job_is_streamed(
    scenario: Scenario, action: Status | FixedResponse, nth: int
) -> None:
    """E17: silently, and right."""
    job = scenario.send_request(scenario.put_objects(*VIDEOS), strategy="copy")
    scenario.inject(action, "UploadPartCopy", key=job.key, nth=nth)
    worker = scenario.worker(**ROOM)
    scenario.wait_deleted()

    (answer,) = scenario.answers(job)
    assert answer["archive"]["bytes_copied"] == 0
    assert "copies.refused" in worker.log
    scenario.finish()


@pytest.mark.slow
@pytest.mark.parametrize(
    "action", [Status(503, "SlowDown"), Status(500, "InternalError"), OkWithError("InternalError")]
)
def test_a_copy_that_fails_in_passing_is_repeated(scenario: Scenario, action: Status | OkWithError) -> None:
    """E18: also if the error comes in the body of a 200."""
    job = scenario.send_request(scenario.put_objects(*VIDEOS), strategy="copy")
    scenario.inject(action, "UploadPartCopy", key=job.key, times=3)
    scenario.worker(**ROOM)
    scenario.wait_deleted()

    (answer,) = scenario.answers(job)
    assert answer["archive"]["bytes_copied"] > 0
    scenario.finish()


@pytest.mark.slow
def test_an_object_that_is_replaced_between_plan_and_copy_is_never_mixed(scenario: Scenario) -> None:
    """E19: the archive has one version of it, the new one."""
    sources = scenario.put_objects(*VIDEOS)
    new = content(11 * MIB, seed=9)
    job = scenario.changed(scenario.send_request(sources, strategy="copy"))
    scenario.inject(SideEffect(lambda: scenario.put("shoot/1.jpg", new)), "CreateMultipartUpload", key=job.key)
    scenario.worker(**ROOM)
    scenario.wait_deleted()

    assert read_archive(scenario.archive(job))["album/1.jpg"] == new
    scenario.finish()
