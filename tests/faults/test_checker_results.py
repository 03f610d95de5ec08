"""The checker reports what is wrong with the result and the answer of a command, and nothing for a valid history."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from .checker import check
from .history import ObservedArchive
from .observations import Job
from .synthetic_history import HistoryBuilder, violations

KEY, URI = "ab12/result.json", "s3://photos/made/x"
JOB = Job("m1", "t1", '{"command": {...}}', KEY, {URI: b"four"}, command=True)
OUTPUT = {"destination": URI, "size": 4, "etag": "e"}
RESULT: dict[str, Any] = {"version": 1, "exit_code": 0, "inputs": 1, "outputs": [OUTPUT]}


class CommandHistory(HistoryBuilder):
    """Of a command with one output."""

    def stored(self) -> None:
        self.call("PutObject", call={"bucket": "photos", "key": "made/x"})

    def remembered(self, body: bytes = json.dumps(RESULT).encode()) -> None:
        write = self.call("PutObject", call={"bucket": "archives", "key": KEY})
        self.history.observed_archives.append(ObservedArchive(write.began + 0.15, KEY, body))

    def told(self, exit_code: int = 0, **changes: Any) -> None:
        fields = {"inputs": 1, "outputs": [OUTPUT], "command": {"exit_code": exit_code}, **changes}
        self.sent("out", json.dumps({"status": "succeeded", "notification_id": "n1", **fields}))


def findings(*steps: Callable[[CommandHistory], object]) -> set[str]:
    builder = CommandHistory()
    builder.received()
    for step in steps:
        step(builder)
    builder.deleted()
    return violations(builder.observations(job=JOB))


STORED, REMEMBERED, TOLD = CommandHistory.stored, CommandHistory.remembered, CommandHistory.told


def test_a_completed_command_breaks_no_promise() -> None:
    builder = CommandHistory()
    builder.received()
    for step in (STORED, REMEMBERED, TOLD):
        step(builder)
    builder.deleted()

    assert check(builder.observations(job=JOB)) == []


@pytest.mark.parametrize(
    "told",
    [{"exit_code": 1}, {"inputs": 2}, {"outputs": []}, {"outputs": [{**OUTPUT, "size": 5}]}],
    ids=str,
)
def test_an_answer_that_differs_from_the_result_is_reported(told: dict[str, Any]) -> None:
    assert findings(STORED, REMEMBERED, lambda builder: builder.told(**told)) == {"announced_archives_are_right"}


def test_a_result_that_misses_an_output_is_reported() -> None:
    body = json.dumps({**RESULT, "outputs": []}).encode()

    assert findings(STORED, lambda builder: builder.remembered(body), lambda builder: builder.told(outputs=[])) == {
        "announced_archives_are_right"
    }


def test_an_answer_before_the_result_is_reported() -> None:
    assert findings(STORED, TOLD, REMEMBERED) == {"announced_archives_are_right", "archive_then_answer_then_delete"}


@pytest.mark.parametrize("body", [b'{"exit_code": 0', b"[]"])
def test_a_result_that_is_cut_is_reported(body: bytes) -> None:
    found = findings(STORED, lambda builder: builder.remembered(body), TOLD)

    assert found == {"announced_archives_are_right", "archives_are_absent_or_whole"}


def test_a_result_that_is_overwritten_is_reported() -> None:
    other = json.dumps({**RESULT, "seconds": 2}).encode()

    assert findings(STORED, REMEMBERED, TOLD, lambda builder: builder.remembered(other)) == {
        "archives_are_absent_or_whole"
    }


def test_an_output_that_is_stored_after_the_lease_is_reported() -> None:
    def late(builder: CommandHistory) -> None:
        builder.now += 40
        builder.stored()
        builder.received()

    assert findings(late, REMEMBERED, TOLD) == {"nothing_after_the_lease"}
