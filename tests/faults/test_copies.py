"""Archives whose large members are copied, through a proxy that gives the emulator what S3 does at copies."""

import itertools

import pytest

from .archive import read_archive
from .crashes import VISIBILITY
from .resumed import COPIED, left_job, parts_sent
from .rules import FixedResponse, OkWithError, SideEffect, Stall, Status
from .scenario import Scenario
from .scenario_config import MIB, content
from .worker_process import wait_until

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


@pytest.mark.slow
def test_an_object_that_is_replaced_before_every_copy_rejects_the_job(scenario: Scenario) -> None:
    """E19: after three other plans, and nothing of it is left."""
    sources = scenario.put_objects(*VIDEOS)
    seeds = itertools.count(10)
    job = scenario.changed(scenario.send_request(sources, strategy="copy"))

    def replace() -> None:
        scenario.put("shoot/1.jpg", content(11 * MIB, seed=next(seeds)))

    scenario.inject(SideEffect(replace), "CreateMultipartUpload", key=job.key, times=None)
    scenario.worker(**ROOM)
    scenario.wait_deleted()

    assert scenario.failure(job)["code"] == "source_changed"
    assert {each.status for each in scenario.history.select("UploadPartCopy") if each.call.part == 2} == {412}


@pytest.mark.slow
@pytest.mark.scenario(visibility=VISIBILITY, max_receives=10)
def test_an_object_of_which_half_was_copied_when_it_was_replaced_is_archived_whole(scenario: Scenario) -> None:
    """G19: the torn member. Each condition is true in its time, and each CRC-32 is that of the bytes."""
    size = 22 * MIB  # two copies
    job = scenario.changed(scenario.send_request([scenario.put("shoot/1.jpg", content(size))], strategy="copy"))
    scenario.inject(Stall(), "UploadPartCopy", key=job.key, part=3, client="first")
    settings = ROOM | {"RESUME_FROM_MIB": "1"}
    first = scenario.worker("first", **settings)
    wait_until(lambda: parts_sent(scenario) == [2], "the first copy")
    first.kill()
    new = content(size, seed=9)
    scenario.put("shoot/1.jpg", new)
    scenario.make_visible(job)

    scenario.worker("second", **settings)
    scenario.wait_deleted()

    assert read_archive(scenario.archive(job))["album/1.jpg"] == new
    assert len([each for each in scenario.history.select("CreateMultipartUpload") if each.call.key == job.key]) == 2
    scenario.finish()


@pytest.mark.slow
@pytest.mark.scenario(visibility=VISIBILITY, max_receives=10)
def test_what_a_store_tells_no_crc_of_is_copied_again_and_not_read(scenario: Scenario) -> None:
    """G16: as on SeaweedFS, of a copied part that the first worker had left."""
    left_job(scenario, COPIED, tells_crcs=False)
    (job,) = scenario.jobs
    scenario.worker("second", **COPIED.settings)
    scenario.wait_deleted()

    copied = {each.call.part for each in scenario.history.select("UploadPartCopy", client="second")}
    assert copied == {2, 4}
    assert len([each for each in scenario.history.select("CreateMultipartUpload") if each.call.key == job.key]) == 1
    read = [each.facts for each in scenario.history.select("GetObject", client="second")]
    assert sum(int(facts["length"]) for facts in read) < 11 * MIB
    scenario.finish()
