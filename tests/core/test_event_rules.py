"""What a new object stands for: an order file, a request made of the template, or nothing."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from archiver.core.event_rules import (
    EventRules,
    OrderFile,
    check_template,
    parse_orders_prefix,
)
from archiver.core.events import EventMessage, Ignored, NewObject
from archiver.core.locations import Location

MESSAGE = EventMessage("{}", "m", "arn:q", datetime(2026, 11, 25, tzinfo=UTC), item="m")
TEMPLATE = '{"on_missing": "skip", "metadata": {"by": "event"}}'
ORDERS = EventRules("archives", orders=("inbox", "orders/"))
BOTH = EventRules("archives", orders=("inbox", "orders/"), template=TEMPLATE)


def new(key: str, bucket: str = "inbox", etag: str = "e") -> NewObject:
    return NewObject(bucket, key, etag, 7, MESSAGE)


def reason(rules: EventRules, found: NewObject) -> str:
    judged = rules.judge(found)
    assert isinstance(judged, Ignored)
    return judged.reason


@pytest.mark.parametrize("key", ["orders/a.json", "orders/deep/er/A.JSON"])
def test_json_under_the_prefix_is_an_order(key: str) -> None:
    judged = BOTH.judge(new(key))
    assert isinstance(judged, OrderFile)
    assert (judged.location, judged.size, judged.message.item) == (Location("inbox", key), 7, "m")


def test_an_order_is_identified_by_its_object_and_its_version() -> None:
    ids = {
        judged.message.id
        for judged in map(ORDERS.judge, (new("orders/a.json"), new("orders/a.json"), new("orders/a.json", etag="f")))
        if isinstance(judged, OrderFile)
    }
    other = ORDERS.judge(new("orders/b.json"))
    assert isinstance(other, OrderFile)
    assert len({*ids, other.message.id}) == 3
    assert isinstance(ORDERS.judge(new("orders/\ud800.json")), OrderFile)


def test_objects_that_stand_for_nothing_are_ignored_with_the_reason() -> None:
    assert "does not end in .json" in reason(BOTH, new("orders/a.txt"))
    assert "EVENT_REQUEST is not set" in reason(ORDERS, new("photos/a.json"))
    assert "EVENT_REQUEST is not set" in reason(ORDERS, new("orders/a.json", bucket="other"))
    assert "a folder" in reason(BOTH, new("orders/"))


def test_archives_never_ask_for_archives() -> None:
    """Each would be the reason for the next one, without an end."""
    assert "S3_DESTINATION_BUCKET" in reason(BOTH, new("x/download.zip", bucket="archives"))
    assert "S3_DESTINATION_BUCKET" in reason(EventRules("inbox", ("inbox", "orders/")), new("orders/a.json"))


def test_other_objects_are_the_files_of_the_template() -> None:
    judged = BOTH.judge(new("photos/a b.jpg"))
    assert isinstance(judged, EventMessage)
    assert json.loads(judged.body) == {**json.loads(TEMPLATE), "files": [{"source": "s3://inbox/photos/a b.jpg"}]}
    assert judged.id != "m"
    assert judged.item == "m"


def test_without_rules_an_event_is_a_message_like_any_other() -> None:
    assert EventRules("archives").judge(new("orders/a.json")) == MESSAGE


@pytest.mark.parametrize(("text", "parsed"), [("b-1/", ("b-1", "")), ("b-1/orders/new/", ("b-1", "orders/new/"))])
def test_the_prefix_of_orders_is_a_bucket_and_a_folder(text: str, parsed: tuple[str, str]) -> None:
    assert parse_orders_prefix(text) == parsed


@pytest.mark.parametrize("text", ["", "b-1", "orders/x", "/orders/", "s3://b-1/"])
def test_what_would_match_more_than_a_folder_is_no_prefix(text: str) -> None:
    with pytest.raises(ValueError):
        parse_orders_prefix(text)


def test_a_template_is_a_request_without_files() -> None:
    assert check_template(TEMPLATE) == TEMPLATE
    wrong: list[tuple[Any, str]] = [
        ([], "JSON object"),
        ({"files": []}, "without files"),
        ({"job_id": "j"}, "without files, manifest, job_id"),
        ({"on_missing": "x"}, "$.on_missing"),
    ]
    for value, sentence in wrong:
        with pytest.raises(ValueError) as caught:
            check_template(json.dumps(value))
        assert sentence in str(caught.value)
    with pytest.raises(ValueError, match="not JSON"):
        check_template("{")
