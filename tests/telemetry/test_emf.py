"""Lines that CloudWatch takes for metrics, by the schema that its user guide publishes."""

import json
from typing import Any

import jsonschema
import pytest

from archiver.ports import JobResult
from archiver.telemetry.emf import Emf, job_line, process_lines
from archiver.telemetry.metrics import UNITS, ProcessSnapshot

from .samples import COPIED, DONE, LOST, REJECTED, RETRIED, STANDING

# "Specification: Embedded metric format", section "Schema": written down from there.
TEXT = {"type": "string", "minLength": 1, "maxLength": 1024}
SCHEMA = {
    "type": "object",
    "required": ["_aws"],
    "properties": {
        "_aws": {
            "type": "object",
            "required": ["Timestamp", "CloudWatchMetrics"],
            "properties": {
                "Timestamp": {"type": "integer"},
                "CloudWatchMetrics": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["Namespace", "Dimensions", "Metrics"],
                        "properties": {
                            "Namespace": TEXT,
                            "Dimensions": {
                                "type": "array",
                                "minItems": 1,
                                "items": {
                                    "type": "array",
                                    "maxItems": 30,
                                    "items": {"type": "string", "minLength": 1, "maxLength": 250},
                                },
                            },
                            "Metrics": {
                                "type": "array",
                                "maxItems": 100,
                                "items": {
                                    "type": "object",
                                    "required": ["Name"],
                                    "properties": {
                                        "Name": TEXT,
                                        "Unit": {"enum": ["None", "Count", "Seconds", "Milliseconds", "Bytes"]},
                                    },
                                },
                            },
                        },
                    },
                },
            },
        }
    },
}

Series = tuple[str, frozenset[tuple[str, str]]]


def metrics(line: dict[str, Any]) -> dict[Series, float]:
    """What CloudWatch makes of *line*: a value for each name and set of dimensions."""
    jsonschema.validate(line, SCHEMA)
    made: dict[Series, float] = {}
    for directive in line["_aws"]["CloudWatchMetrics"]:
        assert directive["Namespace"] == "Archiver"
        for names in directive["Dimensions"]:
            dimensions = frozenset((name, line[name]) for name in names)
            assert all(isinstance(value, str) and 0 < len(value) <= 1024 for _, value in dimensions)
            for metric in directive["Metrics"]:
                value = line[metric["Name"]]
                assert isinstance(value, int | float) and not isinstance(value, bool)
                assert metric["Unit"] == UNITS[metric["Name"]]
                assert (metric["Name"], dimensions) not in made, "counted twice"
                made[metric["Name"], dimensions] = value
    return made


def of(**dimensions: str) -> frozenset[tuple[str, str]]:
    return frozenset({"Service": "zips", **dimensions}.items())


def test_a_job_is_counted_for_the_service_and_by_outcome() -> None:
    assert metrics(job_line("zips", DONE, 1_000)) == {
        ("Jobs", of()): 1,
        ("Jobs", of(Outcome="done")): 1,
        ("Duration", of()): 1.25,
        ("Duration", of(Outcome="done")): 1.25,
        ("QueueTime", of()): 0.5,
        ("QueueTime", of(Outcome="done")): 0.5,
        ("Files", of()): 3,
        ("Bytes", of()): 700,
        ("LeaseMargin", of()): 0.8,
        ("LeasesLost", of()): 0,
    }


@pytest.mark.parametrize("job", [REJECTED, RETRIED])
def test_rejections_and_retries_are_counted_by_code(job: JobResult) -> None:
    made = metrics(job_line("zips", job, 1_000))

    assert made["Jobs", of(Outcome=job.outcome, Code=job.code)] == 1
    assert ("Files", of()) not in made


def test_bytes_are_told_apart_where_a_strategy_is_named() -> None:
    """Elsewhere there is no such metric: CloudWatch has a price for each."""
    plain, copied = (metrics(job_line("zips", job, 1_000)) for job in (DONE, COPIED))

    assert {name for name, _ in copied} - {name for name, _ in plain} == {"BytesCopied", "BytesStreamed"}
    assert (copied["BytesCopied", of()], copied["BytesStreamed", of()]) == (800, 100)


def test_a_lease_that_was_lost_is_counted() -> None:
    assert metrics(job_line("zips", LOST, 1_000))["LeasesLost", of()] == 1


def test_the_process_is_told_as_it_stands() -> None:
    process, *resumed = process_lines("zips", STANDING, {"throttled": 2, "interrupted": 0}, 1_000)

    assert metrics(process) == {
        ("Running", of()): 2,
        ("Parked", of()): 3,
        ("OpenParts", of()): 5,
        ("Memory", of()): 90_000_000,
        ("Paused", of()): 0,
        ("Resumes", of()): 2,
    }
    assert [metrics(line) for line in resumed] == [{("Resumes", of(Code="throttled")): 2}]


def test_every_metric_is_emitted_and_none_has_no_unit() -> None:
    lines = [job_line("zips", COPIED, 1), *process_lines("zips", STANDING, STANDING.resumes, 1)]

    assert {name for line in lines for name, _ in metrics(line)} == set(UNITS)


def test_resumed_reads_are_told_once() -> None:
    lines: list[str] = []
    snapshot = ProcessSnapshot(resumes={"throttled": 3})
    emf = Emf("zips", lines.append, lambda: snapshot)
    emf.write_process_lines()
    snapshot = ProcessSnapshot(resumes={"throttled": 4})
    emf.write_process_lines()

    told = [json.loads(line)["Resumes"] for line in lines if "Code" not in line]
    assert told == [3, 1]


def test_a_line_is_one_line() -> None:
    lines: list[str] = []
    Emf("zips\n", lines.append, ProcessSnapshot).ended(DONE)

    (line,) = lines
    assert line.endswith("\n") and line.count("\n") == 1
