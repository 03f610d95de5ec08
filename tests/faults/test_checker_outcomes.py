"""
The checker finds every bad history that was made up for promises 1 to 3, and finds nothing in the good ones.

A test bends a short tale at one place and names the promise that must be reported as broken.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from .checker import check
from .tale import CONTENT, JOB, WORLD, Tale, broken, good, zipped


def test_a_job_done_well_breaks_no_promise() -> None:
    assert check(good().evidence()) == []


def test_a_job_rejected_well_breaks_no_promise() -> None:
    tale = Tale()
    tale.received()
    tale.rejected()
    tale.deleted()
    assert check(tale.evidence(job=replace(JOB, members=None))) == []


def test_a_job_that_crashed_and_was_finished_by_another_worker_breaks_no_promise() -> None:
    tale = Tale()
    tale.received()
    tale.planned()
    tale.written()
    tale.now += 40
    tale.received(client="second")
    tale.answered(client="second")
    tale.answered(client="second")
    tale.deleted(client="second")
    assert check(tale.evidence()) == []


def test_a_job_that_is_still_waiting_breaks_no_promise() -> None:
    tale = Tale()
    tale.received()
    assert check(tale.evidence(waiting=1)) == []
    assert check(tale.evidence(dead=("m1",))) == []


def test_an_answer_is_not_asked_for_where_there_is_no_queue_for_it() -> None:
    tale = Tale()
    tale.received()
    tale.planned()
    tale.written()
    tale.deleted()
    assert check(tale.evidence(world=replace(WORLD, answer_queue=None))) == []


def test_sources_that_changed_may_end_a_job_either_way() -> None:
    tale = good()
    tale.rejected()
    assert check(tale.evidence(job=replace(JOB, changed=True))) == []


def bent(bend: Callable[[Tale], object]) -> Tale:
    tale = Tale()
    bend(tale)
    return tale


def deleted_unanswered(tale: Tale) -> None:
    tale.received()
    tale.planned()
    tale.written()
    tale.deleted()


def deleted_after_a_refused_answer(tale: Tale) -> None:
    tale.received()
    tale.planned()
    tale.written()
    tale.answered(done=False)
    tale.deleted()


def deleted_before_its_rejection(tale: Tale) -> None:
    tale.received()
    tale.deleted()
    tale.rejected()


def rejected_without_a_failure_answer(tale: Tale) -> None:
    tale.received()
    tale.rejected(failure=False)
    tale.deleted()


def deleted_someone_elses(tale: Tale) -> None:
    tale.received()
    tale.planned()
    tale.written()
    tale.answered()
    tale.deleted()
    tale.deleted().facts["message"] = "m2"


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
def test_1_a_message_deleted_before_its_outcome_is_found(bend: Callable[[Tale], object]) -> None:
    assert "deleted_only_after_its_outcome" in broken(bent(bend).evidence())


def test_1_a_lost_message_is_found() -> None:
    tale = Tale()
    tale.received()
    assert broken(tale.evidence(waiting=0)) == {"deleted_only_after_its_outcome"}


def test_1_a_message_that_came_back_from_the_dead_is_found() -> None:
    assert broken(good().evidence(waiting=1)) == {"deleted_only_after_its_outcome"}


def test_2_both_outcomes_of_one_job_are_found() -> None:
    tale = good()
    tale.rejected()
    assert broken(tale.evidence()) == {"never_both_outcomes"}


def test_2_the_success_of_a_job_that_must_be_rejected_is_found() -> None:
    assert "never_both_outcomes" in broken(good().evidence(job=replace(JOB, members=None)))


@pytest.mark.parametrize(
    "changes", [{"key": "other.zip"}, {"bucket": "photos"}, {"size": 7}, {"crc32": "00000000"}, {"files": 2}], ids=str
)
def test_3_an_answer_that_says_something_wrong_of_its_archive_is_found(changes: dict[str, Any]) -> None:
    tale = Tale()
    tale.received()
    tale.planned()
    tale.written()
    tale.answered(changes=changes)
    tale.deleted()
    assert "announced_archives_are_right" in broken(tale.evidence())


@pytest.mark.parametrize(
    "body",
    [
        zipped(one_jpg=CONTENT[:-1]),
        zipped(one_jpg=b"another photo, planned late"),
        zipped(two_jpg=CONTENT),
        zipped(one_jpg=CONTENT, two_jpg=b""),
        zipped(),
    ],
    ids=["cut", "not the planned version", "other name", "one too many", "empty"],
)
def test_3_an_archive_of_other_content_is_found(body: bytes) -> None:
    tale = Tale()
    tale.received()
    tale.planned()
    tale.written(body)
    tale.answered(body)
    tale.deleted()
    assert broken(tale.evidence()) == {"announced_archives_are_right"}


def test_3_an_archive_of_a_version_that_was_planned_only_by_someone_else_is_found() -> None:
    tale = Tale()
    tale.received()
    tale.planned('"v2"')
    tale.planned(client="second")
    tale.written()
    tale.answered()
    tale.deleted()
    assert broken(tale.evidence()) == {"announced_archives_are_right"}


def test_3_an_archive_that_is_not_there_is_found() -> None:
    tale = good()
    tale.history.sightings.clear()
    assert broken(tale.evidence()) == {"announced_archives_are_right"}


def test_3_two_different_ids_for_one_outcome_are_found() -> None:
    tale = good()
    again = tale.answered()
    again.facts["body"] = again.facts["body"].replace("n1", "n2")
    assert "announced_archives_are_right" in broken(tale.evidence())


def test_3_an_answer_that_is_nobodys_is_found() -> None:
    tale = good()
    tale.told("out", "not even JSON", token="t2")
    assert broken(tale.evidence()) == {"announced_archives_are_right"}


def test_3_a_failure_told_to_consumers_of_successes_is_found() -> None:
    tale = good()
    tale.told("out", '{"status": "failed"}')
    assert "announced_archives_are_right" in broken(tale.evidence())
