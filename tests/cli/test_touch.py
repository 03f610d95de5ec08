"""`archiver touch`: an empty object that is written over nothing."""

import pytest
from processes.archiver_process import run_command
from processes.worker_env import WorkerEnv


def test_a_flag_is_written_once_and_never_over_another_object(worker_env: WorkerEnv) -> None:
    bucket = worker_env.archives
    flag = f"s3://{bucket}/done/export 1.fin"
    first, second = (run_command("touch", flag, env=worker_env.settings()) for _ in range(2))

    assert (first.returncode, first.stderr) == (0, f"written: {flag}\n")
    assert second.returncode == 1
    assert second.stderr.endswith(f"{flag}: it exists already; nothing was changed\n")
    assert worker_env.aws.s3.head_object(Bucket=bucket, Key="done/export 1.fin")["ContentLength"] == 0


@pytest.mark.parametrize("target", ["done/export.fin", "s3://bucket/", "s3://b/k", "https://bucket/k"])
def test_what_names_no_object_is_a_usage_error(worker_env: WorkerEnv, target: str) -> None:
    ended = run_command("touch", target, env=worker_env.settings())
    assert ended.returncode == 2
    assert "write s3://bucket/key" in ended.stderr


def test_a_bucket_that_does_not_exist_is_told(worker_env: WorkerEnv) -> None:
    ended = run_command("touch", "s3://nowhere-at-all/k", env=worker_env.settings())
    assert ended.returncode != 0
    assert "NoSuchBucket" in ended.stderr
