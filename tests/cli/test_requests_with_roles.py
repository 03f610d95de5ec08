"""Commands and the roles of the policy file: what they check, read and send."""

import json
import zipfile
from pathlib import Path

import pytest
from processes.archiver_process import run_command
from processes.worker_env import WorkerEnv

ROLE = "arn:aws:iam::210987654321:role/exports"


@pytest.fixture
def request_file(worker_env: WorkerEnv, tmp_path: Path) -> Path:
    """A request for an object of a bucket that only the role may read; the policy file stands beside it."""
    bucket = worker_env.aws.bucket()
    worker_env.aws.s3.put_object(Bucket=bucket, Key="src/a.txt", Body=b"a text")
    (tmp_path / "policy.toml").write_text(f'[roles."{ROLE}"]\nsources = ["{bucket}/src/"]\nexternal_id = "7f21"\n')
    file = tmp_path / "request.json"
    file.write_text(json.dumps({"files": [{"source": f"s3://{bucket}/src/a.txt", "role_arn": ROLE}]}))
    return file


def settings(worker_env: WorkerEnv, request_file: Path) -> dict[str, str]:
    return worker_env.settings(POLICY_FILE=str(request_file.parent / "policy.toml"))


def test_create_and_plan_read_with_roles(worker_env: WorkerEnv, request_file: Path, tmp_path: Path) -> None:
    env, output = settings(worker_env, request_file), tmp_path / "a.zip"
    planned = run_command("plan", str(request_file), "--json", env=env)
    created = run_command("create", str(request_file), "--output", str(output), env=env)

    assert (planned.returncode, created.returncode) == (0, 0), planned.stderr + created.stderr
    assert json.loads(planned.stdout)["archive"]["files"] == 1
    with zipfile.ZipFile(output) as archive:
        assert archive.read("a.txt") == b"a text"


@pytest.mark.parametrize("command", ["plan", "send"])
def test_a_role_that_is_not_listed_is_told_before_anything_is_done(
    worker_env: WorkerEnv, request_file: Path, command: str
) -> None:
    request_file.write_text(request_file.read_text().replace("exports", "others"))
    ended = run_command(command, str(request_file), env=settings(worker_env, request_file))

    assert ended.returncode != 0
    assert "role_not_allowed: $.files[0].role_arn arn:aws:iam::210987654321:role/others is not a role" in ended.stderr
    assert worker_env.aws.all_messages(worker_env.source) == []


def test_a_sender_without_the_policy_file_leaves_roles_to_the_worker(worker_env: WorkerEnv, request_file: Path) -> None:
    ended = run_command("send", str(request_file), env=worker_env.settings())

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ROLE in worker_env.aws.all_messages(worker_env.source)[0]["Body"]


def test_check_has_a_row_for_each_role(worker_env: WorkerEnv, request_file: Path) -> None:
    ended = run_command("check", "--json", env=settings(worker_env, request_file))

    (row,) = [row for row in json.loads(ended.stdout) if row["what"] == "role"]
    assert (ended.returncode, row["state"], row["told"]) == (0, "ok", f"{ROLE} can be assumed")


def test_check_tells_what_is_wrong_with_the_file(worker_env: WorkerEnv, request_file: Path) -> None:
    (request_file.parent / "policy.toml").write_text("[rolez]\n[roles.x]\n")
    ended = run_command("check", "--json", env=settings(worker_env, request_file))

    rows = json.loads(ended.stdout)
    assert (ended.returncode, [row["what"] for row in rows]) == (2, ["POLICY_FILE", "POLICY_FILE"])
    assert "line 1: rolez is unknown; did you mean roles?" in rows[0]["told"]
