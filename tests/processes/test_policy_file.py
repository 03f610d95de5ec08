"""A worker with a policy file: which roles requests may name, and a file that it does not start with."""

import json
from pathlib import Path
from typing import Any

import pytest
from emulator import ACCOUNT

from .archiver_process import run_command
from .worker_env import WorkerEnv

EXPORTS, PHOTOS = (f"arn:aws:iam::{ACCOUNT}:role/{name}" for name in ("exports", "photos"))


def write_policy(path: Path, **sources: str) -> str:
    """Write a file with the roles EXPORTS and PHOTOS for *sources*; its name."""
    file = path / "policy.toml"
    sections = [f'[roles."{globals()[role]}"]\nsources = ["{text}"]\n' for role, text in sources.items()]
    file.write_text("".join(sections) + 'external_id = "7f21"\n')
    return str(file)


def test_a_worker_archives_objects_of_two_roles_and_its_own_and_refuses_what_is_not_listed(
    worker_env: WorkerEnv, tmp_path: Path
) -> None:
    partner = worker_env.aws.bucket()
    for key in ("src/a.txt", "photos/b.jpg", "secret.txt"):
        worker_env.aws.s3.put_object(Bucket=partner, Key=key, Body=key.encode())
    worker_env.put("own.txt", b"own")
    worker = worker_env.worker(
        POLICY_FILE=write_policy(tmp_path, EXPORTS=f"{partner}/src/", PHOTOS=f"{partner}/photos/")
    )

    def file(key: str, role: str) -> dict[str, str]:
        return {"source": f"s3://{partner}/{key}", "role_arn": role}

    files = [file("src/a.txt", EXPORTS), file("photos/b.jpg", PHOTOS), {"source": "own.txt"}]
    worker_env.send_request(files=files)
    answer = worker_env.answer()
    refused: list[tuple[Any, str]] = [
        ([file("src/a.txt", f"{EXPORTS}2")], "role_not_allowed"),
        ([file("secret.txt", EXPORTS)], "source_not_allowed"),
        ([{"source": f"s3://{partner}/src/a.txt"}], "source_not_allowed"),
        ([file("src/z.txt", EXPORTS)], "source_missing"),
    ]
    for index, (listed, _) in enumerate(refused):
        worker_env.send_request(files=listed, job_id=str(index))
    failures = [json.loads(message["Body"]) for message in worker_env.receive(worker_env.failures, len(refused))]

    assert worker_env.archive(answer["archive"]["key"]) == {
        "a.txt": b"src/a.txt",
        "b.jpg": b"photos/b.jpg",
        "own.txt": b"own",
    }
    assert {each["job_id"]: each["error"]["code"] for each in failures} == {
        str(index): code for index, (_, code) in enumerate(refused)
    }
    assert "7f21" not in worker.log


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "there is no file {}"),
        (b'[roles."x"]\n[rolez]\n', "{}: line 2: rolez is unknown; did you mean roles?"),
        (b"\xff", "{}: line 1: is not UTF-8: save the file as UTF-8"),
    ],
)
def test_a_worker_does_not_start_with_a_policy_file_that_is_wrong(
    worker_env: WorkerEnv, content: bytes | None, told: str, tmp_path: Path
) -> None:
    file = tmp_path / "policy.toml"
    if content is not None:
        file.write_bytes(content)
    ended = run_command("run", env=worker_env.settings(POLICY_FILE=str(file)))

    assert ended.returncode == 2
    assert f"POLICY_FILE: {told.format(file)}" in ended.stderr.splitlines()
    assert all(line.startswith("POLICY_FILE: ") for line in ended.stderr.splitlines())


def test_a_file_without_end_is_not_read_to_its_end(worker_env: WorkerEnv) -> None:
    ended = run_command("run", env=worker_env.settings(POLICY_FILE="/dev/zero"))

    assert (ended.returncode, ended.stderr) == (2, "POLICY_FILE: there is no file /dev/zero\n")
