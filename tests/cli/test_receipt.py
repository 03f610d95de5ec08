"""`archiver receipt` and `archiver verify --receipt`, as processes."""

import csv
import io
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from emulator import EmulatedAws
from processes.archiver_process import run_command
from processes.worker_env import WorkerEnv


@pytest.fixture(scope="module")
def worker_env(emulated: EmulatedAws) -> Iterator[WorkerEnv]:
    with WorkerEnv(emulated) as worker_env:
        yield worker_env


@pytest.fixture(scope="module")
def archive(worker_env: WorkerEnv) -> dict[str, str]:
    """The archive of job `order`: two files, and one that is missing."""
    worker_env.put("a.bin", b"a" * 3000)
    worker_env.put("b,c.bin", b"b" * 10)
    worker_env.worker()
    worker_env.send_request("a.bin", "b,c.bin", "gone", job_id="order", on_missing="skip")
    told: dict[str, str] = worker_env.answer()["archive"]
    return told


def run(worker_env: WorkerEnv, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_command(*arguments, env=worker_env.settings())


def uri(archive: dict[str, str], name: str = "key") -> str:
    return f"s3://{archive['bucket']}/{archive[name]}"


def test_a_receipt_is_printed_as_a_table_of_its_files(worker_env: WorkerEnv, archive: dict[str, str]) -> None:
    ended = run(worker_env, "receipt", "order")

    lines = [line.split() for line in ended.stdout.splitlines()]
    assert ended.returncode == 0
    assert lines[0] == ["size", "crc32", "etag", "path", "source"]
    assert [(line[0], line[-2], line[-1]) for line in lines[1:]] == [
        ("3,000", "a.bin", f"s3://{worker_env.sources}/a.bin"),
        ("10", "b,c.bin", f"s3://{worker_env.sources}/b,c.bin"),
        ("20", "_MISSING.txt", "(generated)"),
    ]
    assert "missing: gone: source_missing" in ended.stderr
    assert f"{uri(archive)}: 2 files" in ended.stderr


def test_a_receipt_is_printed_as_json_and_as_csv(worker_env: WorkerEnv, archive: dict[str, str]) -> None:
    data = json.loads(run(worker_env, "receipt", uri(archive), "--json").stdout)
    rows = list(csv.DictReader(io.StringIO(run(worker_env, "receipt", uri(archive, "receipt"), "--csv").stdout)))

    assert (data["key"], data["status"], data["files"]) == (archive["key"], "partial", 2)
    assert data["missing"] == [{"source": "gone", "code": "source_missing"}]
    assert (
        [row["path"] for row in rows]
        == [one["path"] for one in data["members"]]
        == ["a.bin", "b,c.bin", "_MISSING.txt"]
    )
    assert [row["offset"] for row in rows] == [str(one["offset"]) for one in data["members"]]
    assert rows[1]["source"] == f"s3://{worker_env.sources}/b,c.bin"


def test_what_has_no_receipt_is_said_in_a_sentence(worker_env: WorkerEnv, archive: dict[str, str]) -> None:
    del archive
    worker_env.aws.s3.put_object(Bucket=worker_env.archives, Key="other/stranger.zip", Body=b"x")
    beside = {
        "archiver-request": "r",
        "archiver-token": "ab" * 16,
        "archiver-files": "1",
        "archiver-outcome": "succeeded",
    }
    worker_env.aws.s3.put_object(Bucket=worker_env.archives, Key="old/a.zip", Body=b"x", Metadata=beside)
    bucket = f"s3://{worker_env.archives}"

    for name, code, text in (
        ("unheard-of", 1, "not there, or not readable"),
        (f"{bucket}/other/stranger.zip", 1, "was not written by the archiver, so it has no receipt"),
        (f"{bucket}/old/a.zip", 1, f"has no receipt; {bucket}/old/receipt-{'ab' * 16}.json.gz does not exist"),
        (f"{bucket}/", 2, "has no key"),
    ):
        ended = run(worker_env, "receipt", name)
        assert (ended.returncode, ended.stdout) == (code, "")
        assert text in ended.stderr
    assert run(worker_env, "receipt", "order", "--json", "--csv").returncode == 2


@pytest.mark.slow
def test_an_archive_and_its_sources_are_held_against_the_receipt(
    worker_env: WorkerEnv, archive: dict[str, str]
) -> None:
    fine = run(worker_env, "verify", uri(archive), "--receipt")
    worker_env.put("a.bin", b"other")
    changed = run(worker_env, "verify", uri(archive), "--receipt")
    told = json.loads(run(worker_env, "verify", uri(archive), "--receipt", "--json").stdout)
    worker_env.put("a.bin", b"a" * 3000)
    elsewhere = f"{archive['key'].rpartition('/')[0]}/copy.zip"
    beside = worker_env.aws.s3.head_object(Bucket=archive["bucket"], Key=archive["key"])["Metadata"]
    other = worker_env.aws.s3.get_object(Bucket=archive["bucket"], Key=archive["key"])["Body"].read()
    worker_env.aws.s3.put_object(
        Bucket=archive["bucket"], Key=elsewhere, Body=other.replace(b"a.bin", b"z.bin"), Metadata=beside
    )
    renamed = run(worker_env, "verify", f"s3://{archive['bucket']}/{elsewhere}", "--receipt")
    worker_env.aws.s3.delete_object(Bucket=archive["bucket"], Key=elsewhere)

    assert (fine.returncode, fine.stdout.splitlines()[-1]) == (0, "ok")
    assert changed.returncode == 1
    assert f"changed    s3://{worker_env.sources}/a.bin: has the ETag" in changed.stdout
    assert (told["ok"], len(told["changed"]), told["problems"]) == (False, 1, [])
    assert renamed.returncode == 1
    assert "a.bin: is in the receipt, and not in the archive" in renamed.stdout
    assert "z.bin: is in the archive, and not in the receipt" in renamed.stdout


def test_a_file_has_no_receipt_to_be_held_against(worker_env: WorkerEnv, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK")
    ended = run(worker_env, "verify", str(tmp_path / "a.zip"), "--receipt")
    assert ended.returncode == 2
    assert "--receipt" in ended.stderr
