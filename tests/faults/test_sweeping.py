"""`archiver sweep` beside workers: what is in use or can't be known is left alone, and what is denied is told."""

import subprocess

import pytest
from cli.cli_process import cli_environment
from processes.archiver_process import run_command

from .operations import is_record
from .resumed import JOB_TIMEOUT, READ, large_job, left_job
from .rules import SideEffect, Status
from .scenario import Scenario


def sweep(scenario: Scenario, *options: str) -> subprocess.CompletedProcess[str]:
    return run_command("sweep", *options, env=cli_environment(scenario))


def record_of(scenario: Scenario) -> str:
    listed = scenario.direct.s3.list_objects_v2(Bucket=scenario.archives)["Contents"]
    (key,) = [one["Key"] for one in listed if is_record(one["Key"])]
    return str(key)


@pytest.mark.slow
def test_a_sweep_beside_a_worker_leaves_its_upload_alone(scenario: Scenario) -> None:
    """Of the emulator every upload was begun in 2010: the record alone tells that it is in use."""
    large_job(scenario)
    ended: list[subprocess.CompletedProcess[str]] = []
    scenario.inject(SideEffect(before_it=lambda: ended.append(sweep(scenario))), "UploadPart", part=3, client="worker")
    scenario.worker(**READ.settings)
    scenario.wait_deleted(seconds=JOB_TIMEOUT)

    assert [(one.returncode, one.stdout, one.stderr) for one in ended] == [(0, "", "removed: 0\n")]
    assert len(scenario.history.select("CreateMultipartUpload")) == 1
    scenario.finish()


@pytest.mark.slow
def test_an_upload_beside_a_record_that_can_not_be_read_is_left_for_its_job(scenario: Scenario) -> None:
    left_job(scenario, READ)
    scenario.direct.s3.put_object(Bucket=scenario.archives, Key=record_of(scenario), Body=b"\x1f\x8b unreadable")

    ended = sweep(scenario)
    assert (ended.returncode, ended.stdout) == (0, ""), ended.stderr
    assert "build.record_unreadable" in ended.stderr and ended.stderr.endswith("removed: 0\n")
    assert scenario.direct.s3.list_multipart_uploads(Bucket=scenario.archives)["Uploads"]

    scenario.worker("second", **READ.settings)
    scenario.wait_deleted(seconds=JOB_TIMEOUT)
    scenario.finish()


@pytest.mark.parametrize("op", ["ListMultipartUploads", pytest.param("ListObjects", marks=pytest.mark.slow)])
@pytest.mark.parametrize("options", [("--dry-run",), pytest.param((), marks=pytest.mark.slow)])
def test_what_a_sweep_may_not_list_is_told_and_nothing_is_removed(
    scenario: Scenario, op: str, options: tuple[str, ...]
) -> None:
    key = f"{'0f' * 32}/download.zip"
    scenario.direct.s3.create_multipart_upload(Bucket=scenario.archives, Key=key)
    scenario.inject(Status(403, "AccessDenied"), op, bucket=scenario.archives, times=None)

    ended = sweep(scenario, *options)

    assert ended.returncode not in (0, 70) and ended.stdout == ""
    assert "AccessDenied" in ended.stderr and "Traceback" not in ended.stderr
    assert scenario.direct.s3.list_multipart_uploads(Bucket=scenario.archives)["Uploads"][0]["Key"] == key


@pytest.mark.parametrize(
    "refusal", [Status(403, "AccessDenied"), pytest.param(Status(503, "SlowDown"), marks=pytest.mark.slow)]
)
def test_a_sweep_goes_on_after_what_it_can_not_remove_and_tells_it(scenario: Scenario, refusal: Status) -> None:
    first, second, third = (f"{f'0{digit}' * 32}/download.zip" for digit in "def")
    for key in (first, second, third):
        scenario.direct.s3.create_multipart_upload(Bucket=scenario.archives, Key=key)
    scenario.inject(refusal, "AbortMultipartUpload", key=second, times=None)

    ended = sweep(scenario)

    assert ended.returncode == 3, ended.stderr
    assert [line.partition(" ")[0] for line in ended.stdout.splitlines()] == [first, third]
    removed, told, last = ended.stderr.splitlines()
    assert removed == "removed: 2" and last.startswith("not removed: 1")
    assert told.startswith(second) and refusal.code in told
    (left,) = scenario.direct.s3.list_multipart_uploads(Bucket=scenario.archives)["Uploads"]
    assert left["Key"] == second
