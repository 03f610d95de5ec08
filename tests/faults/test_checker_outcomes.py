"""
The checker finds every bad history that was made up for promises 1 to 3, and finds nothing in the good ones.

A test bends a short tale at one place and names the promise that must be reported as broken.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from .checker import check
from .synthetic_history import CONTENT, JOB, WORLD, HistoryBuilder, make_zip, valid_history, violations


def test_a_job_done_well_breaks_no_promise() -> None:
    assert check(valid_history().observations()) == []


def test_a_job_rejected_well_breaks_no_promise() -> None:
    builder = HistoryBuilder()
    builder.received()
    builder.rejected()
    builder.deleted()
    assert check(builder.observations(job=replace(JOB, members=None))) == []


def test_a_job_that_crashed_and_was_finished_by_another_worker_breaks_no_promise() -> None:
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


def test_a_job_that_is_still_waiting_breaks_no_promise() -> None:
    builder = HistoryBuilder()
    builder.received()
    assert check(builder.observations(waiting=1)) == []
    assert check(builder.observations(dead=("m1",))) == []


def test_an_answer_is_not_asked_for_where_there_is_no_queue_for_it() -> None:
    builder = HistoryBuilder()
    builder.received()
    builder.planned()
    builder.written()
    builder.deleted()
    assert check(builder.observations(resources=replace(WORLD, answer_queue=None))) == []


def test_sources_that_changed_may_end_a_job_either_way() -> None:
    builder = valid_history()
    builder.rejected()
    assert check(builder.observations(job=replace(JOB, changed=True))) == []


def mutated(bend: Callable[[HistoryBuilder], object]) -> HistoryBuilder:
    builder = HistoryBuilder()
    bend(builder)
    return builder


def deleted_unanswered(builder: HistoryBuilder) -> None:
    builder.received()
    builder.planned()
    builder.written()
    builder.deleted()


def deleted_after_a_refused_answer(builder: HistoryBuilder) -> None:
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


def deleted_someone_elses(builder: HistoryBuilder) -> None:
    builder.received()
    builder.planned()
    builder.written()
    builder.answered()
    builder.deleted()
    builder.deleted().facts["message"] = "m2"


@pytest.mark.parametrize(
    "bend",
    [
        deleted_unanswered,
        deleted_after_a_refused_answer,
        deleted_before_its_rejection,
        rejected_without_a_failure_answer,
        deleted_someone_elses,
    ],
)
def test_1_a_message_deleted_before_its_outcome_is_found(bend: Callable[[HistoryBuilder], object]) -> None:
    assert "deleted_only_after_its_outcome" in violations(mutated(bend).observations())


def test_1_a_lost_message_is_found() -> None:
    builder = HistoryBuilder()
    builder.received()
    assert violations(builder.observations(waiting=0)) == {"deleted_only_after_its_outcome"}


def test_1_a_message_that_came_back_from_the_dead_is_found() -> None:
    assert violations(valid_history().observations(waiting=1)) == {"deleted_only_after_its_outcome"}


def test_2_both_outcomes_of_one_job_are_found() -> None:
    builder = valid_history()
    builder.rejected()
    assert violations(builder.observations()) == {"never_both_outcomes"}


def test_2_the_success_of_a_job_that_must_be_rejected_is_found() -> None:
    assert "never_both_outcomes" in violations(valid_history().observations(job=replace(JOB, members=None)))


@pytest.mark.parametrize(
    "changes", [{"key": "other.zip"}, {"bucket": "photos"}, {"size": 7}, {"crc32": "00000000"}, {"files": 2}], ids=str
)
def test_3_an_answer_that_says_something_wrong_of_its_archive_is_found(changes: dict[str, Any]) -> None:
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
    ids=["cut", "not the planned version", "other name", "one too many", "empty"],
)
def test_3_an_archive_of_other_content_is_found(body: bytes) -> None:
    builder = HistoryBuilder()
    builder.received()
    builder.planned()
    builder.written(body)
    builder.answered(body)
    builder.deleted()
    assert violations(builder.observations()) == {"announced_archives_are_right"}


def test_3_an_archive_of_a_version_that_was_planned_only_by_someone_else_is_found() -> None:
    builder = HistoryBuilder()
    builder.received()
    builder.planned('"v2"')
    builder.planned(client="second")
    builder.written()
    builder.answered()
    builder.deleted()
    assert violations(builder.observations()) == {"announced_archives_are_right"}


def test_3_an_archive_that_is_not_there_is_found() -> None:
    builder = valid_history()
    builder.history.observed_archives.clear()
    assert violations(builder.observations()) == {"announced_archives_are_right"}


def test_3_two_different_ids_for_one_outcome_are_found() -> None:
    builder = valid_history()
    again = builder.answered()
    again.facts["body"] = again.facts["body"].replace("n1", "n2")
    assert "announced_archives_are_right" in violations(builder.observations())


def test_3_an_answer_that_is_nobodys_is_found() -> None:
    builder = valid_history()
    builder.sent("out", "not even JSON", token="t2")
    assert violations(builder.observations()) == {"announced_archives_are_right"}


def test_3_a_failure_told_to_consumers_of_successes_is_found() -> None:
    builder = valid_history()
    builder.sent("out", '{"status": "failed"}')
    assert "announced_archives_are_right" in violations(builder.observations())
