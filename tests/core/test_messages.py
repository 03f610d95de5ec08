"""A request is read to the letter, and an answer has exactly the shape that consumers rely on."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.core.dialects.native import (
    failure_answer,
    parse_request,
    read_echoed_fields,
    read_job_id,
    success_answer,
)
from archiver.core.entries import File
from archiver.core.messages import (
    Archive,
    EchoedFields,
    Link,
    Renamed,
    Request,
    Success,
    notification_id,
)
from archiver.core.schema import json_schema
from archiver.errors import Code, Rejected, SourceProblem

PLENTY = 2**20
SEED = """{
  "job_id": "order-4711",
  "files": [
    {"source": "example-directory/uuid1.png", "destination": "album_1"},
    {"source": "s3://foobar/example-directory/uuid2.png", "destination": "album_1"},
    {"source": "example-directory/uuid3.png", "destination": "album_2"}
  ],
  "metadata": {"key": "value"}
}"""


def request_of(**fields: object) -> Request:
    return parse_request(json.dumps({"files": [{"source": "a"}], **fields}))


def refused(body: object) -> Rejected:
    with pytest.raises(Rejected) as caught:
        parse_request(body if isinstance(body, str) else json.dumps(body))
    return caught.value


def test_the_request_of_the_contract_is_read() -> None:
    request = parse_request(SEED)
    assert request.files[1] == File(source="s3://foobar/example-directory/uuid2.png", destination="album_1")
    assert [file.destination for file in request.files] == ["album_1", "album_1", "album_2"]
    assert (request.job_id, request.metadata) == ("order-4711", {"key": "value"})
    assert (request.on_missing, request.on_duplicate, request.compression) == ("fail", "rename", None)
    assert request.archive_name is None


def test_null_is_absent_in_every_optional_field() -> None:
    optional = ("metadata", "job_id", "archive_name", "on_missing", "on_duplicate", "compression")
    assert request_of(**dict.fromkeys(optional)) == request_of()
    file = {"source": "a", "destination": None, "directory": None, "name": None}
    assert request_of(files=[file]) == request_of()


def test_unknown_fields_are_ignored_anywhere() -> None:
    assert request_of(user_email="x", files=[{"source": "a", "size": 3}]) == request_of()


def test_directory_is_another_name_of_destination() -> None:
    for file in ({"directory": "d"}, {"directory": "d", "destination": None}, {"directory": "d", "destination": "d"}):
        assert request_of(files=[{"source": "a", **file}]).files[0].destination == "d"


def test_an_empty_destination_or_name_is_none_beside_the_other() -> None:
    (file,) = request_of(files=[{"source": "a", "name": "x", "destination": ""}]).files
    assert isinstance(file, File)
    assert file.name == "x"
    assert request_of(files=[{"source": "a", "name": "", "destination": "d"}]).files[0].destination == "d"


@pytest.mark.parametrize("job_id", ["x", "x" * 128, "\U0001f469" * 128, "a b\n"])
def test_a_job_id_has_1_to_128_characters(job_id: str) -> None:
    assert request_of(job_id=job_id).job_id == job_id


def test_metadata_is_kept_untouched() -> None:
    metadata = {"z": [1, 2.5, None, True, {"": "é\ud800"}], "a": 10**40, "\ud800": 0}
    assert request_of(metadata=metadata).metadata == metadata
    assert list(request_of(metadata=metadata).metadata or {}) == ["z", "a", "\ud800"]


A = {"source": "a"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "$ should be an object, and is a list"),
        ("1", "$ should be an object, and is a number"),
        ({}, "$.files is required"),
        ({"files": None}, "$.files is required"),
        ({"files": []}, "$.files should not be empty"),
        ({"files": {"source": "a"}}, "$.files should be a list"),
        ({"files": [A, A, {"source": 5}]}, "$.files[2].source should be text"),
        ({"files": [A, "a"]}, "$.files[1] should be an object"),
        ({"files": [{"destination": "d"}]}, "$.files[0].source is required"),
        ({"files": [{"source": None}]}, "$.files[0].source is required"),
        ({"files": [{"source": ""}]}, "$.files[0].source should not be empty"),
        ({"files": [{"source": "\ud800"}]}, "$.files[0].source contains half of a surrogate pair, which is not text"),
        ({"files": [{"source": "a", "destination": 1}]}, "$.files[0].destination should be text"),
        ({"files": [{"source": "a", "name": False}]}, "$.files[0].name should be text"),
        (
            {"files": [{"source": "a", "name": "x", "destination": "y"}]},
            "$.files[0] has both destination and name: name is the complete path",
        ),
        (
            {"files": [{"source": "a", "name": "x", "directory": "y"}]},
            "$.files[0] has both destination and name: name is the complete path",
        ),
        (
            {"files": [{"source": "a", "directory": "x", "destination": "y"}]},
            "$.files[0] has both destination and directory, which are two names of the same field",
        ),
        ({"files": [A], "metadata": []}, "$.metadata should be an object"),
        ({"files": [A], "job_id": 4711}, "$.job_id should be text"),
        ({"files": [A], "job_id": ""}, "$.job_id should not be empty"),
        ({"files": [A], "job_id": "x" * 129}, "$.job_id should have at most 128 characters"),
        ({"files": [A], "job_id": "\ud800"}, "$.job_id contains half of a surrogate pair, which is not text"),
        ({"files": [A], "archive_name": 1}, "$.archive_name should be text"),
        (
            {"files": [A], "archive_name": "\udfff"},
            "$.archive_name contains half of a surrogate pair, which is not text",
        ),
        ({"files": [A], "archive_name": "x" * 4097}, "$.archive_name should have at most 4096 characters"),
        ({"files": [A, {**A, "name": "x" * 4097}]}, "$.files[1].name should have at most 4096 characters"),
        ({"files": [{**A, "destination": "x" * 4097}]}, "$.files[0].destination should have at most 4096 characters"),
        (
            {"files": [{**A, "directory": "\ud800" * 4097}]},
            "$.files[0].destination should have at most 4096 characters",
        ),
        ({"files": [A], "on_missing": "ignore"}, "$.on_missing should be 'fail' or 'skip'"),
        ({"files": [A], "on_duplicate": []}, "$.on_duplicate should be 'rename', 'fail' or 'skip'"),
        ({"files": [A], "compression": "zip"}, "$.compression should be 'store', 'deflate' or 'auto'"),
        ({"files": [A], "test": "true"}, "$.test should be true or false"),
        ({"files": [A], "wait_for": {"timeout": "9"}}, "$.wait_for.timeout should be a whole number"),
        ({"files": [A], "wait_for": {"timeout": 1.5}}, "$.wait_for.timeout should be a whole number"),
        (
            {"files": [{"inline": "x", "name": "x", "role_arn": "arn"}]},
            "$.files[0] has both inline and role_arn: it goes with source or prefix",
        ),
        ({"files": [{**A, "regex": "x"}]}, "$.files[0] has both source and regex: it goes with prefix"),
        ({"files": ["a"], "job_id": 5}, "$.files[0] should be an object; $.job_id should be text"),
    ],
)
def test_what_does_not_fit_is_told_by_its_json_path(body: object, message: str) -> None:
    rejected = refused(body)
    assert (rejected.code, rejected.message) == ("invalid_request", message)


def test_half_a_surrogate_in_a_destination_is_left_to_the_path_rules() -> None:
    assert request_of(files=[{"source": "a", "destination": "\ud800"}]).files[0].destination == "\ud800"


def test_many_problems_are_told_up_to_a_bound_and_counted_beyond() -> None:
    message = refused({"files": [5] * 1_000}).message
    assert message.startswith("$.files[0] should be an object; $.files[1] should be an object; ")
    assert message.endswith("; $.files[19] should be an object; and 980 more")
    assert refused({"files": [5] * 21}).message.endswith("; and 1 more")
    assert refused({"files": [5] * 20}).message.endswith("; $.files[19] should be an object")


def test_a_body_that_is_not_json_is_invalid_json() -> None:
    assert refused("{").code == "invalid_json"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (SEED, EchoedFields({"key": "value"}, "order-4711")),
        ('{"metadata": {"a": 1}, "job_id": "j", "files": []}', EchoedFields({"a": 1}, "j")),
        ('\ufeff{"metadata": {"a": 1}, "job_id": "j"}', EchoedFields({"a": 1}, "j")),
        ('{"x": 1, "x": 2, "job_id": "j"}', EchoedFields(None, "j")),
        ('{"metadata": [], "job_id": 5}', EchoedFields()),
        ('{"metadata": {"a": NaN}, "job_id": ""}', EchoedFields()),
        ('{"metadata": {"a": 1e999}, "job_id": "\\ud800"}', EchoedFields()),
        (json.dumps({"job_id": "x" * 129, "metadata": {}}), EchoedFields({}, None)),
        ('{"metadata": ' + '{"a":' * 200 + "1" + "}" * 200 + "}", EchoedFields()),
        ("[]", EchoedFields()),
        ("{", EchoedFields()),
        ("", EchoedFields()),
        ("[" * 2**20, EchoedFields()),
    ],
)
def test_an_answer_repeats_what_can_be_read_of_a_body_and_reading_never_raises(
    body: str, expected: EchoedFields
) -> None:
    assert read_echoed_fields(body) == expected
    assert read_job_id(body) == expected.job_id


@given(st.one_of(st.none(), st.text(max_size=130)), st.one_of(st.none(), st.dictionaries(st.text(), st.floats())))
def test_the_echoed_fields_of_a_good_request_say_what_the_request_says(job_id: str | None, metadata: Any) -> None:
    body = json.dumps({"files": [{"source": "a"}], "job_id": job_id, "metadata": metadata})
    try:
        request = parse_request(body)
    except Rejected:
        assert read_echoed_fields(body) != EchoedFields(metadata or {}, job_id)
        return
    assert read_echoed_fields(body) == EchoedFields(request.metadata, request.job_id)


SUCCESS = Success(
    echoed=EchoedFields({"key": "value"}, "order-4711", "5458d323"),
    link=Link("https://d111.cloudfront.net/3f/download.zip"),
    archive=Archive("zip-storage", "3f/download.zip", 150214, 3, '"abc-1"', "00c0ffee", "3f/receipt-77.json.gz"),
    status="succeeded",
    missing=(),
    renamed=(Renamed("p/photo.jpg", "album/photo.jpg", "album/photo (2).jpg"),),
    notification_id="77" * 32,
)


def test_the_answer_to_a_finished_job_is_that_of_the_contract() -> None:
    assert success_answer(SUCCESS, PLENTY) == (
        '{"metadata": {"key": "value"}, '
        '"substitutions": {"archiver_URL": "https://d111.cloudfront.net/3f/download.zip"}, '
        '"job_id": "order-4711", "message_id": "5458d323", "status": "succeeded", '
        '"archive": {"bucket": "zip-storage", "key": "3f/download.zip", "size": 150214, "files": 3, '
        '"etag": "abc-1", "crc32": "00c0ffee", "receipt": "3f/receipt-77.json.gz"}, '
        '"missing": [], '
        '"renamed": [{"source": "p/photo.jpg", "from": "album/photo.jpg", "to": "album/photo (2).jpg"}], '
        f'"notification_id": "{"77" * 32}"}}'
    )


def test_an_answer_without_metadata_job_or_checksum_says_null() -> None:
    archive = Archive("b", "k", 1, 1, '"e"', None)
    lost = (SourceProblem("p/x", "source_missing", "detail"),)
    answer = json.loads(success_answer(Success(EchoedFields(), Link("u"), archive, "partial", lost, (), "n"), PLENTY))
    assert (answer["metadata"], answer["job_id"], answer["archive"]["crc32"]) == (None, None, None)
    assert answer["status"] == "partial"
    assert answer["missing"] == [{"source": "p/x", "code": "source_missing"}]


def test_the_answer_to_a_rejected_job_is_that_of_the_contract() -> None:
    rejected = Rejected("source_missing", "1 of 2 …", [SourceProblem("p/x", "source_missing", "detail")])
    assert failure_answer(EchoedFields({"a": 1}, None), rejected, PLENTY) == (
        '{"metadata": {"a": 1}, "job_id": null, "message_id": null, "status": "failed", '
        '"error": {"code": "source_missing", "message": "1 of 2 …", '
        '"sources": [{"source": "p/x", "code": "source_missing"}]}}'
    )


def test_an_answer_too_large_for_a_message_loses_renames_first_then_sources_and_says_so() -> None:
    many = Success(
        **{
            **{name: getattr(SUCCESS, name) for name in ("echoed", "link", "archive", "notification_id")},
            "status": "partial",
            "missing": [SourceProblem(f"p/{number}", "source_missing") for number in range(100)],
            "renamed": [Renamed(f"r/{number}", "a", "b") for number in range(100)],
        }
    )
    size = len(success_answer(many, PLENTY))
    answer = json.loads(success_answer(many, size - 1))
    assert answer["truncated"] == {"renamed": 100}
    assert len(answer["missing"]) == 100
    answer = json.loads(success_answer(many, size // 2))
    assert answer["truncated"] == {"renamed": 100, "missing": 100}
    assert answer["metadata"] == {"key": "value"}

    rejected = Rejected("source_missing", "all", many.missing)
    answer = json.loads(failure_answer(EchoedFields({"a": 1}, None), rejected, 500))
    assert answer["truncated"] == {"error.sources": 100}
    assert 0 < len(answer["error"]["sources"]) < 100


def test_missing_objects_that_cannot_be_listed_any_more_are_counted() -> None:
    """Where the receipt of a finished archive is gone; the count stays when the answer is too large besides."""
    some = replace(SUCCESS, status="partial", missing=(), unlisted=7)
    answer = json.loads(success_answer(some, PLENTY))
    assert (answer["missing"], answer["truncated"]) == ([], {"missing": 7})
    assert json.loads(success_answer(some, 10))["truncated"] == {"metadata": 16, "missing": 7, "renamed": 1}


def follows(schema: dict[str, Any], value: Any) -> bool:
    """Tell whether *value* has the properties of *schema*, no more and no fewer, all the way down."""
    if isinstance(value, list):
        return all(follows(schema["items"], item) for item in value)
    if not isinstance(value, dict) or "properties" not in schema:
        return "enum" not in schema or value in schema["enum"]
    properties = schema["properties"]
    return (
        set(schema.get("required", ())) <= value.keys() <= properties.keys()
        and [name for name in properties if name in value] == list(value)
        and all(follows(properties[name], item) for name, item in value.items())
    )


def test_the_answer_to_a_ping_follows_its_schema() -> None:
    schema = json_schema()["alive"]
    alive = Success(EchoedFields(), None, None, "alive", (), (), "77" * 32)
    assert follows(schema, json.loads(success_answer(alive, PLENTY)))
    refused = replace(alive, problem=Rejected("too_large", "x", [SourceProblem("a", "too_large")]))
    answer = json.loads(success_answer(refused, PLENTY))
    assert follows(schema, answer)
    assert answer["problem"] == {"code": "too_large", "message": "x", "sources": [{"source": "a", "code": "too_large"}]}


def test_the_answers_follow_the_published_schemas() -> None:
    schemas = json_schema()
    assert json.loads(json.dumps(schemas)) == schemas
    success = json.loads(success_answer(SUCCESS, PLENTY))
    assert follows(schemas["success"], success)
    rejected = Rejected("too_large", "x", [SourceProblem("a", "too_large")])
    assert follows(schemas["failure"], json.loads(failure_answer(EchoedFields(), rejected, PLENTY)))
    assert follows(schemas["failure"], json.loads(failure_answer(EchoedFields({"a": 1}), rejected, 10)))
    assert not follows(schemas["success"], {**success, "extra": 1})
    assert schemas["failure"]["properties"]["error"]["properties"]["code"]["enum"] == list(get_args(Code))


def test_the_schema_of_requests_names_every_field() -> None:
    schema = json_schema()["request"]
    assert list(schema["properties"]) == list(Request.model_fields)
    assert schema["oneOf"] == [{"required": [name]} for name in ("files", "manifest", "cancel", "command")]
    assert schema["properties"]["files"]["minItems"] == 1
    assert set(schema["$defs"]["File"]["properties"]) == {"source", "destination", "directory", "name", "role_arn"}


def test_a_notification_id_is_the_same_for_redeliveries_and_new_for_a_new_message_or_status() -> None:
    first = notification_id("d" * 64, "m1", "succeeded")
    assert re.fullmatch("[0-9a-f]{64}", first)
    assert notification_id("d" * 64, "m1", "succeeded") == first
    others = {notification_id("d" * 64, "m2", "succeeded"), notification_id("d" * 64, "m1", "failed")}
    assert len(others | {first, notification_id("e" * 64, "m1", "succeeded")}) == 4


def test_a_link_that_expires_says_when_and_others_say_nothing() -> None:
    link = Link("https://x", datetime(2026, 11, 28, 9, 30, tzinfo=UTC))

    assert json.loads(success_answer(replace(SUCCESS, link=link), PLENTY))["expires_at"] == "2026-11-28T09:30:00Z"
    assert "expires_at" not in json.loads(success_answer(SUCCESS, PLENTY))
