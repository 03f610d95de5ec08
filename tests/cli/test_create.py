"""`archiver create` builds one archive now: whole, in a bucket or as a file, or nothing at all."""

import hashlib
import hmac
import json
import signal
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults.rules import SideEffect, Stall, Status
from faults.scenario import MIB, Scenario
from faults.worker_process import WAIT_TIMEOUT, wait_until
from processes.archiver_process import run_command
from processes.worker_env import WorkerEnv

from .cli_process import HIDE, SHOW, CliProcess, cli_environment, partial_files

OpenScenario = Callable[..., Scenario]


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def key_of(job_id: str) -> str:
    digest = hmac.new(b"a secret", f"v1\narchiver create\njob\n{job_id}".encode(), hashlib.sha256)
    return f"{digest.hexdigest()}/download.zip"


def without(settings: dict[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in settings.items() if not name.startswith(names)}


# In a bucket


def test_archive_goes_to_the_bucket_and_its_link_to_standard_output(worker_env: WorkerEnv) -> None:
    worker_env.put("p/a.jpg", b"one")
    worker_env.put("q/a.jpg", b"two")

    ended = run_command("create", "--file=p/a.jpg", "--file=q/a.jpg", "--job-id=order-1", env=worker_env.settings())

    key = key_of("order-1")
    assert (ended.returncode, ended.stdout) == (0, f"https://archives.example/{key}\n")
    assert ended.stderr.splitlines()[:2] == ["renamed:", "  a.jpg is now a (2).jpg"]
    assert ended.stderr.splitlines()[2].startswith(f"s3://{worker_env.archives}/{key}: 2 files, ")
    assert ended.stderr.endswith(", 1 renamed (succeeded)\n")
    assert worker_env.archive(key) == {"a.jpg": b"one", "a (2).jpg": b"two"}


def test_queues_are_not_needed(worker_env: WorkerEnv) -> None:
    worker_env.put("a.jpg")
    ended = run_command("create", "--file=a.jpg", env=without(worker_env.settings(), "SQS_"))
    assert ended.returncode == 0
    assert len(worker_env.archive_keys()) == 1


def test_same_job_again_is_answered_from_the_archive_that_is_there(worker_env: WorkerEnv) -> None:
    worker_env.put("a.jpg")
    first, second = (
        json.loads(
            run_command("create", "--file=a.jpg", "--job-id=order-1", "--json", env=worker_env.settings()).stdout
        )
        for _ in range(2)
    )

    assert (first["reused"], second["reused"]) == (False, True)
    unlike = {"reused", "seconds"}
    assert {k: v for k, v in first.items() if k not in unlike} == {k: v for k, v in second.items() if k not in unlike}
    assert worker_env.archive_keys() == [key_of("order-1")]


@pytest.mark.slow
def test_same_job_again_is_said_to_have_been_there(worker_env: WorkerEnv) -> None:
    worker_env.put("a.jpg")
    run_command("create", "--file=a.jpg", "--job-id=order-1", env=worker_env.settings())
    ended = run_command("create", "--file=a.jpg", "--job-id=order-1", env=worker_env.settings())
    assert ", already existed (succeeded)" in ended.stderr


def test_another_request_under_the_same_job_id_is_refused(worker_env: WorkerEnv) -> None:
    worker_env.put("a.jpg")
    worker_env.put("b.jpg")
    run_command("create", "--file=a.jpg", "--job-id=order-1", env=worker_env.settings())
    ended = run_command("create", "--file=b.jpg", "--job-id=order-1", env=worker_env.settings())
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "job_conflict: another request under this job_id has its archive already\n"


def test_without_a_job_id_every_archive_is_another(worker_env: WorkerEnv) -> None:
    worker_env.put("a.jpg")
    for _ in range(2):
        assert run_command("create", "--file=a.jpg", env=worker_env.settings()).returncode == 0
    assert len(worker_env.archive_keys()) == 2


def test_json_is_all_that_standard_output_holds(worker_env: WorkerEnv) -> None:
    worker_env.put("a.jpg", b"one")
    ended = run_command(
        "create",
        "--file=a.jpg",
        "--file=gone.jpg",
        "--on-missing=skip",
        "--job-id=7",
        "--json",
        env=worker_env.settings(),
    )

    told = json.loads(ended.stdout)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert told.pop("seconds") > 0
    size = worker_env.aws.s3.head_object(Bucket=worker_env.archives, Key=key_of("7"))["ContentLength"]
    assert len(told.pop("crc32")) == 8
    assert worker_env.aws.s3.head_object(Bucket=worker_env.archives, Key=told.pop("receipt"))["ContentLength"]
    assert told == {
        "status": "partial",
        "archive": f"s3://{worker_env.archives}/{key_of('7')}",
        "link": f"https://archives.example/{key_of('7')}",
        "expires_at": None,
        "size": size,
        "files": 1,
        "missing": [{"source": "gone.jpg", "code": "source_missing", "detail": "no such key or bucket"}],
        "renamed": [],
        "reused": False,
    }


def test_archive_name_is_what_the_downloader_sees(worker_env: WorkerEnv) -> None:
    worker_env.put("a.jpg")
    run_command("create", "--file=a.jpg", "--job-id=7", "--archive-name=Summer", env=worker_env.settings())
    head = worker_env.aws.s3.head_object(Bucket=worker_env.archives, Key=key_of("7"))
    assert head["ContentDisposition"] == 'attachment; filename="Summer.zip"'


def test_upload_that_a_killed_run_left_is_swept_by_the_next_one_of_that_job(worker_env: WorkerEnv) -> None:
    worker_env.put("a.jpg")
    worker_env.aws.s3.create_multipart_upload(Bucket=worker_env.archives, Key=key_of("7"))
    assert run_command("create", "--file=a.jpg", "--job-id=7", env=worker_env.settings()).returncode == 0
    assert worker_env.aws.s3.list_multipart_uploads(Bucket=worker_env.archives).get("Uploads", []) == []


# As a file


def test_file_is_written_without_any_destination_setting(worker_env: WorkerEnv, tmp_path: Path) -> None:
    worker_env.put("a.jpg", b"one")
    worker_env.put("film.mp4", bytes(20 * MIB))
    path = tmp_path / "photos.zip"

    ended = run_command(
        "create",
        "--file=a.jpg=album",
        "--file=film.mp4",
        f"--output={path}",
        env=without(worker_env.settings(), "SQS_", "S3_DESTINATION_BUCKET"),
    )

    assert (ended.returncode, ended.stdout) == (0, f"{path}\n")
    assert ended.stderr.startswith(f"{path}: 2 files, 21.0 MB, took ")
    assert members(path) == {"album/a.jpg": b"one", "film.mp4": bytes(20 * MIB)}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_compressed_file_is_written_and_tells_what_was_left_out(worker_env: WorkerEnv, tmp_path: Path) -> None:
    worker_env.put("a.txt", b"words " * 4 * MIB)
    path = tmp_path / "a.zip"
    request = {"files": [{"source": "a.txt"}, {"source": "gone"}], "on_missing": "skip", "compression": "deflate"}
    (tmp_path / "request.json").write_text(json.dumps(request))

    ended = run_command("create", str(tmp_path / "request.json"), f"--output={path}", env=worker_env.settings())

    assert ended.returncode == 0
    assert ended.stderr.splitlines()[:2] == ["missing:", "  gone: source_missing (no such key or bucket)"]
    assert ended.stderr.endswith(", 1 missing (partial)\n")
    assert members(path)["a.txt"] == b"words " * 4 * MIB


def test_file_that_is_there_is_kept_unless_it_may_be_replaced(worker_env: WorkerEnv, tmp_path: Path) -> None:
    worker_env.put("a.jpg", b"one")
    path = tmp_path / "a.zip"
    path.write_bytes(b"before")

    refused = run_command("create", "--file=a.jpg", f"--output={path}", env=worker_env.settings())
    assert (refused.returncode, refused.stderr) == (2, f"{path}: already exists; use --force to replace it\n")
    assert path.read_bytes() == b"before"

    assert (
        run_command("create", "--file=a.jpg", f"--output={path}", "--force", env=worker_env.settings()).returncode == 0
    )
    assert members(path) == {"a.jpg": b"one"}


def test_link_is_followed_and_stays_one(worker_env: WorkerEnv, tmp_path: Path) -> None:
    worker_env.put("a.jpg", b"one")
    real, link = tmp_path / "real.zip", tmp_path / "link.zip"
    real.write_bytes(b"before")
    link.symlink_to(real)

    assert (
        run_command("create", "--file=a.jpg", f"--output={link}", "--force", env=worker_env.settings()).returncode == 0
    )

    assert link.is_symlink()
    assert members(real) == {"a.jpg": b"one"}


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("-", "--output -: an archive can't be written to a pipe"),
        ("{tmp}", "{tmp}: is a folder; name a file in it"),
        ("{tmp}/none/a.zip", "{tmp}/none/a.zip: the folder {tmp}/none does not exist; create it first"),
        ("/dev/null", "/dev/null: is not a regular file; name another file"),
    ],
)
def test_output_that_can_be_no_file_is_refused_before_anything_is_asked_for(
    tmp_path: Path, output: str, told: str
) -> None:
    """There is not even an endpoint to ask."""
    ended = run_command("create", "--file=a.jpg", f"--output={output.format(tmp=tmp_path)}", "--force")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(told.format(tmp=tmp_path))
    assert len(ended.stderr.splitlines()) == 1


def test_file_that_can_not_be_written_is_told_in_a_sentence(worker_env: WorkerEnv) -> None:
    worker_env.put("a.jpg")
    ended = run_command("create", "--file=a.jpg", "--output=/proc/a.zip", env=worker_env.settings())
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("/proc/a.zip: can't be written: ")


def test_disk_that_is_full_is_told_and_nothing_is_left(worker_env: WorkerEnv, tmp_path: Path) -> None:
    """A limit on the size of files stands for it: the call that writes fails in the same way."""
    worker_env.put("film.mp4", bytes(20 * MIB))
    path = tmp_path / "a.zip"
    arguments = ["create", "--file=film.mp4", f"--output={path}"]
    with CliProcess(arguments, worker_env.settings(), largest_file=6 * MIB) as creating:
        assert creating.end() == (2, "")

    assert creating.errors.strip() == f"{path}: can't be written: File too large"
    assert list(tmp_path.iterdir()) == []


def test_file_that_appears_while_the_archive_is_built_is_not_written_over(
    open_scenario: OpenScenario, tmp_path: Path
) -> None:
    scenario = open_scenario()
    scenario.put("a.jpg", b"one")
    path = tmp_path / "a.zip"
    scenario.inject(SideEffect(before_it=lambda: path.write_bytes(b"someone else's")), "GetObject")

    ended = run_command("create", "--file=a.jpg", f"--output={path}", env=cli_environment(scenario))

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"{path}: was created by another process meanwhile; use --force to replace it\n"
    assert path.read_bytes() == b"someone else's"
    assert list(tmp_path.iterdir()) == [path]


# Refusals


def test_all_missing_objects_are_listed_and_nothing_is_written(worker_env: WorkerEnv, tmp_path: Path) -> None:
    worker_env.put("a.jpg")
    files = ["--file=a.jpg", *(f"--file=gone-{n}.jpg" for n in range(30))]

    ended = run_command("create", *files, f"--output={tmp_path / 'a.zip'}", env=worker_env.settings())

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.splitlines() == [
        "source_missing: 30 objects can't be read",
        *(f"  gone-{n}.jpg: source_missing (no such key or bucket)" for n in range(30)),
    ]
    assert list(tmp_path.iterdir()) == []


def test_refusal_is_json_too(worker_env: WorkerEnv) -> None:
    ended = run_command("create", "--file=gone.jpg", "--json", env=worker_env.settings())

    told: dict[str, Any] = json.loads(ended.stdout)
    assert (ended.returncode, told["status"]) == (1, "failed")
    assert told["error"]["code"] == "source_missing"
    assert told["error"]["sources"] == [
        {"source": "gone.jpg", "code": "source_missing", "detail": "no such key or bucket"}
    ]
    assert ended.stderr.startswith("source_missing: ")


def test_all_denied_is_a_refusal_at_once_and_not_something_to_try_again(open_scenario: OpenScenario) -> None:
    scenario = open_scenario()
    sources = scenario.put_objects(10, 10)
    scenario.inject(Status(403, "AccessDenied"), bucket=scenario.sources, times=None)

    ended = run_command("create", *(f"--file={one.key}" for one in sources), env=cli_environment(scenario))

    assert ended.returncode == 1
    assert ended.stderr.startswith("source_denied: 2 objects can't be read\n  shoot/1.jpg: source_denied (")
    assert "try again" not in ended.stderr


def test_request_that_can_not_be_is_refused(worker_env: WorkerEnv) -> None:
    ended = run_command("create", "--file=a.jpg=../x.jpg", env=worker_env.settings())
    assert ended.returncode == 1
    assert ended.stderr.startswith("name_unsafe: $.files[0]")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"S3_DESTINATION_BUCKET": ""}, "S3_DESTINATION_BUCKET: is required (bucket of the archives)\n"),
        (
            {"S3_DESTINATION_BUCKET": "misspelt"},
            "S3_DESTINATION_BUCKET: the bucket misspelt does not exist; check the name and AWS_REGION\n",
        ),
    ],
)
def test_destination_that_is_not_there_is_told_before_anything_is_read(
    worker_env: WorkerEnv, changed: dict[str, str], told: str
) -> None:
    worker_env.put("a.jpg")
    ended = run_command("create", "--file=a.jpg", env=worker_env.settings(**changed))
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", told)


def test_who_may_not_look_at_the_bucket_may_still_write_to_it(open_scenario: OpenScenario) -> None:
    scenario = open_scenario()
    scenario.put("a.jpg", b"one")
    scenario.inject(Status(403, "AccessDenied"), "HeadBucket", times=None)
    scenario.inject(Status(403, "AccessDenied"), "ListMultipartUploads", times=None)

    ended = run_command("create", "--file=a.jpg", "--job-id=7", env=cli_environment(scenario))

    assert ended.returncode == 0
    assert ended.stderr.startswith("multipart uploads of an earlier run could not be listed or aborted: ")


def test_force_is_for_files_only(worker_env: WorkerEnv) -> None:
    ended = run_command("create", "--file=a.jpg", "--force", env=worker_env.settings())
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("--force: an archive in a bucket is never replaced; ")


@pytest.mark.slow
def test_what_may_work_later_is_exit_code_3(open_scenario: OpenScenario) -> None:
    scenario = open_scenario()
    scenario.put("a.jpg", b"one")
    scenario.inject(Status(503, "SlowDown"), "PutObject", times=None)

    ended = run_command("create", "--file=a.jpg", env=cli_environment(scenario), seconds=120)

    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr.splitlines()[-1].endswith("; try again")


# Interrupted


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_upload_is_undone(open_scenario: OpenScenario, number: signal.Signals) -> None:
    scenario = open_scenario()
    scenario.put("film.mp4", bytes(13 * MIB))
    scenario.inject(Stall(), "UploadPart", nth=2, times=None)
    with CliProcess(["create", "--file=film.mp4", "--job-id=7"], cli_environment(scenario)) as creating:
        scenario.wait_call("UploadPart", 2)
        assert len(scenario.direct.s3.list_multipart_uploads(Bucket=scenario.archives)["Uploads"]) == 1
        creating.process.send_signal(number)
        assert creating.end() == (130, "")

    assert creating.errors.splitlines()[-1] == "interrupted; nothing was left behind"
    assert scenario.direct.s3.list_multipart_uploads(Bucket=scenario.archives).get("Uploads", []) == []
    assert "Contents" not in scenario.direct.s3.list_objects_v2(Bucket=scenario.archives)


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["store", "deflate"])
def test_interrupted_file_is_gone(open_scenario: OpenScenario, tmp_path: Path, compression: str) -> None:
    scenario = open_scenario()
    for name in ("film.mp4", "last.mp4"):
        scenario.put(name, hashlib.shake_128(name.encode()).digest(13 * MIB))
    scenario.inject(Stall(), "GetObject", key="last.mp4", times=None)
    arguments = ["create", "--file=film.mp4", "--file=last.mp4", f"--compression={compression}"]
    with CliProcess([*arguments, f"--output={tmp_path / 'a.zip'}"], cli_environment(scenario)) as creating:
        wait_until(
            lambda: any((tmp_path / name).stat().st_size for name in partial_files(tmp_path)), "a part on the disk"
        )
        creating.interrupt()
        assert creating.end() == (130, "")

    assert list(tmp_path.iterdir()) == []


def test_interrupted_on_a_terminal_gives_the_cursor_back(open_scenario: OpenScenario, tmp_path: Path) -> None:
    scenario = open_scenario()
    sources = scenario.put_objects(3_000_000, 2_000_000)
    scenario.inject(Stall(), "GetObject", key=sources[1].key, times=None)
    arguments = ["create", *(f"--file={one.key}" for one in sources), f"--output={tmp_path / 'a.zip'}"]
    with CliProcess(arguments, cli_environment(scenario), terminal=120) as creating:
        creating.wait_for_text("1/2 files")
        creating.interrupt()
        assert creating.end() == (130, "")

    assert creating.errors.rindex(SHOW) > creating.errors.rindex(HIDE)
    assert creating.frames[-1] == "interrupted; nothing was left behind"
    assert list(tmp_path.iterdir()) == []


# How it shows


def test_bar_moves_on_a_terminal_and_ends_complete(open_scenario: OpenScenario, tmp_path: Path) -> None:
    scenario = open_scenario()
    sources, go_on = scenario.put_objects(3_000_000, 2_000_000), threading.Event()
    scenario.inject(SideEffect(before_it=lambda: go_on.wait(WAIT_TIMEOUT)), "GetObject", key=sources[1].key)
    path = tmp_path / "a.zip"
    arguments = ["create", *(f"--file={one.key}" for one in sources), f"--output={path}"]
    with CliProcess(arguments, cli_environment(scenario), terminal=120) as creating:
        creating.wait_for_text("1/2 files 3.0 MB")  # the size of the other one is not known
        go_on.set()
        assert creating.end() == (0, f"{path}\n")

    *_, bar, summary = creating.frames
    assert "2/2 files 5.0 MB of 5.0 MB" in bar
    assert summary.startswith(f"{path}: 2 files, 5.0 MB, took ")


def test_nothing_of_a_bar_is_in_a_pipe(worker_env: WorkerEnv, tmp_path: Path) -> None:
    worker_env.put("a.jpg")
    ended = run_command(
        "create", "--file=a.jpg", f"--output={tmp_path / 'a.zip'}", env=worker_env.settings(FORCE_COLOR="1")
    )
    assert ended.returncode == 0
    assert "\x1b" not in ended.stdout + ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_help_has_an_example() -> None:
    ended = run_command("create", "--help")
    assert ended.returncode == 0
    assert "Example: archiver create --file s3://photos/a.jpg=album --output photos.zip" in ended.stdout
