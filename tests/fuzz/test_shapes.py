"""Whatever a stranger writes into a message costs little, is settled in short words, and breaks nothing."""

import asyncio
from collections.abc import Iterator
from cProfile import Profile
from datetime import UTC, datetime
from typing import get_args

import pytest
import structlog

from archiver.core.archive_rules import ArchiveRules
from archiver.core.dialects.native import failure_answer, parse_request, read_echoed_fields
from archiver.core.draft import draft_archive
from archiver.core.locations import AllowList
from archiver.core.plan import summarize
from archiver.errors import Code, Rejected
from fuzz.measure import LARGEST, MIB, cost_of, line_of, measure
from fuzz.shapes import SHAPES

SMALL = 64 * 1024
WORST = (
    "destination of marks",
    "archive_name of blanks and dots",
    "files of zeros",
    "one object as often as can be",
    "one object, refused as duplicate",
    "missing objects",
    "metadata 90 levels deep",
    "metadata of small objects",
)


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_a_body_of_any_shape_is_settled_and_little_is_said_of_it(shape: str) -> None:
    cost = asyncio.run(measure(shape, SMALL))

    assert cost.outcome in {"done", *get_args(Code)} - {"internal", "retries_exhausted"}
    assert cost.told < 16 * 1024  # twenty problems, each with the beginning of a name


@pytest.mark.parametrize(
    "shape", [pytest.param(shape, marks=[pytest.mark.slow] * (number % 2)) for number, shape in enumerate(SHAPES)]
)
def test_reading_a_body_twice_as_long_takes_no_more_than_twice_the_steps(shape: str) -> None:
    once, twice = steps_of(SHAPES[shape](SMALL // 2)), steps_of(SHAPES[shape](SMALL))

    assert twice < 2.2 * once + 1_000


def steps_of(body: str) -> int:
    """How many functions are called to read *body*, Python's and C's, and to answer it."""
    profile = Profile()
    profile.runcall(read, body)
    return sum(entry.callcount for entry in profile.getstats())


def read(body: str) -> None:
    told = read_echoed_fields(body)
    try:
        draft = draft_archive(
            parse_request(body),
            ArchiveRules("source", "archives", AllowList("archives")),
            datetime(2026, 11, 28, tzinfo=UTC),
        )
    except Rejected as rejected:
        failure_answer(told, rejected, MIB)
        return
    summarize(draft, ())


@pytest.mark.slow
@pytest.mark.parametrize("shape", WORST)
def test_a_message_of_the_greatest_size_takes_little_memory(shape: str) -> None:
    cost = cost_of(shape, MIB)

    print(line_of(cost))
    assert cost.memory < LARGEST
