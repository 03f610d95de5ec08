"""Group C, in one pass: small objects are read before all are known. Every problem is known before anything is seen."""

import pytest

from .archive import read_archive
from .body_faults import CloseWithoutNotify, Reset, StallBody, Truncate
from .observations import executed
from .operations import PUT_RECEIPT
from .rules import Action, Delay, EditHeader, FixedResponse, SideEffect, Status, is_ranged, is_whole
from .scenario import Scenario
from .scenario_config import MIB, content

COUNT, SIZE = 14, 900_000  # an archive of three parts
FIRST, MIDDLE, LAST = 0, 7, COUNT - 1


def test_objects_are_read_without_a_head_and_their_archive_is_complete(scenario: Scenario) -> None:
    """C16: one GET for each small object; one more for each range of a large one that comes late."""
    sources = [*scenario.put_objects(*[1000] * 40), scenario.put("late.jpg", content(12 * MIB, seed=99))]
    job = scenario.send_request(sources)
    scenario.worker(MEMORY_BUDGET_MIB="64")  # with less, bodies that came early are given up
    scenario.wait_deleted(job)
    heads = [call.call.key for call in scenario.history.select("HeadObject") if call.call.bucket == scenario.sources]
    assert heads == []
    ranged = [call.call.key for call in scenario.history.select("GetObject") if call.call.span]
    assert ranged == ["late.jpg"] * 2
    scenario.finish()


@pytest.mark.parametrize(
    "places",
    [
        pytest.param((FIRST,), marks=pytest.mark.slow),
        pytest.param((MIDDLE,), marks=pytest.mark.slow),
        (LAST,),
        (FIRST, MIDDLE, LAST),
    ],
    ids=str,
)
@pytest.mark.parametrize("code", ["source_missing", pytest.param("source_denied", marks=pytest.mark.slow)])
def test_problems_found_while_parts_are_uploaded_are_all_listed_and_nothing_is_seen(
    scenario: Scenario, places: tuple[int, ...], code: str
) -> None:
    """C1, C11: the upload is aborted. HEAD does not tell what GET is denied."""
    sources = scenario.put_objects(*[SIZE] * COUNT)
    keys = [sources[place].key for place in places]
    begun = FIRST not in places  # no part is complete without the first object
    for key in keys:
        if begun:
            wait = SideEffect(before_it=lambda: scenario.wait_call("UploadPart"))
            scenario.inject(wait, "GetObject", key=key, times=None)
        if code == "source_denied":
            scenario.inject(Status(403, "AccessDenied"), "GetObject", key=key, times=None)
        else:
            scenario.direct.s3.delete_object(Bucket=scenario.sources, Key=key)
    job = scenario.send([{"source": source.key} for source in sources], None)
    scenario.worker()
    scenario.wait_deleted(job)
    error = scenario.failure(job)
    assert (error["code"], error["sources"]) == (code, [{"source": key, "code": code} for key in keys])
    assert scenario.history.select("UploadPart") or not begun
    assert scenario.history.select("PutObject", PUT_RECEIPT, "CompleteMultipartUpload") == []
    assert scenario.history.observed_archives == []
    scenario.finish()


@pytest.mark.parametrize(
    "cut", [Truncate, *(pytest.param(cut, marks=pytest.mark.slow) for cut in (CloseWithoutNotify, Reset))]
)
def test_an_interrupted_small_body_is_read_again_at_its_version_and_resumed(
    scenario: Scenario, cut: type[Truncate | CloseWithoutNotify | Reset]
) -> None:
    """C2: the first GET is given up. The next ones use one If-Match; the one that is cut is resumed."""
    size = 100_000
    cuts = (0, 1, size // 2, size - 1)
    sources = scenario.put_objects(*[size] * len(cuts))
    for source, at in zip(sources, cuts, strict=True):
        scenario.inject(cut(at), "GetObject", key=source.key, when=is_whole, times=None)
        scenario.inject(cut(at), "GetObject", key=source.key, when=is_ranged)
    job = scenario.send_request(sources)
    scenario.worker()
    scenario.wait_deleted(job)
    for source, at in zip(sources, cuts, strict=True):
        gets = [call for call in scenario.history.select("GetObject") if call.call.key == source.key and call.call.span]
        assert len({call.facts["if_match"] for call in gets}) == 1
        starts = [int(call.facts["range"].removeprefix("bytes=").partition("-")[0]) for call in gets]
        assert starts[0] == 0
        assert starts[1] <= at if cut is Reset else starts[1] == at  # a reset may discard the last bytes
    scenario.finish()


def test_a_large_object_replaced_between_its_head_and_its_ranges_is_planned_again(scenario: Scenario) -> None:
    """C3: its size was known from a GET that was given up. Small objects before it had been uploaded already."""
    others = scenario.put_objects(*[SIZE] * 7)
    source = scenario.put("large.jpg", content(6 * MIB, seed=7))
    replace = SideEffect(after_it=lambda: scenario.put(source.key, content(6 * MIB, seed=77)))
    rule = scenario.inject(replace, "GetObject", key=source.key, when=is_whole)
    job = scenario.changed(scenario.send_request([*others, source]))
    scenario.worker()
    scenario.wait_deleted(job)
    assert rule.fired == 1
    assert read_archive(scenario.archive(job))["album/large.jpg"] == content(6 * MIB, seed=77)
    scenario.finish()


@pytest.mark.slow
def test_a_small_object_replaced_between_two_responses_is_in_the_archive_as_one_of_them(scenario: Scenario) -> None:
    """C3: the first response stalls in its body, so the object is asked for once more; by then it is another one."""
    sources = scenario.put_objects(*[100_000] * 40)
    scenario.inject(StallBody(50_000), "GetObject", key=sources[0].key)
    replace = SideEffect(after_it=lambda: scenario.put(sources[0].key, content(100_000, seed=77)))
    scenario.inject(replace, "GetObject", key=sources[0].key)
    job = scenario.changed(scenario.send_request(sources))
    scenario.worker()
    scenario.wait_deleted(job)
    assert read_archive(scenario.archive(job))["album/1.jpg"] == content(100_000, seed=77)
    scenario.finish()


@pytest.mark.parametrize(
    "slow", [Delay(after_it=3600), pytest.param(StallBody(500), marks=pytest.mark.slow)], ids=["no head", "half a body"]
)
def test_a_slow_response_that_all_others_wait_for_is_asked_for_once_more(scenario: Scenario, slow: Action) -> None:
    """C9: as a whole again, without a HEAD: no timeout has to pass."""
    sources = scenario.put_objects(*[1000] * 40)
    scenario.inject(slow, "GetObject", key=sources[0].key)
    job = scenario.send_request(sources)
    scenario.worker()
    scenario.wait_deleted(job)
    asked = [call for call in scenario.history.select("HeadObject", "GetObject") if call.call.key == sources[0].key]
    assert [(call.op, call.call.span) for call in asked] == [("GetObject", None)] * 2
    scenario.finish()


WRONG_RESPONSES: dict[str, Action] = {
    "a range": FixedResponse(206, [("Content-Range", "bytes 0-998/1000"), ("ETag", '"e"')], bytes(999)),
    "no version": EditHeader("ETag"),
    "an error that looks like data": FixedResponse(200, [], b"<Error><Code>InternalError</Code></Error>"),
    "a redirect": FixedResponse(307, [("Location", "https://127.0.0.1:9/elsewhere")], b"<Error/>"),
    "nothing": FixedResponse(204, [("ETag", '"e"')]),
}
WRONG_FOR_A_VERSION: dict[str, Action] = {
    "another version": EditHeader("ETag", '"another"'),
    "the version is ignored": FixedResponse(200, [("ETag", '"e"')], bytes(1000)),
}


@pytest.mark.parametrize("on_missing", ["fail", "skip"])
def test_responses_that_are_not_the_whole_object_are_never_written(scenario: Scenario, on_missing: str) -> None:
    """C5: each wrong response once, for a different object of one job; with `skip` at the ETag of a HEAD."""
    wrong = WRONG_RESPONSES | (WRONG_FOR_A_VERSION if on_missing == "skip" else {})
    sources = scenario.put_objects(*[1000] * len(wrong))
    rules = [
        scenario.inject(response, "GetObject", key=source.key, when=is_whole)
        for response, source in zip(wrong.values(), sources, strict=True)
    ]
    job = scenario.send_request(sources, on_missing=on_missing)
    scenario.worker()
    scenario.wait_deleted(job)
    assert [rule.fired for rule in rules] == [1] * len(wrong)
    scenario.finish()


@pytest.mark.slow
def test_a_body_of_another_length_than_its_version_is_never_written(scenario: Scenario) -> None:
    """C5: the ETag is that of the HEAD, the length is not."""
    (source,) = scenario.put_objects(1000)
    head = scenario.direct.s3.head_object(Bucket=source.bucket, Key=source.key)
    shorter = FixedResponse(200, [("ETag", head["ETag"])], bytes(999))
    rule = scenario.inject(shorter, "GetObject", key=source.key, when=is_whole)
    job = scenario.send_request([source], on_missing="skip")
    scenario.worker()
    scenario.wait_deleted(job)
    assert rule.fired == 1
    scenario.finish()


@pytest.mark.slow
def test_an_archive_of_one_part_is_written_after_all_its_objects_were_read(scenario: Scenario) -> None:
    """C16: nothing is sent to the destination before."""
    sources = scenario.put_objects(*[1000] * 40)
    scenario.inject(Status(503, "SlowDown"), "GetObject", key=sources[-1].key, times=3)
    job = scenario.send_request(sources)
    scenario.worker()
    scenario.wait_deleted(job)
    (write,) = executed(scenario.view.writes(job.key))
    reads = executed(scenario.history.select("GetObject"))
    assert {call.call.key for call in reads if call.began < write.began} == {source.key for source in sources}
    scenario.finish()
