"""`archiver send` to a queue with a worker behind it, and without one."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from processes.archiver_process import run_command
from processes.worker_env import WorkerEnv

from archiver.cli.answer import print_answer
from archiver.cli.console import CommandError
from archiver.cli.send import SendOperation
from archiver.settings import load_environment

from .cli_process import CliProcess


def send(worker_env: WorkerEnv, *arguments: str, **settings: str) -> tuple[int, str, str]:
    ended = run_command("send", *arguments, env=worker_env.settings(**settings))
    return ended.returncode, ended.stdout, ended.stderr


def body(worker_env: WorkerEnv) -> dict[str, Any]:
    (message,) = worker_env.aws.all_messages(worker_env.source)
    return dict(json.loads(message["Body"]))


def test_options_become_a_message_on_the_source_queue(worker_env: WorkerEnv) -> None:
    code, output, errors = send(
        worker_env,
        "--file",
        "a.jpg=album",
        "--file",
        "b.jpg",
        "--meta",
        "user=42",
        "--job-id",
        "j",
        "--callback-url",
        "https://hooks.example.com/done",
    )

    assert (code, errors) == (0, "")
    assert output.startswith(f"sent 2 files to {worker_env.source}: message ")
    assert output.endswith(", job j\n")
    assert body(worker_env) == {
        "files": [{"source": "a.jpg", "destination": "album"}, {"source": "b.jpg"}],
        "job_id": "j",
        "metadata": {"user": "42"},
        "callback_url": "https://hooks.example.com/done",
    }


def test_standard_input_is_read_and_json_is_answered(worker_env: WorkerEnv) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "archiver", "send", "-", "--json"],
        env=worker_env.settings(),
        input='{"files": [{"source": "a.jpg"}]}',
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    told = json.loads(ended.stdout)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (told["job_id"], told["queue"]) == (None, worker_env.source)
    assert worker_env.aws.all_messages(worker_env.source)[0]["MessageId"] == told["message_id"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--file", "x.jpg=../../x.jpg"], "name_unsafe"),
        (["--file", "s3://"], "invalid_request"),
        (["--file", "s3://bucket"], "invalid_request"),
        (["--file", "a.jpg=x/y.jpg", "--file", "b.jpg=x/y.jpg", "--on-duplicate", "fail"], "name_conflict"),
        (["--file", "s3://elsewhere/a.jpg"], "source_not_allowed"),
    ],
)
def test_a_request_that_can_never_work_is_not_sent(worker_env: WorkerEnv, arguments: list[str], code: str) -> None:
    ended, output, errors = send(worker_env, *arguments)

    assert (ended, output) == (2, "")
    assert errors.startswith(f"{code}: $.files[")
    assert errors.endswith("nothing was sent; the worker would reject this request\n")
    assert worker_env.queue_depth(worker_env.source) == 0


def test_who_sends_need_not_know_the_settings_of_the_worker(worker_env: WorkerEnv) -> None:
    code, _, errors = send(
        worker_env, "--file", "a.jpg", S3_SOURCE_BUCKET="", S3_ALLOWED_SOURCES="", S3_DESTINATION_BUCKET=""
    )

    assert (code, errors) == (0, "")


def test_a_request_that_is_none_is_not_sent(worker_env: WorkerEnv) -> None:
    code, output, errors = send(worker_env, "--file", "a", "--on-missing", "ignore")

    assert (code, output) == (2, "")
    assert errors.startswith("the request: $.on_missing should be 'fail' or 'skip'")
    assert worker_env.queue_depth(worker_env.source) == 0


def test_only_the_queue_is_needed(worker_env: WorkerEnv) -> None:
    settings = dict.fromkeys(("SQS_SOURCE_QUEUE", "S3_DESTINATION_BUCKET", "SQS_DESTINATION_QUEUE"), "")

    assert send(worker_env, "--file", "a", **settings) == (
        2,
        "",
        "SQS_SOURCE_QUEUE: is required (queue to read: a name, URL or ARN)\n",
    )
    assert send(worker_env, "--file", "a", "--queue", worker_env.source, **settings)[0] == 0


def test_a_fifo_queue_takes_requests_too(emulated: Any) -> None:
    with WorkerEnv(emulated, fifo=True) as worker_env:
        assert send(worker_env, "--file", "a.jpg")[0] == 0
        assert body(worker_env) == {"files": [{"source": "a.jpg"}]}


@pytest.mark.parametrize("queue", ["progress", "answers"])
def test_wait_ends_with_the_link_alone_on_standard_output(worker_env: WorkerEnv, queue: str) -> None:
    progress = worker_env.aws.queue() if queue == "progress" else ""
    worker_env.put("a.jpg")
    worker_env.worker(PROGRESS_QUEUE=progress)

    code, output, errors = send(worker_env, "--file", "a.jpg", "--wait", "--timeout", "50", PROGRESS_QUEUE=progress)

    assert code == 0
    assert output.startswith("https://archives.example/")
    assert output.endswith("/download.zip\n")
    assert "succeeded: 1 file, " in errors
    assert worker_env.queue_depth(progress or worker_env.answers) == 0  # its own events are taken
    assert worker_env.queue_depth(worker_env.answers) == (1 if progress else 0)


def test_a_ping_ends_with_what_a_worker_says_of_the_request(worker_env: WorkerEnv, tmp_path: Path) -> None:
    worker_env.worker(MAX_FILES="1")
    answers = []
    for count in (1, 2):
        ping = tmp_path / f"{count}.json"
        ping.write_text(json.dumps({"test": True, "files": [{"source": f"{number}.jpg"} for number in range(count)]}))
        answers.append(send(worker_env, str(ping), "--wait", "--timeout", "50"))

    (code, output, _), (refused, nothing, errors) = answers
    assert (code, output) == (0, "alive: a worker accepts the request\n")
    assert (refused, nothing) == (1, "")
    assert "too_large: the request names 2 files; MAX_FILES is 1" in errors
    listed = worker_env.aws.s3.list_objects_v2(Bucket=worker_env.archives)
    assert "Contents" not in listed


def test_create_builds_nothing_for_a_ping(worker_env: WorkerEnv, tmp_path: Path) -> None:
    ping = tmp_path / "ping.json"
    ping.write_text('{"test": true, "files": [{"source": "a.jpg"}]}')
    ended = run_command("create", str(ping), env=worker_env.settings())
    assert (ended.returncode, ended.stdout) == (2, "")
    assert 'the request is a ping ("test": true)' in ended.stderr


@pytest.mark.slow
def test_wait_as_json_prints_the_answer(worker_env: WorkerEnv) -> None:
    progress = worker_env.aws.queue()
    worker_env.put("a.jpg")
    worker_env.worker(PROGRESS_QUEUE=progress)

    code, output, _ = send(
        worker_env,
        "--file",
        "a.jpg",
        "--file",
        "b.jpg",
        "--on-missing",
        "skip",
        "--wait",
        "--json",
        PROGRESS_QUEUE=progress,
    )

    answer = json.loads(output)
    assert (code, answer["status"]) == (0, "partial")
    assert answer["missing"] == [{"source": "b.jpg", "code": "source_missing"}]
    assert answer["job_id"].startswith("send-")


@pytest.mark.parametrize("queue", ["progress", "failures"])
def test_wait_ends_with_the_reason_of_a_rejection(worker_env: WorkerEnv, queue: str) -> None:
    progress = worker_env.aws.queue() if queue == "progress" else ""
    worker_env.put("a.jpg")
    worker_env.worker(PROGRESS_QUEUE=progress)

    code, output, errors = send(
        worker_env, "--file", "a.jpg", "--file", "b.jpg", "--wait", "--timeout", "50", PROGRESS_QUEUE=progress
    )

    assert (code, output) == (1, "")
    assert "source_missing: 1 of 2 objects can't be read" in errors
    assert errors.count("b.jpg: source_missing") == 1
    assert "no such key or bucket" in errors


def test_each_missing_object_is_told_once_however_many_there_are() -> None:
    """The message names the first twenty."""
    names = [f"{n}.jpg" for n in range(25)]
    sources = [{"source": name, "code": "source_missing"} for name in names]
    message = (
        f"25 of 25 objects can't be read: {'; '.join(f'{name}: source_missing' for name in names[:20])}; and 5 more"
    )
    answer = {"status": "failed", "error": {"code": "source_missing", "message": message, "sources": sources}}

    with pytest.raises(CommandError) as raised:
        print_answer(answer, as_json=False)

    told = "\n".join(raised.value.sentences)
    assert raised.value.sentences[0] == "source_missing: 25 of 25 objects can't be read"
    assert [told.count(f" {name}: ") for name in names] == [1] * 25


@pytest.mark.slow
def test_what_others_are_told_is_left_to_them(worker_env: WorkerEnv) -> None:
    progress = worker_env.aws.queue()
    for job in ("other", None, "third"):
        worker_env.aws.sqs.send_message(
            QueueUrl=progress, MessageBody=json.dumps({"job_id": job, "status": "succeeded"})
        )
    worker_env.aws.sqs.send_message(QueueUrl=progress, MessageBody="no JSON")
    worker_env.put("a.jpg")
    worker_env.worker(PROGRESS_QUEUE=progress)

    assert send(worker_env, "--file", "a.jpg", "--wait", "--timeout", "50", PROGRESS_QUEUE=progress)[0] == 0
    assert worker_env.queue_depth(progress) == 4


def test_wait_without_a_queue_to_hear_from_sends_nothing(worker_env: WorkerEnv) -> None:
    code, _, errors = send(worker_env, "--file", "a.jpg", "--wait", SQS_FAILURE_QUEUE="")

    assert code == 2
    assert errors.startswith("--wait: no queue to receive the answer from; set PROGRESS_QUEUE")
    assert worker_env.queue_depth(worker_env.source) == 0


def test_no_answer_in_time_says_that_the_job_goes_on(worker_env: WorkerEnv) -> None:
    code, output, errors = send(worker_env, "--file", "a.jpg", "--wait", "--timeout", "1", "--job-id", "slow")

    assert (code, output) == (3, "")
    assert errors.endswith("no answer within 1 s; the job slow continues\n")
    assert worker_env.queue_depth(worker_env.source) == 1


def test_ctrl_c_ends_the_watching_and_not_the_job(worker_env: WorkerEnv) -> None:
    arguments = ["send", "--file", "a.jpg", "--wait", "--job-id", "slow"]
    with CliProcess(arguments, worker_env.settings(), terminal=100) as watching:
        watching.wait_for_text("job slow")
        watching.wait_for_text("waiting for a worker")
        watching.interrupt()
        code, output = watching.end()

    assert (code, output) == (130, "")
    assert watching.frames[-1] == "stopped waiting; the job slow continues"
    assert worker_env.queue_depth(worker_env.source) == 1


async def test_the_bar_says_what_a_worker_does_as_soon_as_it_tells() -> None:
    """Thousands of objects take a while to look at, with nothing planned yet."""
    files = [{"source": f"{number}.jpg"} for number in range(5000)]
    sending = SendOperation({"job_id": "j", "files": files}, load_environment({}), None, 1.0)
    said: list[str] = []

    class Told:
        async def poll(self, queue: str, mine: object) -> list[str]:
            said.append(sending.activity)
            status = "accepted" if len(said) == 1 else "succeeded"
            return [json.dumps({"job_id": "j", "status": status, "progress": {"files_planned": 0}})]

    await sending._poll_queue(Told(), "queue")

    assert said == ["waiting for a worker", "a worker is checking 5,000 objects"]
