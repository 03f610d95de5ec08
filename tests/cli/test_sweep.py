"""`archiver sweep`: what interrupted builds have left is listed, then removed."""

from processes.archiver_process import run_command
from processes.worker_env import WorkerEnv

KEY = "0f" * 32 + "/download.zip"


def test_an_upload_that_no_worker_could_finish_is_listed_and_then_removed(worker_env: WorkerEnv) -> None:
    """Of moto, every upload was begun in 2010."""
    s3, bucket = worker_env.aws.s3, worker_env.archives
    s3.create_multipart_upload(Bucket=bucket, Key=KEY)
    s3.create_multipart_upload(Bucket=bucket, Key="photos/a.zip")

    listed = run_command("sweep", "--dry-run", env=worker_env.settings())
    assert (listed.returncode, listed.stdout) == (0, f"{KEY}  upload of 2010-11-10 20:48 UTC\n"), listed.stderr
    assert listed.stderr == "found: 1\n"

    removed = run_command("sweep", env=worker_env.settings())
    assert (removed.returncode, removed.stderr) == (0, "removed: 1\n")
    assert [one["Key"] for one in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == ["photos/a.zip"]


def test_a_queue_or_bucket_that_does_not_exist_is_told(worker_env: WorkerEnv) -> None:
    for name in ("SQS_SOURCE_QUEUE", "S3_DESTINATION_BUCKET"):
        ended = run_command("sweep", env=worker_env.settings() | {name: "nowhere-at-all"})
        assert ended.returncode == 2, ended.stderr
        assert "nowhere-at-all" in ended.stderr
