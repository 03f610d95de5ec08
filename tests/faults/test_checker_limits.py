"""
The checker reports every invalid synthetic history for promises 4 to 10, and nothing for valid ones.

Each test changes one step of a short history and names the promise that must be reported as broken.
"""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from .checker import PROMISES, check
from .history import ObservedArchive
from .synthetic_history import ARCHIVE, CONTENT, JOB, KEY, HistoryBuilder, make_zip, valid_history, violations
from .worker_process import ProcessResources, exceeds_baseline


def truncated(archive: bytes) -> bytes:
    return archive[:-30]


def with_leading_bytes(archive: bytes) -> bytes:
    return b"junk" + archive


def with_trailing_bytes(archive: bytes) -> bytes:
    return archive + b"junk"


def with_other_content(archive: bytes) -> bytes:
    return archive.replace(CONTENT, CONTENT.swapcase())


def with_another_local_name(archive: bytes) -> bytes:
    return archive.replace(b"one.jpg", b"two.jpg", 1)


@pytest.mark.parametrize(
    "damage",
    [truncated, with_leading_bytes, with_trailing_bytes, with_other_content, with_another_local_name],
)
def test_4_an_incomplete_or_invalid_archive_is_reported_at_any_time(damage: Callable[[bytes], bytes]) -> None:
    builder = valid_history()
    builder.history.observed_archives.append(ObservedArchive(99.0, "cd34/download.zip", damage(ARCHIVE)))
    assert violations(builder.observations()) == {"archives_are_absent_or_whole"}


def test_4_an_overwritten_archive_is_reported() -> None:
    builder = valid_history()
    builder.history.observed_archives.append(ObservedArchive(builder.now, KEY, make_zip(one_jpg=b"later")))
    assert violations(builder.observations()) == {"archives_are_absent_or_whole"}


def test_5_an_unfinished_upload_is_reported() -> None:
    assert violations(valid_history().observations(uploads=(KEY,))) == {"nothing_is_left"}


def test_5_a_receipt_without_its_archive_and_an_archive_without_its_receipt_are_reported() -> None:
    one, history = ("ab12/receipt-77.json.gz",), valid_history()
    assert violations(history.observations(receipts=one)) == {"nothing_is_left"}
    assert violations(history.observations(due=one)) == {"nothing_is_left"}
    assert violations(history.observations(receipts=one, due=one)) == set()


def test_6_an_archive_before_its_receipt_is_reported() -> None:
    builder = HistoryBuilder()
    builder.received()
    builder.planned()
    builder.written(sealed=False)
    builder.answered()
    builder.deleted()
    assert violations(builder.observations()) == {"archive_then_answer_then_delete"}


def test_6_an_answer_before_its_archive_is_reported() -> None:
    builder = HistoryBuilder()
    builder.received()
    builder.planned()
    builder.answered()
    builder.written()
    builder.deleted()
    assert "archive_then_answer_then_delete" in violations(builder.observations())


def test_6_an_answer_for_a_failed_write_is_reported() -> None:
    builder = HistoryBuilder()
    builder.received()
    builder.planned()
    builder.written(done=False)
    builder.answered()
    builder.deleted()
    assert "archive_then_answer_then_delete" in violations(builder.observations())


def test_6_an_answer_after_the_delete_is_reported() -> None:
    builder = HistoryBuilder()
    builder.received()
    builder.planned()
    builder.written()
    builder.deleted()
    builder.answered()
    assert "archive_then_answer_then_delete" in violations(builder.observations())


@pytest.mark.parametrize("late", ["written", "answered", "deleted"])
def test_7_a_step_after_lease_expiry_is_reported(late: str) -> None:
    builder = HistoryBuilder()
    builder.received()
    builder.planned()
    builder.renewed(5)
    for step in ("written", "answered", "deleted"):
        builder.now += 10 if step == late else 0
        getattr(builder, step)()
    assert violations(builder.observations()) == {"nothing_after_the_lease"}


def test_7_a_rejection_after_lease_expiry_is_reported() -> None:
    builder = HistoryBuilder()
    builder.received()
    builder.renewed(0)
    builder.rejected()
    builder.deleted()
    assert violations(builder.observations(job=replace(JOB, members=None))) == {"nothing_after_the_lease"}


def test_7_a_failed_renewal_does_not_extend_the_lease() -> None:
    builder = HistoryBuilder()
    builder.received()
    builder.planned()
    builder.now += 20
    builder.renewed(done=False)
    builder.now += 20
    builder.written()
    assert violations(builder.observations(waiting=1)) == {"nothing_after_the_lease"}


def test_7_the_lease_of_another_worker_does_not_count() -> None:
    builder = HistoryBuilder()
    builder.received()
    builder.planned(client="second")
    builder.written(client="second")
    assert violations(builder.observations(waiting=1)) == {"nothing_after_the_lease"}


def test_7_a_delete_with_a_replaced_receipt_is_reported() -> None:
    builder = HistoryBuilder()
    builder.received()
    builder.planned()
    builder.written()
    builder.now += 40
    builder.received("second-receipt")
    builder.answered()
    builder.deleted("second-receipt")
    assert check(builder.observations()) == []
    builder.deleted()
    assert violations(builder.observations()) == {"nothing_after_the_lease"}


def test_8_a_request_to_a_bucket_that_is_not_allowed_is_reported() -> None:
    builder = valid_history()
    builder.call("HeadObject", done=False, call={"bucket": "payroll", "key": "p/one.jpg"})
    assert violations(builder.observations()) == {"only_allowed_buckets"}


@pytest.mark.parametrize("logs", ["using hunter2-secret", "receipt=receipt-of-m1", "metadata: born in 1970"])
def test_9_a_secret_a_receipt_or_private_text_in_the_logs_is_reported(logs: str) -> None:
    assert violations(valid_history().observations(logs=logs)) == {"no_secret_gets_out"}


@pytest.mark.parametrize("error", ["denied for hunter2-secret", "can't parse: born in 1970"])
def test_9_a_secret_or_private_text_in_an_error_is_reported(error: str) -> None:
    builder = HistoryBuilder()
    builder.received()
    builder.rejected(error=error)
    builder.deleted()
    assert violations(builder.observations(job=replace(JOB, members=None))) == {"no_secret_gets_out"}


def test_9_a_secret_in_object_metadata_is_reported() -> None:
    builder = valid_history()
    target = {"bucket": "archives", "key": KEY}
    builder.call("CreateMultipartUpload", done=False, call=target, metadata={"token": "hunter2-secret"})
    assert violations(builder.observations()) == {"no_secret_gets_out"}


def test_9_request_metadata_in_answers_is_not_reported() -> None:
    builder = valid_history()
    (answer,) = builder.observations().successes(JOB)
    answer.facts["body"] = json.dumps(json.loads(answer.facts["body"]) | {"metadata": {"who": "born in 1970"}})
    assert check(builder.observations()) == []


def test_the_docstring_of_every_promise_begins_with_its_number() -> None:
    numbers = [(promise.__doc__ or "").partition(":")[0] for promise in PROMISES]
    assert numbers == [str(number) for number in range(1, 10)]


def test_10_leaked_threads_sockets_or_memory_are_reported() -> None:
    before = ProcessResources(threads=3, sockets=5, memory=1000)
    assert exceeds_baseline(before, replace(before, threads=2, sockets=5, memory=1100), memory=100) == []
    assert exceeds_baseline(before, replace(before, threads=4), memory=100) == ["threads grew from 3 to 4"]
    assert exceeds_baseline(before, replace(before, sockets=6), memory=100) == ["sockets grew from 5 to 6"]
    assert exceeds_baseline(before, replace(before, memory=1101), memory=100) == ["memory grew by 101 bytes"]
