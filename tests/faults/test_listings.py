"""Group C: listings that fail, break off or are denied never lead to a wrong archive."""

from typing import Any

import pytest

from .body_faults import CloseWithoutNotify, Truncate
from .rules import Status
from .scenario import Scenario

PREFIX = [{"prefix": "shoot/", "destination": "album"}]


@pytest.mark.parametrize(
    "fault",
    [
        Status(503, "SlowDown"),
        Truncate(200),
        *(pytest.param(one, marks=pytest.mark.slow) for one in (Status(500, "InternalError"), CloseWithoutNotify(200))),
    ],
)
def test_a_page_of_a_listing_that_fails_or_breaks_off_is_asked_for_again(scenario: Scenario, fault: Any) -> None:
    """C14: twice; no object gets a HEAD."""
    sources = scenario.put_objects(1000, 2000, 0)
    scenario.inject(fault, "ListObjects", times=2)
    job = scenario.send(PREFIX, {f"album/{n}.jpg": source for n, source in enumerate(sources, 1)})
    scenario.worker()
    scenario.wait_deleted(job)
    (answer,) = scenario.answers(job)
    assert (answer["status"], answer["archive"]["files"]) == ("succeeded", 3)
    listings = [call for call in scenario.history.select("ListObjects") if call.call.bucket == scenario.sources]
    assert len(listings) == 3
    assert not [head for head in scenario.history.select("HeadObject") if str(head.call.key).startswith("shoot/")]
    scenario.finish()


def test_a_denied_listing_rejects_the_job_and_says_what_to_grant(scenario: Scenario) -> None:
    """C14: once an object of the bucket was read."""
    (source, *_) = scenario.put_objects(1000)
    scenario.inject(Status(403, "AccessDenied"), "ListObjects", times=None)
    scenario.worker()
    readable = scenario.send_request([source])
    scenario.wait_deleted(readable)
    job = scenario.send(PREFIX, None)
    scenario.wait_deleted(job)
    error = scenario.failure(job)
    assert error["code"] == "source_denied"
    assert error["sources"] == [{"source": "shoot/", "code": "source_denied"}]
    assert f"allow s3:ListBucket on arn:aws:s3:::{scenario.sources}" in error["message"]
    scenario.finish()


@pytest.mark.scenario(visibility=4)
def test_objects_that_come_while_a_job_is_delivered_again_change_nothing(scenario: Scenario) -> None:
    """C15: a worker that is killed before it deletes the message; the archive that exists is the answer."""
    (source,) = scenario.put_objects(1000)
    job = scenario.send(PREFIX, {"album/1.jpg": source})
    scenario.inject(Status(500, "InternalError"), "DeleteMessage", times=3)
    scenario.worker()
    scenario.wait_call("DeleteMessage")
    scenario.put("shoot/2.jpg", b"later")
    scenario.wait_deleted(job)
    assert {answer["archive"]["files"] for answer in scenario.answers(job)} == {1}
    scenario.finish()
