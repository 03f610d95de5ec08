"""
The checker reports every invalid synthetic history for promises 1 to 3, and nothing for valid ones.

Each test changes one step of a short history and names the promise that must be reported as broken.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from .checker import check
from .synthetic_history import CONTENT, JOB, WORLD, HistoryBuilder, make_zip, valid_history, violations


def test_a_completed_job_breaks_no_promise() -> None:
    assert check(valid_history().observations()) == []


def test_a_rejected_job_breaks_no_promise() -> None:
    builder = HistoryBuilder()
    builder.received()
    builder.rejected()
    builder.deleted()
    assert check(builder.observations(job=replace(JOB, members=None))) == []


def test_a_job_completed_by_another_worker_after_a_crash_breaks_no_promise() -> None:
    builder = HistoryBuilder()
    builder.received()
    builder.planned()
    builder.written()
    builder.now += 40
    builder.received(client="second")
    builder.answered(client="second")
    builder.answered(client="second")
    builder.deleted(client="second")
    assert check(builder.observations()) == []


def test_a_waiting_job_breaks_no_promise() -> None:
    builder = HistoryBuilder()
    builder.received()
    assert check(builder.observations(waiting=1)) == []
    assert check(builder.observations(dead=("m1",))) == []


def test_no_answer_is_required_without_an_answer_queue() -> None:
    builder = HistoryBuilder()
    builder.received()
    builder.planned()
    builder.written()
    builder.deleted()
    assert check(builder.observations(resources=replace(WORLD, answer_queue=None))) == []


def test_a_job_whose_sources_changed_may_both_succeed_and_fail() -> None:
    builder = valid_history()
    builder.rejected()
    assert check(builder.observations(job=replace(JOB, changed=True))) == []


def recorded(record: Callable[[HistoryBuilder], object]) -> HistoryBuilder:
    builder = HistoryBuilder()
    record(builder)
    return builder


def deleted_without_an_answer(builder: HistoryBuilder) -> None:
    builder.received()
    builder.planned()
    builder.written()
    builder.deleted()


def deleted_after_a_failed_answer(builder: HistoryBuilder) -> None:
    builder.received()
    builder.planned()
    builder.written()
    builder.answered(done=False)
    builder.deleted()


def deleted_before_its_rejection(builder: HistoryBuilder) -> None:
    builder.received()
    builder.deleted()
    builder.rejected()


def rejected_without_a_failure_answer(builder: HistoryBuilder) -> None:
    builder.received()
    builder.rejected(failure=False)
    builder.deleted()


def deleted_another_message(builder: HistoryBuilder) -> None:
    builder.received()
    builder.planned()
    builder.written()
    builder.answered()
    builder.deleted()
    builder.deleted().facts["message"] = "m2"


@pytest.mark.parametrize(
    "record",
    [
        deleted_without_an_answer,
        deleted_after_a_failed_answer,
        deleted_before_its_rejection,
        rejected_without_a_failure_answer,
        deleted_another_message,
    ],
)
def test_1_a_message_deleted_before_its_outcome_is_reported(record: Callable[[HistoryBuilder], object]) -> None:
    assert "deleted_only_after_its_outcome" in violations(recorded(record).observations())


def test_1_a_lost_message_is_reported() -> None:
    builder = HistoryBuilder()
    builder.received()
    assert violations(builder.observations(waiting=0)) == {"deleted_only_after_its_outcome"}


def test_1_a_deleted_message_that_is_still_in_the_queue_is_reported() -> None:
    assert violations(valid_history().observations(waiting=1)) == {"deleted_only_after_its_outcome"}


def test_2_both_outcomes_of_one_job_are_reported() -> None:
    builder = valid_history()
    builder.rejected()
    assert violations(builder.observations()) == {"never_both_outcomes"}


def test_2_the_success_of_a_job_that_must_be_rejected_is_reported() -> None:
    assert "never_both_outcomes" in violations(valid_history().observations(job=replace(JOB, members=None)))


@pytest.mark.parametrize(
    "changes", [{"key": "other.zip"}, {"bucket": "photos"}, {"size": 7}, {"crc32": "00000000"}, {"files": 2}], ids=str
)
def test_3_an_answer_with_wrong_archive_details_is_reported(changes: dict[str, Any]) -> None:
    builder = HistoryBuilder()
    builder.received()
    builder.planned()
    builder.written()
    builder.answered(changes=changes)
    builder.deleted()
    assert "announced_archives_are_right" in violations(builder.observations())


@pytest.mark.parametrize(
    "body",
    [
        make_zip(one_jpg=CONTENT[:-1]),
        make_zip(one_jpg=b"another photo, planned late"),
        make_zip(two_jpg=CONTENT),
        make_zip(one_jpg=CONTENT, two_jpg=b""),
        make_zip(),
    ],
    ids=["cut", "not the planned version", "other name", "extra member", "empty"],
)
def test_3_an_archive_with_other_content_is_reported(body: bytes) -> None:
    builder = HistoryBuilder()
    builder.received()
    builder.planned()
    builder.written(body)
    builder.answered(body)
    builder.deleted()
    assert violations(builder.observations()) == {"announced_archives_are_right"}


def test_3_an_archive_of_a_version_planned_only_by_another_worker_is_reported() -> None:
    builder = HistoryBuilder()
    builder.received()
    builder.planned('"v2"')
    builder.planned(client="second")
    builder.written()
    builder.answered()
    builder.deleted()
    assert violations(builder.observations()) == {"announced_archives_are_right"}


def read_and_answered(**asked: str) -> HistoryBuilder:
    builder = HistoryBuilder()
    builder.received()
    builder.planned(op="GetObject", **asked)
    builder.written()
    builder.answered()
    builder.deleted()
    return builder


def test_an_archive_of_versions_read_as_a_whole_without_a_plan_breaks_no_promise() -> None:
    assert check(read_and_answered().observations()) == []


@pytest.mark.parametrize("asked", [{"range": "bytes=0-"}, {"if_match": '"v1"'}], ids=str)
def test_3_an_archive_of_a_version_that_was_read_by_range_or_etag_but_never_planned_is_reported(
    asked: dict[str, str],
) -> None:
    assert violations(read_and_answered(**asked).observations()) == {"announced_archives_are_right"}


def test_3_an_answer_without_an_archive_is_reported() -> None:
    builder = valid_history()
    builder.history.observed_archives.clear()
    assert violations(builder.observations()) == {"announced_archives_are_right"}


def test_3_two_notification_ids_for_one_outcome_are_reported() -> None:
    builder = valid_history()
    again = builder.answered()
    again.facts["body"] = again.facts["body"].replace("n1", "n2")
    assert "announced_archives_are_right" in violations(builder.observations())


def test_3_an_answer_that_belongs_to_no_job_is_reported() -> None:
    builder = valid_history()
    builder.sent("out", "not even JSON", token="t2")
    assert violations(builder.observations()) == {"announced_archives_are_right"}


def test_3_a_failure_answer_in_the_answer_queue_is_reported() -> None:
    builder = valid_history()
    builder.sent("out", '{"status": "failed"}')
    assert "announced_archives_are_right" in violations(builder.observations())
