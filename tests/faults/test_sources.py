"""Group C: missing, truncated, changed, corrupted or slow objects never lead to a wrong archive."""

from collections import Counter
from typing import Any

import pytest

from .archive import read_archive
from .body_faults import CloseWithoutNotify, Corrupt, Reset, Slice, StallBody, Truncate
from .observations import Source
from .rules import Action, EditHeader, FixedResponse, SideEffect, Status, is_ranged, is_whole
from .scenario import Scenario
from .scenario_config import MIB, content

LARGE = 2 * MIB  # read by range


def test_missing_objects_reject_the_job_and_are_all_listed(scenario: Scenario) -> None:
    """C1: nothing is written. `test_one_pass.py` has the same for archives of several parts."""
    scenario.put_objects(*[1000] * 12)
    missing = ["shoot/3.jpg", "shoot/7.jpg", "shoot/12.jpg"]
    for key in missing:
        scenario.direct.s3.delete_object(Bucket=scenario.sources, Key=key)
    job = scenario.send([{"source": f"shoot/{n}.jpg"} for n in range(1, 13)], None)
    scenario.worker()
    scenario.wait_deleted(job)
    error = scenario.failure(job)
    assert error["code"] == "source_missing"
    assert error["sources"] == [{"source": key, "code": "source_missing"} for key in missing]
    assert scenario.history.select("PutObject", "CreateMultipartUpload") == []
    scenario.finish()


def test_denied_and_missing_objects_are_reported_with_different_codes(scenario: Scenario) -> None:
    """C1: a HEAD response with status 403 has no error code. A GET of one byte returns it."""
    scenario.put_objects(1000, 1000)
    for op in ("HeadObject", "GetObject"):
        scenario.inject(Status(403, "AccessDenied"), op, key="shoot/2.jpg", times=None)
    job = scenario.send([{"source": "shoot/1.jpg"}, {"source": "shoot/2.jpg"}, {"source": "shoot/3.jpg"}], None)
    scenario.worker()
    scenario.wait_deleted(job)
    codes = {problem["source"]: problem["code"] for problem in scenario.failure(job)["sources"]}
    assert codes == {"shoot/2.jpg": "source_denied", "shoot/3.jpg": "source_missing"}
    scenario.finish()


def test_missing_objects_are_skipped_and_listed_in_the_archive_with_on_missing_skip(scenario: Scenario) -> None:
    """C1: the answer has status `partial`."""
    one, two = scenario.put_objects(1000, 1000)
    scenario.direct.s3.delete_object(Bucket=scenario.sources, Key=two.key)
    listed: dict[str, Source | bytes] = {"1.jpg": one, "_MISSING.txt": b"shoot/2.jpg\tsource_missing\n"}
    job = scenario.send([{"source": one.key}, {"source": two.key}], listed, on_missing="skip")
    scenario.worker()
    scenario.wait_deleted(job)
    (answer,) = scenario.answers(job)
    assert answer["status"] == "partial"
    assert answer["missing"] == [{"source": "shoot/2.jpg", "code": "source_missing"}]
    scenario.finish()


@pytest.mark.parametrize(
    "cut", [Truncate, *(pytest.param(cut, marks=pytest.mark.slow) for cut in (CloseWithoutNotify, Reset))]
)
def test_an_interrupted_body_is_resumed_at_the_byte_where_it_stopped(
    scenario: Scenario, cut: type[Truncate | CloseWithoutNotify | Reset]
) -> None:
    """C2: at the first byte, the second, in the middle and at the last. The second GET uses the same If-Match."""
    size = LARGE
    cuts = (0, 1, size // 2, size - 1)
    sources = scenario.put_objects(*[size] * len(cuts))
    for source, at in zip(sources, cuts, strict=True):
        scenario.inject(cut(at), "GetObject", key=source.key, when=is_ranged)
    job = scenario.send_request(sources)
    scenario.worker()
    scenario.wait_deleted(job)
    for source, at in zip(sources, cuts, strict=True):
        gets = [call for call in scenario.history.select("GetObject") if call.call.key == source.key and call.call.span]
        assert len({call.facts["if_match"] for call in gets}) == 1
        resumed = int(gets[1].facts["range"].removeprefix("bytes=").partition("-")[0])
        assert resumed <= at if cut is Reset else resumed == at  # a reset may discard the last bytes
    scenario.finish()


def test_an_object_replaced_between_head_and_get_is_planned_again(scenario: Scenario) -> None:
    """C3: the archive holds the new version. `on_missing: skip` asks by HEAD first."""
    (source,) = scenario.put_objects(100_000)
    scenario.inject(
        SideEffect(after_it=lambda: scenario.put(source.key, content(90_000, seed=77))), "HeadObject", key=source.key
    )
    job = scenario.changed(scenario.send_request([source], on_missing="skip"))
    scenario.worker()
    scenario.wait_deleted(job)
    assert [call.status for call in scenario.history.select("GetObject")][-2:] == [412, 200]
    assert read_archive(scenario.archive(job)) == {"album/1.jpg": content(90_000, seed=77)}
    scenario.finish()


@pytest.mark.parametrize(
    ("size", "on_missing"), [(100_000, "fail"), pytest.param(100_000, "skip", marks=pytest.mark.slow), (LARGE, "fail")]
)
def test_two_versions_of_an_object_replaced_during_a_read_are_never_mixed(
    scenario: Scenario, size: int, on_missing: str
) -> None:
    """C3: replaced between the first GET and the resumed one, by a version of the same size."""
    (source,) = scenario.put_objects(size)
    first: dict[str, Any] = {"op": "GetObject", "key": source.key}
    first |= {"when": is_ranged} if size == LARGE else {}
    scenario.inject(Truncate(50_000), **first)
    scenario.inject(SideEffect(after_it=lambda: scenario.put(source.key, content(size, seed=77))), **first)
    job = scenario.changed(scenario.send_request([source], on_missing=on_missing))
    scenario.worker()
    scenario.wait_deleted(job)
    assert read_archive(scenario.archive(job)) == {"album/1.jpg": content(size, seed=77)}
    scenario.finish()


@pytest.mark.slow
@pytest.mark.parametrize(("size", "on_missing"), [(1000, "skip"), (LARGE, "fail")])
def test_an_object_that_changes_on_every_attempt_rejects_the_job(
    scenario: Scenario, size: int, on_missing: str
) -> None:
    """C3: after each response that tells its size and ETag. The code is `source_changed`."""
    (source,) = scenario.put_objects(size)
    seeds = iter(range(100, 200))
    replace = SideEffect(after_it=lambda: scenario.put(source.key, content(size, seed=next(seeds))))
    for op in ("HeadObject", "GetObject"):
        scenario.inject(replace, op, key=source.key, times=None, when=is_whole)
    job = scenario.send([{"source": source.key}], None, on_missing=on_missing)
    scenario.worker()
    scenario.wait_deleted(job)
    assert scenario.failure(job)["code"] == "source_changed"
    scenario.finish()


SIZE = LARGE
WRONG_RESPONSES: dict[str, Action] = {
    "the range is ignored": FixedResponse(200, [("ETag", '"e"'), ("Content-Type", "image/jpeg")], bytes(SIZE - 1)),
    "another range": EditHeader("Content-Range", f"bytes 1-{SIZE}/{SIZE + 1}"),
    "no range": EditHeader("Content-Range"),
    "another version": EditHeader("ETag", '"another"'),
    "no version": EditHeader("ETag"),
    "shorter than requested": FixedResponse(206, [("Content-Range", f"bytes 0-{SIZE - 1}/{SIZE}")], bytes(SIZE - 1)),
    "an error that looks like data": FixedResponse(200, [], b"<Error><Code>InternalError</Code></Error>"),
}


def test_responses_that_do_not_match_the_request_are_never_written(scenario: Scenario) -> None:
    """C5: each wrong response once, for a different object of one job."""
    sources = scenario.put_objects(*[SIZE] * len(WRONG_RESPONSES))
    rules = [
        scenario.inject(response, "GetObject", key=source.key, when=is_ranged)
        for response, source in zip(WRONG_RESPONSES.values(), sources, strict=True)
    ]
    job = scenario.send_request(sources)
    scenario.worker()
    scenario.wait_deleted(job)
    assert [rule.fired for rule in rules] == [1] * len(WRONG_RESPONSES)
    scenario.finish()


@pytest.mark.slow
def test_a_full_response_to_a_range_request_is_never_written(scenario: Scenario) -> None:
    """C5: a server that ignores the Range header sends the right version from its first byte."""
    (source,) = scenario.put_objects(6 * MIB)
    head = scenario.direct.s3.head_object(Bucket=source.bucket, Key=source.key)
    whole = FixedResponse(200, [("ETag", head["ETag"])], content(6 * MIB, seed=1))
    rule = scenario.inject(whole, "GetObject", nth=1, times=2, when=is_ranged)
    job = scenario.send_request([source])
    scenario.worker()
    scenario.wait_deleted(job)
    assert rule.fired == 2
    scenario.finish()


def test_a_body_with_a_wrong_checksum_is_fetched_again(scenario: Scenario) -> None:
    """C6: the length is right, but the CRC-32 differs from the one stored in S3. As a whole, in one range, in two."""
    sources = [
        scenario.put("crc/1.jpg", content(10_000, seed=1), ChecksumAlgorithm="CRC32"),
        scenario.put("crc/2.jpg", content(LARGE, seed=2), ChecksumAlgorithm="CRC32"),
        scenario.put("crc/3.jpg", content(6 * MIB, seed=3), ChecksumAlgorithm="CRC32"),
    ]
    wheres: list[dict[str, Any]] = [{}, {"when": is_ranged}, {"when": is_ranged}]
    rules = [
        scenario.inject(Corrupt(5000), "GetObject", key=source.key, **where)
        for source, where in zip(sources, wheres, strict=True)
    ]
    job = scenario.send_request(sources)
    scenario.worker()
    scenario.wait_deleted(job)
    assert [rule.fired for rule in rules] == [1, 1, 1]
    scenario.finish()


@pytest.mark.slow
@pytest.mark.parametrize("size", [50_000, LARGE])
def test_a_body_that_stalls_or_trickles_is_requested_again(scenario: Scenario, size: int) -> None:
    """C8, C9: a connection that sends no bytes, or one byte per second, does not delay a job indefinitely."""
    sources = scenario.put_objects(size, size)
    where: dict[str, Any] = {"when": is_ranged} if size == LARGE else {}
    scenario.inject(StallBody(1000), "GetObject", key=sources[0].key, **where)
    scenario.inject(Slice(1, 1), "GetObject", key=sources[1].key, **where)
    job = scenario.send_request(sources)
    worker = scenario.worker()
    scenario.wait_deleted(job, seconds=60)
    assert len(list(worker.events("job.received"))) == 1
    asked = Counter(call.call.key for call in scenario.history.select("GetObject") if call.call.span or size < LARGE)
    assert asked == {source.key: 2 for source in sources}
    scenario.finish()


@pytest.mark.scenario(visibility=6)
@pytest.mark.parametrize("op", ["GetObject", pytest.param(None, marks=pytest.mark.slow)])
def test_throttled_reads_delay_the_job_but_not_its_lease_renewals(scenario: Scenario, op: str | None) -> None:
    """C10: S3 answers the first 40 reads with SlowDown, or the first 40 requests for sources of any kind."""
    sources = scenario.put_objects(*[1000] * 20)
    scenario.inject(Status(503, "SlowDown"), op, key="shoot/*", times=40)
    job = scenario.send_request(sources)
    worker = scenario.worker()
    scenario.wait_deleted(job, seconds=60)
    assert len(list(worker.events("job.received"))) == 1
    renewals = [call for call in scenario.history.select("ChangeMessageVisibility") if call.facts.get("message")]
    assert all(call.ok for call in renewals)
    scenario.finish()


@pytest.mark.slow
def test_all_denied_objects_are_listed_when_head_succeeds_and_get_is_denied(scenario: Scenario) -> None:
    """C11: HEAD needs no permission to decrypt. Nothing is written before all denied objects are known."""
    sources = scenario.put_objects(*[1000] * 12)
    denied = [sources[n].key for n in (1, 5, 9)]
    for key in denied:
        scenario.inject(Status(403, "AccessDenied"), "GetObject", key=key, times=None)
    job = scenario.send([{"source": source.key} for source in sources], None)
    scenario.worker()
    scenario.wait_deleted(job)
    error = scenario.failure(job)
    assert error["code"] == "source_denied"
    assert error["sources"] == [{"source": key, "code": "source_denied"} for key in denied]
    assert scenario.history.select("PutObject", "CreateMultipartUpload") == []
    scenario.finish()


@pytest.mark.slow
def test_denied_objects_are_skipped_with_on_missing_skip(scenario: Scenario) -> None:
    """C11: the archive holds the other objects."""
    one, two, three = scenario.put_objects(1000, 1000, 1000)
    scenario.inject(Status(400, "KMS.DisabledException"), "GetObject", key=two.key, times=None)
    listed: dict[str, Source | bytes] = {
        "1.jpg": one,
        "3.jpg": three,
        "_MISSING.txt": b"shoot/2.jpg\tsource_denied\n",
    }
    job = scenario.send([{"source": source.key} for source in (one, two, three)], listed, on_missing="skip")
    scenario.worker()
    scenario.wait_deleted(job)
    (answer,) = scenario.answers(job)
    assert answer["missing"] == [{"source": "shoot/2.jpg", "code": "source_denied"}]
    scenario.finish()


@pytest.mark.slow
@pytest.mark.parametrize(("size", "on_missing"), [(1000, "skip"), (LARGE, "fail")])
def test_etags_rewritten_by_a_proxy_are_reported_as_the_cause(scenario: Scenario, size: int, on_missing: str) -> None:
    """C12: a compressing proxy turns ETags into weak ones, so reads cannot be pinned to a version."""
    one, two = scenario.put_objects(1000, size)
    for op in ("HeadObject", "GetObject"):
        scenario.inject(EditHeader("ETag", 'W/"e"'), op, key=two.key, times=None, when=is_whole)
    job = scenario.send([{"source": one.key}, {"source": two.key}], None, on_missing=on_missing)
    scenario.worker()
    scenario.wait_deleted(job)
    error = scenario.failure(job)
    assert error["code"] == "source_changed"
    assert "rewrites ETags" in error["message"]
    assert error["sources"] == [{"source": two.key, "code": "source_changed"}]
    scenario.finish()


@pytest.mark.slow
def test_an_invalid_or_missing_last_modified_date_does_not_reject_the_file(scenario: Scenario) -> None:
    """C13: ISO 8601, RFC 850 and no date."""
    sources = scenario.put_objects(1000, 1000, 1000)
    for source, date in zip(sources, ("2024-03-05T10:00:00Z", "Tuesday, 05-Mar-24 10:00:00 GMT", None), strict=True):
        for op in ("HeadObject", "GetObject"):
            scenario.inject(EditHeader("Last-Modified", date), op, key=source.key, times=None)
    job = scenario.send_request(sources)
    scenario.worker()
    scenario.wait_deleted(job)
    scenario.finish()
