"""Group B: invalid messages are rejected at their first receive and dead-lettered unchanged."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from .scenario import Scenario


def rejections(scenario: Scenario, bodies: Mapping[str, str], code: str, **settings: str) -> dict[str, dict[str, Any]]:
    """Send *bodies*, which must all be rejected with *code* at their first receive. Return their errors by name."""
    jobs = {name: scenario.send_text(body, None) for name, body in bodies.items()}
    worker = scenario.worker(**settings)
    scenario.wait_deleted()
    errors = {name: scenario.failure(job) for name, job in jobs.items()}
    assert {name: error["code"] for name, error in errors.items()} == dict.fromkeys(bodies, code)
    assert len(list(worker.events("job.received"))) == len(bodies)
    assert scenario.history.select("PutObject", "CreateMultipartUpload") == []
    scenario.finish()
    return errors


def request_body(**fields: Any) -> str:
    """Return a request for one file with these *fields*."""
    return json.dumps({"files": [{"source": "shoot/1.jpg"} | fields]})


def test_a_body_that_is_not_json_is_rejected_at_its_first_receive(scenario: Scenario) -> None:
    """B1: the dead letter has the original body, and the worker continues."""
    bodies = {
        "blank": " ",
        "prose": "please zip my photos",
        "cut short": '{"files": [{"source": "a.jpg"}',
        "not a number": '{"files": [{"source": "a.jpg"}], "metadata": {"x": NaN}}',
        "infinite": '{"files": [{"source": "a.jpg"}], "metadata": {"x": 1e400}}',
        "duplicate key": '{"files": [], "files": [{"source": "a.jpg"}]}',
    }
    rejections(scenario, bodies, "invalid_json")


def test_deeply_nested_json_is_rejected_and_the_worker_continues(scenario: Scenario) -> None:
    """B2: no RecursionError and no crash."""
    bodies = {
        "a hundred thousand lists": "[" * 100_000 + "]" * 100_000,
        "a mebibyte of brackets": "[" * 1_040_000,
        "objects": '{"a":' * 100_000 + "1" + "}" * 100_000,
    }
    rejections(scenario, bodies, "invalid_json")


def test_an_invalid_request_is_rejected_with_the_json_path_of_the_error(scenario: Scenario) -> None:
    """B3: the error message contains the JSON path."""
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
    errors = rejections(scenario, bodies, "invalid_request")
    for path, error in errors.items():
        assert path.strip() in error["message"]


@pytest.mark.slow
def test_unknown_fields_are_ignored_at_every_level(scenario: Scenario) -> None:
    """B3: existing senders use such fields."""
    (source,) = scenario.put_objects(1000)
    file = {"source": source.key, "destination": "album", "user_email": "x@example.com"}
    job = scenario.send([file], {"album/1.jpg": source}, user_email="x@example.com")
    scenario.worker()
    scenario.wait_deleted(job)
    scenario.finish()


def test_a_bucket_that_is_not_allowed_receives_no_request(scenario: Scenario) -> None:
    """B6: the worker's role can read the bucket, but the sender may not request it."""
    scenario.direct.s3.create_bucket(Bucket=f"{scenario.sources}-payroll")
    scenario.put("salaries.csv", b"secret", bucket=f"{scenario.sources}-payroll")
    (fine,) = scenario.put_objects(1000)
    body = json.dumps({"files": [{"source": fine.key}, {"source": f"s3://{scenario.sources}-payroll/salaries.csv"}]})
    errors = rejections(scenario, {"payroll": body}, "source_not_allowed")
    named = [problem["source"] for problem in errors["payroll"]["sources"]]
    assert named == [f"s3://{scenario.sources}-payroll/salaries.csv"]
    assert {call.call.bucket for call in scenario.history.select()} <= {scenario.sources, scenario.archives, None}


@pytest.mark.slow
@pytest.mark.scenario(allowed="{sources}/tenant-a/")
def test_allowed_prefixes_are_compared_byte_for_byte(scenario: Scenario) -> None:
    """B7: keys are literal: they are neither decoded nor resolved before the comparison."""
    for key in ("tenant-b/x.jpg", "tenant-ab/x.jpg"):
        scenario.put(key, b"theirs")
    not_allowed = (
        "tenant-b/x.jpg",
        "tenant-ab/x.jpg",
        "tenant-a",
        "%74enant-a/x.jpg",
        "/tenant-a/x.jpg",
        "Tenant-a/x.jpg",
    )
    rejections(scenario, {key: request_body(source=key) for key in not_allowed}, "source_not_allowed")
    assert scenario.history.select("GetObject") == []


@pytest.mark.slow
@pytest.mark.scenario(allowed="{sources}/tenant-a/")
def test_dot_segments_in_keys_are_not_resolved(scenario: Scenario) -> None:
    """B7: `tenant-a/../tenant-b/x.jpg` is a literal key below `tenant-a/`."""
    scenario.put("tenant-b/x.jpg", b"theirs")
    literal = "tenant-a/../tenant-b/x.jpg"
    missing = scenario.send([{"source": literal}, {"source": "tenant-a/mine.jpg"}], None)
    mine = scenario.put("tenant-a/mine.jpg", b"mine")
    scenario.worker()
    scenario.wait_deleted(missing)
    error = scenario.failure(missing)
    assert (error["code"], [p["source"] for p in error["sources"]]) == ("source_missing", [literal])
    own = scenario.put(literal, b"also mine")
    found = scenario.send([{"source": literal}, {"source": mine.key}], {"x.jpg": own, "mine.jpg": mine})
    scenario.wait_deleted(found)
    scenario.finish()


@pytest.mark.slow
def test_names_that_escape_the_archive_root_are_rejected(scenario: Scenario) -> None:
    """B8: `..` segments, drive letters, UNC paths, NUL."""
    scenario.put_objects(1000)
    unsafe_names = (
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
    rejections(scenario, {name: request_body(destination=name) for name in unsafe_names}, "name_unsafe")


def test_names_that_are_invalid_on_other_systems_are_repaired(scenario: Scenario) -> None:
    """B8: the answer lists each renamed file."""
    (source,) = scenario.put_objects(1000)
    repaired = {
        "/abs/x.jpg": "abs/x.jpg",
        "a\\b.jpg": "a/b.jpg",
        "what?.jpg": "what_.jpg",
        "CON": "CON_/1.jpg",
        "com1.txt": "com1_.txt",
        "dots./y.jpg": "dots/y.jpg",
        "over\u202egpj.exe": "over_gpj.exe",
    }
    files = [{"source": source.key, "destination": name} for name in repaired]
    job = scenario.send(files, dict.fromkeys(repaired.values(), source))
    scenario.worker()
    scenario.wait_deleted(job)
    (answer,) = scenario.answers(job)
    assert {"what_.jpg", "CON_/1.jpg"} <= {renamed["to"] for renamed in answer["renamed"]}
    scenario.finish()


@pytest.mark.slow
def test_colliding_names_are_made_unique(scenario: Scenario) -> None:
    """B9: identical names, names that differ only in case or Unicode form, and a file named like a folder."""
    sources = scenario.put_objects(1000, 1001, 1002, 1003, 1004, 1005)
    names = ("é.jpg", "e\u0301.jpg", "a/É.jpg", "É.jpg", "x.d", "x.d/y.jpg")
    paths = ("é.jpg", "é (2).jpg", "a/É.jpg", "É (3).jpg", "x (2).d", "x.d/y.jpg")
    files = [{"source": s.key, "name": name} for s, name in zip(sources, names, strict=True)]
    job = scenario.send(files, dict(zip(paths, sources, strict=True)))
    scenario.worker()
    scenario.wait_deleted(job)
    (answer,) = scenario.answers(job)
    assert {renamed["to"] for renamed in answer["renamed"]} >= {"é (2).jpg", "É (3).jpg", "x (2).d"}
    scenario.finish()


@pytest.mark.slow
def test_colliding_names_are_rejected_with_on_duplicate_fail(scenario: Scenario) -> None:
    """B9: names that differ only in case."""
    scenario.put_objects(1000)
    files = [{"source": "shoot/1.jpg", "name": "a.jpg"}, {"source": "shoot/1.jpg", "name": "A.jpg"}]
    rejections(scenario, {"twice": json.dumps({"files": files, "on_duplicate": "fail"})}, "name_conflict")
