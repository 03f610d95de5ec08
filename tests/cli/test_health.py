"""`archiver health` beside a real worker, and beside the files that workers in trouble leave."""

import json
import os
import re
import time
from pathlib import Path

import pytest
from faults.worker_process import wait_until
from processes.archiver_process import run_command
from processes.worker_env import WorkerEnv


def health(file: Path | str, *arguments: str) -> tuple[int, str, str]:
    ended = run_command("health", *arguments, env={"HEARTBEAT_FILE": str(file)})
    return ended.returncode, ended.stdout, ended.stderr


def left(file: Path, *, beaten: float, good: float) -> Path:
    """A heartbeat of *beaten* seconds ago, when receiving was good until *good* seconds ago."""
    file.touch()
    now = time.time()
    os.utime(file, (now - good, now - beaten))
    return file


def test_a_worker_is_well_while_it_runs_and_leaves_no_file_behind(worker_env: WorkerEnv, tmp_path: Path) -> None:
    file = tmp_path / "heartbeat"
    worker = worker_env.worker(HEARTBEAT_FILE=str(file))

    assert health(file) == (0, "healthy\n", "")
    assert json.loads(health(file, "--json")[1]) == {"healthy": True, "trouble": None}
    assert file.stat().st_size == 0
    worker.terminate()
    assert worker.exit_code() == 0
    assert health(file)[0] == 1
    assert not file.exists()


def test_a_worker_that_cannot_receive_is_told_apart_by_its_file(worker_env: WorkerEnv, tmp_path: Path) -> None:
    """Receiving fails from the first attempt on: the file's access time stands still while the beats go on."""
    file = tmp_path / "heartbeat"
    worker = worker_env.worker(HEARTBEAT_FILE=str(file))
    worker_env.aws.sqs.delete_queue(QueueUrl=worker_env.source)

    wait_until(lambda: "worker.receive_failed" in worker.log or "worker.paused" in worker.log, "a failed receive")
    wait_until(lambda: file.stat().st_atime < file.stat().st_mtime, "beats without good receives")
    assert health(file) == (0, "healthy\n", "")  # not for two minutes yet


@pytest.mark.parametrize(
    ("beaten", "good", "sentence"),
    [
        (31, 31, r"the last heartbeat was \d+ s ago: the worker is stuck or gone"),
        (1, 125, r"receiving has been failing for 12\d s: the log says why"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(tmp_path: Path, beaten: float, good: float, sentence: str) -> None:
    file = left(tmp_path / "heartbeat", beaten=beaten, good=good)

    code, output, errors = health(file)

    assert (code, output) == (1, "")
    assert re.fullmatch(sentence, errors.strip())
    assert json.loads(health(file, "--json")[1])["healthy"] is False


@pytest.mark.parametrize(("beaten", "good"), [(20, 20), (1, 100), (25, 130)])
def test_what_is_late_but_not_too_late_is_well(tmp_path: Path, beaten: float, good: float) -> None:
    assert health(left(tmp_path / "heartbeat", beaten=beaten, good=good)) == (0, "healthy\n", "")


def test_no_file_is_no_worker(tmp_path: Path) -> None:
    file = tmp_path / "none"

    code, _, errors = health(file)

    assert (code, errors) == (1, f"there is no heartbeat file {file}: no worker runs with this HEARTBEAT_FILE\n")


def test_without_the_setting_the_command_says_which_one() -> None:
    code, _, errors = health("")

    assert code == 2
    assert errors.startswith("HEARTBEAT_FILE is not set")


def test_a_file_that_cannot_be_written_is_a_warning_and_no_crash(worker_env: WorkerEnv, tmp_path: Path) -> None:
    worker = worker_env.worker(HEARTBEAT_FILE=str(tmp_path / "no" / "folder"))

    wait_until(lambda: "heartbeat.failed" in worker.log, "the warning")
    worker_env.put("a.jpg")
    worker_env.send_request("a.jpg")
    assert worker_env.answer()["status"] == "succeeded"
