"""Group B: bad messages are rejected at their first receive, and stand word for word in the dead-letter queue."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from .stage import Stage


def rejections(stage: Stage, bodies: Mapping[str, str], code: str, **settings: str) -> dict[str, dict[str, Any]]:
    """Send *bodies*, all of which must be rejected with *code* at once; their errors by name."""
    jobs = {name: stage.send_text(body, None) for name, body in bodies.items()}
    worker = stage.worker(**settings)
    stage.wait_deleted()
    errors = {name: stage.failure(job) for name, job in jobs.items()}
    assert {name: error["code"] for name, error in errors.items()} == dict.fromkeys(bodies, code)
    assert len(list(worker.events("job.received"))) == len(bodies)
    assert stage.history.of("PutObject", "CreateMultipartUpload") == []
    stage.finish()
    return errors


def asking(**first: Any) -> str:
    """A request for one file, which *first* describes."""
    return json.dumps({"files": [{"source": "shoot/1.jpg"} | first]})


def test_what_is_not_json_is_rejected_at_its_first_receive(stage: Stage) -> None:
    """B1: word for word in the dead-letter queue, and the worker goes on."""
    bodies = {
        "blank": " ",
        "prose": "please zip my photos",
        "cut short": '{"files": [{"source": "a.jpg"}',
        "byte order mark": '\ufeff{"files": [{"source": "a.jpg"}]}',
        "not a number": '{"files": [{"source": "a.jpg"}], "metadata": {"x": NaN}}',
        "infinite": '{"files": [{"source": "a.jpg"}], "metadata": {"x": 1e400}}',
        "said twice": '{"files": [], "files": [{"source": "a.jpg"}]}',
    }
    rejections(stage, bodies, "invalid_json")


def test_json_nested_without_end_is_rejected_and_the_worker_lives(stage: Stage) -> None:
    """B2"""
    bodies = {
        "a hundred thousand lists": "[" * 100_000 + "]" * 100_000,
        "a mebibyte of brackets": "[" * 1_040_000,
        "objects": '{"a":' * 100_000 + "1" + "}" * 100_000,
    }
    rejections(stage, bodies, "invalid_json")


def test_a_request_of_another_shape_is_told_where_it_is_wrong(stage: Stage) -> None:
    """B3: by JSON path."""
    bodies = {
        "$": "[]",
        "$.files": '{"metadata": {}}',
        "$.files ": '{"files": []}',
        "$.files[1].source": '{"files": [{"source": "a.jpg"}, {"source": 7}]}',
        "$.metadata": '{"files": [{"source": "a.jpg"}], "metadata": "x"}',
        "$.job_id": '{"files": [{"source": "a.jpg"}], "job_id": ""}',
        "$.job_id ": '{"files": [{"source": "a.jpg"}], "job_id": "\\ud800"}',
        "$.on_missing": '{"files": [{"source": "a.jpg"}], "on_missing": "shrug"}',
    }
    errors = rejections(stage, bodies, "invalid_request")
    for path, error in errors.items():
        assert path.strip() in error["message"]


def test_unknown_fields_are_ignored_anywhere(stage: Stage) -> None:
    """B3: the seed's own requests have them."""
    (source,) = stage.photos(1000)
    file = {"source": source.key, "destination": "album", "user_email": "x@example.com"}
    job = stage.send([file], {"album/1.jpg": source}, user_email="x@example.com")
    stage.worker()
    stage.wait_deleted(job)
    stage.finish()


def test_a_bucket_off_the_allow_list_gets_no_request_at_all(stage: Stage) -> None:
    """B6: the role could read it; whoever wrote the message may not."""
    stage.direct.s3.create_bucket(Bucket=f"{stage.sources}-payroll")
    stage.put("salaries.csv", b"secret", bucket=f"{stage.sources}-payroll")
    (fine,) = stage.photos(1000)
    body = json.dumps({"files": [{"source": fine.key}, {"source": f"s3://{stage.sources}-payroll/salaries.csv"}]})
    errors = rejections(stage, {"payroll": body}, "source_not_allowed")
    named = [problem["source"] for problem in errors["payroll"]["sources"]]
    assert named == [f"s3://{stage.sources}-payroll/salaries.csv"]
    assert {call.call.bucket for call in stage.history.of()} <= {stage.sources, stage.archives, None}


@pytest.mark.stage(allowed="{sources}/tenant-a/")
def test_an_allowed_prefix_is_compared_byte_for_byte(stage: Stage) -> None:
    """B7: keys are literal; nothing is decoded or resolved before the comparison."""
    for key in ("tenant-b/x.jpg", "tenant-ab/x.jpg"):
        stage.put(key, b"theirs")
    tried = ("tenant-b/x.jpg", "tenant-ab/x.jpg", "tenant-a", "%74enant-a/x.jpg", "/tenant-a/x.jpg", "Tenant-a/x.jpg")
    rejections(stage, {key: asking(source=key) for key in tried}, "source_not_allowed")
    assert stage.history.of("GetObject") == []


@pytest.mark.stage(allowed="{sources}/tenant-a/")
def test_a_key_with_dots_is_the_object_of_that_very_name(stage: Stage) -> None:
    """B7: `tenant-a/../tenant-b/x.jpg` is an object of tenant a's, if it is one at all."""
    stage.put("tenant-b/x.jpg", b"theirs")
    literal = "tenant-a/../tenant-b/x.jpg"
    missing = stage.send([{"source": literal}, {"source": "tenant-a/mine.jpg"}], None)
    mine = stage.put("tenant-a/mine.jpg", b"mine")
    stage.worker()
    stage.wait_deleted(missing)
    error = stage.failure(missing)
    assert (error["code"], [p["source"] for p in error["sources"]]) == ("source_missing", [literal])
    own = stage.put(literal, b"also mine")
    found = stage.send([{"source": literal}, {"source": mine.key}], {"x.jpg": own, "mine.jpg": mine})
    stage.wait_deleted(found)
    stage.finish()


def test_names_that_lead_out_of_the_archive_are_rejected(stage: Stage) -> None:
    """B8"""
    stage.photos(1000)
    leading_out = (
        "../../x.jpg",
        "a/../../x.jpg",
        "..\\x.jpg",
        "C:/x.txt",
        "c:x.txt",
        "\\\\server\\share\\x.txt",
        "//server/share/x.txt",
        "\\\\?\\C:\\x.txt",
        "\\??\\C:\\x.txt",
        "a\0b.txt",
    )
    rejections(stage, {name: asking(destination=name) for name in leading_out}, "name_unsafe")


def test_names_that_other_systems_cannot_have_are_repaired(stage: Stage) -> None:
    """B8: and reported."""
    (source,) = stage.photos(1000)
    asked = {
        "/abs/x.jpg": "abs/x.jpg",
        "a\\b.jpg": "a/b.jpg",
        "what?.jpg": "what_.jpg",
        "CON": "CON_/1.jpg",
        "com1.txt": "com1_.txt",
        "dots./y.jpg": "dots/y.jpg",
        "over\u202egpj.exe": "over_gpj.exe",
    }
    files = [{"source": source.key, "destination": name} for name in asked]
    job = stage.send(files, dict.fromkeys(asked.values(), source))
    stage.worker()
    stage.wait_deleted(job)
    (answer,) = stage.answers(job)
    assert {"what_.jpg", "CON_/1.jpg"} <= {renamed["to"] for renamed in answer["renamed"]}
    stage.finish()


def test_names_that_would_hide_each_other_are_told_apart(stage: Stage) -> None:
    """B9: equal, equal but for case, equal after composition, and a file where another needs a folder."""
    sources = stage.photos(1000, 1001, 1002, 1003, 1004, 1005)
    names = ("é.jpg", "e\u0301.jpg", "a/É.jpg", "É.jpg", "x.d", "x.d/y.jpg")
    paths = ("é.jpg", "é (2).jpg", "a/É.jpg", "É (3).jpg", "x (2).d", "x.d/y.jpg")
    files = [{"source": s.key, "name": name} for s, name in zip(sources, names, strict=True)]
    job = stage.send(files, dict(zip(paths, sources, strict=True)))
    stage.worker()
    stage.wait_deleted(job)
    (answer,) = stage.answers(job)
    assert {renamed["to"] for renamed in answer["renamed"]} >= {"é (2).jpg", "É (3).jpg", "x (2).d"}
    stage.finish()


def test_names_that_would_hide_each_other_can_be_refused(stage: Stage) -> None:
    """B9: on_duplicate fail."""
    stage.photos(1000)
    files = [{"source": "shoot/1.jpg", "name": "a.jpg"}, {"source": "shoot/1.jpg", "name": "A.jpg"}]
    rejections(stage, {"twice": json.dumps({"files": files, "on_duplicate": "fail"})}, "name_conflict")
