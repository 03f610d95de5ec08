"""`archiver status`: S3 alone tells whether a job's archive is there."""

import json
import subprocess
from collections.abc import Callable

import pytest
from faults.rules import Rule, Status
from faults.stage import Stage
from processes.worker_env import Scene
from processes.worker_process import command

from .running import environment


def status(scene: Scene, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return command("status", *arguments, env=scene.settings(**settings))


def test_a_job_is_not_there_and_then_done(scene: Scene) -> None:
    scene.put("a.jpg")
    before = status(scene, "order")
    scene.worker()
    scene.ask("a.jpg", job_id="order")
    answer = scene.answer()
    after, told = status(scene, "order"), json.loads(status(scene, "order", "--json").stdout)

    assert (before.returncode, before.stdout) == (1, "")
    assert before.stderr == f"not there (yet): s3://{scene.archives}/{answer['archive']['key']}\n"
    assert (after.returncode, after.stdout) == (0, f"{answer['substitutions']['archiver_URL']}\n")
    assert after.stderr.startswith("done: 1 file, ")
    assert told == {
        "job_id": "order",
        "message_id": None,
        "state": "done",
        "outcome": "succeeded",
        "archive": f"s3://{scene.archives}/{answer['archive']['key']}",
        "size": answer["archive"]["size"],
        "files": 1,
        "link": answer["substitutions"]["archiver_URL"],
        "expires_at": None,
    }


def test_a_request_without_a_job_id_is_found_by_its_message(scene: Scene) -> None:
    scene.put("a.jpg")
    scene.worker(ARCHIVE_KEY_SECRET="secret", S3_FILE_PREFIX="photos")
    message = scene.ask("a.jpg")
    key = scene.answer()["archive"]["key"]
    same = {"ARCHIVE_KEY_SECRET": "secret", "S3_FILE_PREFIX": "photos"}

    assert json.loads(status(scene, "--message-id", message, "--json", **same).stdout)["archive"].endswith(key)
    assert status(scene, "--message-id", message).returncode == 1


def test_a_presigned_link_is_told_with_its_end(scene: Scene) -> None:
    scene.put("a.jpg")
    scene.worker()
    scene.ask("a.jpg", job_id="order")
    scene.answer()
    told = json.loads(status(scene, "order", "--json", LINKS="presigned", ARCHIVE_BASE_URL="").stdout)

    assert "X-Amz-Signature=" in told["link"]
    assert told["expires_at"].endswith("+00:00")


def test_an_object_of_others_is_told_as_one(scene: Scene) -> None:
    before = json.loads(status(scene, "order", "--json").stdout)
    scene.aws.s3.put_object(Bucket=scene.archives, Key=before["archive"].split("/", 3)[3], Body=b"zip")
    after = status(scene, "order")

    assert before["state"] == "not there"
    assert (after.returncode, after.stderr) == (0, "done: 3 bytes (not written by this service)\n")


def test_the_queue_is_not_asked_where_all_is_said(scene: Scene) -> None:
    name = scene.source.rpartition("/")[2]
    settings = {"SQS_SOURCE_QUEUE": name, "AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:1", "AWS_REGION": "eu-west-1"}

    asked = status(scene, "order", "--account", "123456789012", "--json", **settings)

    assert json.loads(asked.stdout)["archive"] == json.loads(status(scene, "order", "--json").stdout)["archive"]


def test_what_may_not_be_looked_at_is_neither_there_nor_not(set_stage: Callable[..., Stage]) -> None:
    """HEAD's 403 has no code: exit code 3."""
    stage = set_stage()
    for op in ("HeadObject", "GetObject"):
        stage.proxy.add(Rule(Status(403, "AccessDenied"), op=op, times=None))
    ended = command("status", "order", env=environment(stage))

    assert (ended.returncode, ended.stdout) == (3, "")
    assert "can't be looked for" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "settings", "told"),
    [
        ((), {}, "give the job_id of the request, or --message-id"),
        (("a", "--message-id", "b"), {}, "one of the two"),
        (("a",), {"S3_DESTINATION_BUCKET": ""}, "S3_DESTINATION_BUCKET: is required"),
        (("a",), {"S3_DESTINATION_BUCKET": "no-such-bucket"}, "there is no bucket no-such-bucket"),
        (("a",), {"SQS_SOURCE_QUEUE": "no-such-queue"}, "no-such-queue"),
    ],
)
def test_what_is_wrong_is_said(scene: Scene, arguments: tuple[str, ...], settings: dict[str, str], told: str) -> None:
    ended = status(scene, *arguments, **settings)

    assert (ended.returncode, ended.stdout) == (2, "")
    assert told in ended.stderr
