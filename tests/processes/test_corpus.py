"""Bodies that no archive can be made of, row by row: each is a dead letter with its code, and the worker lives on."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from emulator import EmulatedAws

from .worker_env import WorkerEnv

MOST = 1024 * 1024  # bytes in a message
ROW = "Row"  # the attribute that names a row, wherever its message goes


def asking(*files: dict[str, Any] | str, **request: Any) -> str:
    """A request for *files*: each as it stands, or a source."""
    return json.dumps({"files": [{"source": f} if isinstance(f, str) else f for f in files], **request})


def placed(destination: str) -> str:
    return asking({"source": "good.jpg", "destination": destination})


NOT_JSON = {
    "words": "make me an archive, please",
    "cut short": '{"files": [{"source": "good.jpg"}',
    "two values": '{"files": [{"source": "good.jpg"}]} {}',
    "NaN": '{"files": [{"source": "good.jpg"}], "metadata": {"n": NaN}}',
    "Infinity": '{"files": [{"source": "good.jpg"}], "metadata": {"n": -Infinity}}',
    "1e999": '{"files": [{"source": "good.jpg"}], "metadata": {"n": 1e999}}',
    "number of 5000 digits": f'{{"files": [{{"source": "good.jpg"}}], "metadata": {{"n": {"9" * 5000}}}}}',
    "key twice": '{"files": [{"source": "good.jpg", "source": "other.jpg"}]}',
    "metadata of 200 levels": asking("good.jpg", metadata={"n": json.loads("[" * 200 + "]" * 200)}),
    "a million [": "[" * 1_000_000,
    "100 KiB of {": '{"a":' * 20_000,
}
NO_REQUEST = {
    "empty object": "{}",
    "null": "null",
    "list": "[]",
    "number": "4711",
    "text": '"good.jpg"',
    "files is text": '{"files": "good.jpg"}',
    "files is null": '{"files": null}',
    "files is an object": '{"files": {"source": "good.jpg"}}',
    "files is empty": '{"files": []}',
    "file is text": '{"files": ["good.jpg"]}',
    "file is empty": '{"files": [{}]}',
    "source is a number": asking({"source": 1}),
    "source is null": asking({"source": None}),
    "source is empty": asking(""),
    "source is a bucket": asking("s3://photos"),
    "source is a bucket and a slash": asking("s3://photos/"),
    "source is in no possible bucket": asking("s3://no such bucket/a.jpg"),
    "source is longer than any key": asking("k" * 1025),
    "source is half a surrogate pair": '{"files": [{"source": "\\ud800.jpg"}]}',
    "source ends in a slash": asking("folder/"),
    "destination is a list": asking({"source": "good.jpg", "destination": ["a"]}),
    "destination and name": asking({"source": "good.jpg", "destination": "a", "name": "b.jpg"}),
    "metadata is a list": asking("good.jpg", metadata=[1]),
    "job_id is a number": asking("good.jpg", job_id=7),
    "job_id is empty": asking("good.jpg", job_id=""),
    "job_id has 129 characters": asking("good.jpg", job_id="j" * 129),
    "job_id is half a surrogate pair": '{"files": [{"source": "good.jpg"}], "job_id": "\\udfff"}',
    "on_missing is unknown": asking("good.jpg", on_missing="ignore"),
    "on_duplicate is unknown": asking("good.jpg", on_duplicate="overwrite"),
    "compression is unknown": asking("good.jpg", compression="zstd"),
}
UNSAFE = {
    "up and out": placed("../../etc/x.jpg"),
    "up and out by backslash": placed("..\\x.jpg"),
    "up in the middle": placed("a/../../x.jpg"),
    "drive": placed("C:/x.jpg"),
    "drive without slash": placed("c:x.jpg"),
    "UNC": placed("\\\\server\\share\\x.jpg"),
    "device": placed("\\\\.\\PHYSICALDRIVE0\\x.jpg"),
    "NUL": placed("a\0b.jpg"),
    "half a surrogate pair": '{"files": [{"source": "good.jpg", "destination": "\\udc80/x.jpg"}]}',
    "name up and out": asking({"source": "good.jpg", "name": "../x.jpg"}),
}
SOURCES = {
    ("source_not_allowed", "other bucket"): asking("s3://somebody-elses/a.jpg"),
    ("name_conflict", "same name"): asking("good.jpg", "more/good.jpg", on_duplicate="fail"),
    ("name_conflict", "same name but for case"): asking("good.jpg", "more/GOOD.jpg", on_duplicate="fail"),
    ("name_conflict", "file and folder"): asking(
        {"source": "good.jpg", "name": "a"}, {"source": "more/good.jpg", "name": "a/b.jpg"}, on_duplicate="fail"
    ),
    ("source_missing", "no such key"): asking("good.jpg", "never-was.jpg"),
    ("source_missing", "no such key, nothing left"): asking("never-was.jpg", on_missing="skip"),
    ("source_archived", "in Glacier"): asking("good.jpg", "asleep.jpg"),
    ("source_archived", "in deep archive"): asking("deep.jpg"),
}
CORPUS = {
    **{("invalid_json", name): body for name, body in NOT_JSON.items()},
    **{("invalid_request", name): body for name, body in NO_REQUEST.items()},
    **{("name_unsafe", name): body for name, body in UNSAFE.items()},
    **SOURCES,
}


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What became of the rows: *dead* letters and failure answers, each by its row."""

    worker_env: WorkerEnv
    dead: dict[str, dict[str, Any]]
    failures: dict[str, dict[str, Any]]


def row(code: str, name: str) -> str:
    return f"{code}: {name}"


@pytest.fixture(scope="module")
def verdicts(emulated: EmulatedAws) -> Iterator[Verdicts]:
    """One worker gets all the rows."""
    with WorkerEnv(emulated) as worker_env:
        for key in ("good.jpg", "more/good.jpg", "more/GOOD.jpg"):
            worker_env.put(key)
        worker_env.put("asleep.jpg", StorageClass="GLACIER")
        worker_env.put("deep.jpg", StorageClass="DEEP_ARCHIVE")
        worker_env.worker(MAX_CONCURRENT_JOBS="8")
        for (code, name), body in CORPUS.items():
            worker_env.send(body, {ROW: row(code, name)})
        worker_env.wait_until_empty()
        dead, failures = (
            {
                message["MessageAttributes"][ROW]["StringValue"]: message
                for message in worker_env.receive(queue, len(CORPUS))
            }
            for queue in (worker_env.dead, worker_env.failures)
        )
        yield Verdicts(worker_env, dead, failures)


@pytest.mark.parametrize(("code", "name"), CORPUS, ids=[row(*key) for key in CORPUS])
def test_bad_body_is_a_dead_letter_as_it_came_with_its_code(verdicts: Verdicts, code: str, name: str) -> None:
    letter = verdicts.dead[row(code, name)]
    told = letter["MessageAttributes"]

    assert letter["Body"] == CORPUS[code, name]
    assert told["ErrorCode"]["StringValue"] == code
    assert 1 <= len(told["ErrorMessage"]["StringValue"].encode()) <= 1024


@pytest.mark.parametrize(("code", "name"), CORPUS, ids=[row(*key) for key in CORPUS])
def test_bad_body_gets_a_failure_answer_that_says_why(verdicts: Verdicts, code: str, name: str) -> None:
    answer = json.loads(verdicts.failures[row(code, name)]["Body"])

    assert set(answer) == {"metadata", "job_id", "message_id", "status", "error"}
    assert answer["status"] == "failed"
    assert answer["error"]["code"] == code
    assert answer["error"]["message"]


def test_body_as_large_as_a_message_can_be_is_a_dead_letter_without_room_for_the_reason(verdicts: Verdicts) -> None:
    """The body has priority over all attributes; the failure answer says why."""
    worker_env = verdicts.worker_env
    worker_env.send("[" * MOST)

    (letter,), (failure,) = worker_env.receive(worker_env.dead), worker_env.receive(worker_env.failures)

    assert letter["Body"] == "[" * MOST
    assert "MessageAttributes" not in letter
    assert json.loads(failure["Body"])["error"]["code"] == "invalid_json"


def test_after_all_of_them_the_same_worker_does_a_good_job(verdicts: Verdicts) -> None:
    worker_env = verdicts.worker_env
    assert worker_env.archive_keys() == []
    assert worker_env.queue_depth(worker_env.answers) == 0

    worker_env.send_request("good.jpg")
    answer = worker_env.answer()

    assert worker_env.archive(answer["archive"]["key"]) == {"good.jpg": b"a photo"}
    assert not list(worker_env.workers[0].events("worker.defect"))
    assert not list(worker_env.workers[0].events("job.defect"))
