"""Every command once with an interpreter of its own; the other tests fork one that has read every module already."""

from pathlib import Path

import pytest
import typer.main
from processes.archiver_process import run_command
from processes.worker_env import WorkerEnv

from archiver.cli import app

pytestmark = [pytest.mark.fresh, pytest.mark.slow]

ARGUMENTS = {
    "send": ["--file=a.jpg"],
    "plan": ["--file=a.jpg"],
    "create": ["--file=a.jpg"],
    "check": [],
    "iam-policy": [],
    "dlq": ["list"],
    "schema": [],
    "explain": [],
    "describe": [],
    "sweep": ["--dry-run"],
    "ecs-run": ["a.jpg", "--dry-run", "--cluster=c", "--task=t", "--container=c", "--subnet=s"],
}
NEEDS_SOMETHING_THERE = {"verify", "health", "status", "receipt", "touch", "cancel", "invoke", "handle"}
STARTED_ELSEWHERE = {"run", "local", "demo"}  # worker/test_start and top/test_local


def test_no_command_is_left_out() -> None:
    assert {*ARGUMENTS, *NEEDS_SOMETHING_THERE, *STARTED_ELSEWHERE} == set(
        vars(typer.main.get_command(app))["commands"]
    )


@pytest.mark.parametrize("name", ARGUMENTS)
def test_command_finds_all_that_it_imports(worker_env: WorkerEnv, name: str) -> None:
    worker_env.put("a.jpg")

    ended = run_command(name, *ARGUMENTS[name], env=worker_env.settings())

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout or ended.stderr


def test_command_that_looks_at_an_archive_or_a_worker_does_too(worker_env: WorkerEnv, tmp_path: Path) -> None:
    worker_env.put("a.jpg")
    heartbeat, archive = tmp_path / "heartbeat", tmp_path / "a.zip"
    worker_env.worker(HEARTBEAT_FILE=str(heartbeat))
    run_command("create", "--file=a.jpg", f"--output={archive}", env=worker_env.settings())

    well = run_command("health", env={"HEARTBEAT_FILE": str(heartbeat)})
    whole = run_command("verify", str(archive), env=worker_env.settings())
    stored = run_command("create", "--file=a.jpg", env=worker_env.settings())
    receipt = run_command("receipt", stored.stdout.strip(), env=worker_env.settings())

    assert (well.returncode, well.stdout, well.stderr) == (0, "healthy\n", "")
    assert whole.returncode == 0, whole.stderr
    assert receipt.returncode == 0, receipt.stderr


def test_command_that_writes_beside_archives_does_too(worker_env: WorkerEnv) -> None:
    touched = run_command("touch", f"s3://{worker_env.archives}/done.flag", env=worker_env.settings())
    cancelled = run_command("cancel", "order-4711", env=worker_env.settings())

    assert touched.returncode == 0, touched.stderr
    assert cancelled.returncode == 0, cancelled.stderr
