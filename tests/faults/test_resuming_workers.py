"""Group G: a worker ends while it builds a large archive, and the next one goes on where it stopped."""

from collections.abc import Iterator

import pytest

from .archive import read_archive
from .crashes import VISIBILITY
from .emulator import Emulator
from .resumed import (
    PARTS,
    SETTINGS,
    SIZES,
    end_at_part,
    large_job,
    parts_sent,
)
from .rules import Delay, SideEffect
from .scenario import Scenario
from .scenario_config import MIB, ScenarioConfig, content
from .worker_process import wait_until

pytestmark = pytest.mark.scenario(visibility=VISIBILITY, max_receives=10)


def worker_ends(scenario: Scenario, number: int, *, after: bool = False) -> None:
    worker = scenario.worker("first", **SETTINGS)
    rule = end_at_part(scenario, worker, number, after=after)
    wait_until(lambda: not worker.running, "the end of the first worker")
    assert rule.fired == 1


@pytest.fixture(scope="module")
def whole(emulator: Emulator) -> Iterator[bytes]:
    """The archive of a worker that nothing happens to."""
    with Scenario(emulator, ScenarioConfig(visibility=30)) as scenario:
        large_job(scenario)
        scenario.worker("only", RESUME_FROM_MIB="0")
        scenario.wait_deleted()
        scenario.finish()
        yield scenario.archive(scenario.jobs[0])


@pytest.mark.parametrize("after", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize(
    "number", [2, *(pytest.param(number, marks=pytest.mark.slow) for number in (1, *range(3, PARTS + 1)))]
)
def test_a_killed_worker_is_followed_by_one_that_sends_no_stored_part_again(
    scenario: Scenario, whole: bytes, number: int, *, after: bool
) -> None:
    """G16: at every part, by SIGKILL; the upload is the same one."""
    large_job(scenario)
    worker_ends(scenario, number, after=after)
    scenario.worker("second", **SETTINGS)
    scenario.wait_deleted()

    assert sorted(parts_sent(scenario)) == list(range(1, PARTS + 1))
    assert len(scenario.history.select("CreateMultipartUpload")) == 1
    assert scenario.archive(scenario.jobs[0]) == whole
    scenario.finish()


@pytest.mark.slow
def test_a_store_that_lists_no_crcs_gets_the_same_parts_again(scenario: Scenario, whole: bytes) -> None:
    """G16: what neither the store nor the record tells the CRC-32 of."""
    large_job(scenario, tells_crcs=False)
    worker_ends(scenario, PARTS)
    scenario.worker("second", **SETTINGS)
    scenario.wait_deleted()
    assert len(scenario.history.select("CreateMultipartUpload")) == 1
    assert scenario.archive(scenario.jobs[0]) == whole
    scenario.finish()


@pytest.mark.slow
def test_a_stopped_worker_leaves_its_upload_and_the_next_one_goes_on(scenario: Scenario, whole: bytes) -> None:
    """G17: nothing is aborted, and the record has the parts that were sent, so no store has to tell."""
    large_job(scenario, tells_crcs=False)
    scenario.inject(Delay(before_it=30), "UploadPart", part=PARTS - 1)
    worker = scenario.worker("first", SHUTDOWN_GRACE_SECONDS="1", **SETTINGS)
    wait_until(lambda: {1, 2} <= {*parts_sent(scenario)}, "two parts")
    worker.terminate()
    assert worker.exit_code() == 0
    assert scenario.history.select("AbortMultipartUpload") == []
    scenario.worker("second", **SETTINGS)
    scenario.wait_deleted()
    assert len(scenario.history.select("CreateMultipartUpload")) == 1
    assert scenario.archive(scenario.jobs[0]) == whole
    scenario.finish()


@pytest.mark.slow
def test_a_worker_that_wakes_up_while_another_one_goes_on_spoils_nothing(scenario: Scenario, whole: bytes) -> None:
    """G18: two workers on one upload, the first one without its lease."""
    large_job(scenario)
    first = scenario.worker("first", **SETTINGS)
    scenario.inject(SideEffect(before_it=first.stop), "UploadPart", part=3, client="first")
    scenario.inject(SideEffect(before_it=first.resume), "UploadPart", nth=1, client="second")
    wait_until(lambda: len(parts_sent(scenario)) >= 2, "two parts")
    scenario.worker("second", **SETTINGS)
    scenario.wait_deleted()
    first.wait_for("job.lease_lost")
    assert scenario.history.select("AbortMultipartUpload") == []
    assert scenario.archive(scenario.jobs[0]) == whole
    scenario.finish()


def test_an_object_that_is_replaced_between_two_workers_is_archived_whole(scenario: Scenario) -> None:
    """G19: with another ETag the build begins anew, and the old upload is aborted."""
    large_job(scenario)
    job = scenario.changed(scenario.jobs[0])
    worker_ends(scenario, 4)
    other = content(SIZES[2], seed=77)
    scenario.put("shoot/3.jpg", other)
    scenario.worker("second", **SETTINGS)
    scenario.wait_deleted(job)
    begun = scenario.history.select("CreateMultipartUpload")
    aborted = {each.call.upload for each in scenario.history.select("AbortMultipartUpload")}
    assert len(begun) == 2 and begun[0].facts["upload"] in aborted
    assert read_archive(scenario.archive(job))["album/3.jpg"] == other
    scenario.finish()


@pytest.mark.slow
def test_an_upload_that_a_lifecycle_rule_has_aborted_is_begun_anew(scenario: Scenario, whole: bytes) -> None:
    """G20: NoSuchUpload."""
    large_job(scenario)
    worker_ends(scenario, 3)
    (upload,) = scenario.direct.s3.list_multipart_uploads(Bucket=scenario.archives)["Uploads"]
    scenario.direct.s3.abort_multipart_upload(Bucket=scenario.archives, Key=upload["Key"], UploadId=upload["UploadId"])
    scenario.worker("second", **SETTINGS)
    scenario.wait_deleted()
    assert len(scenario.history.select("CreateMultipartUpload")) == 2
    assert scenario.archive(scenario.jobs[0]) == whole
    scenario.finish()


def test_a_small_archive_is_begun_anew(scenario: Scenario) -> None:
    """G16: below RESUME_FROM_MIB nothing is recorded."""
    job = scenario.send_request(scenario.put_objects(6 * MIB))
    worker = scenario.worker("first", RESUME_FROM_MIB="7")
    end_at_part(scenario, worker, 1)
    wait_until(lambda: not worker.running, "the end of the first worker")
    scenario.worker("second", RESUME_FROM_MIB="7")
    scenario.wait_deleted(job)
    assert len(scenario.history.select("CreateMultipartUpload")) == 2
    assert scenario.history.select("PutRecord") == []
    scenario.finish()
