"""The requests of docs/message.md that select objects, each run in memory."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from docs.blocks import every_block
from fakes import FakeHold
from worker.pipeline_env import PipelineEnv

from archiver.core.locations import Location

PAGE = Path(__file__).parents[2] / "docs" / "message.md"
SIZES = {"a.txt": 10, "b.txt.bak": 10, "c.jpg": 10, "empty.txt": 0, "large.txt": 2000, "deep/": 0, "deep/d.txt": 10}
RESULTS: list[list[str]] = [
    [
        *("a.txt", "b.txt.bak", "c.jpg", "deep/", "deep/d.txt", "empty.txt", "for/you/to fill/", "large.txt"),
        "letters/",
    ],
    ["README.txt", "cover.jpg", "texts/a.txt", "texts/large.txt"],
    ["a.txt", "empty.txt", "large.txt"],
    ["a.txt", "empty.txt", "large.txt"],  # a ping: they are found, and not archived
    ["a.txt"],
    ["a.txt", "b.txt.bak", "c.jpg", "empty.txt", "large.txt"],
    ["a-done.txt", "empty-done.txt", "large-done.txt"],
    [],
]


def examples() -> list[dict[str, Any]]:
    blocks = [block for block in every_block() if block.page == PAGE and block.language == "json"]
    return [json.loads(block.text) for block in blocks if '"prefix"' in block.text]


@pytest.mark.parametrize(("request_", "result"), list(zip(examples(), RESULTS, strict=True)))
async def test_an_example_of_the_page_selects_what_it_should(request_: dict[str, Any], result: list[str]) -> None:
    env = PipelineEnv()
    for name, size in SIZES.items():
        for bucket in ("some-bucket", "partner-bucket"):
            env.stage.s3.put(bucket, f"src/{name}", b"x" * size)
    env.stage.s3.put("some-bucket", "templates/letters/", b"")
    env.stage.s3.put("foobar", "cover.jpg", b"jpg")
    modified = env.stage.s3.objects[Location("foobar", "cover.jpg")].modified
    message = await env.message(**request_)

    done = await env.pipeline.run(replace(message, sent_at=modified + timedelta(seconds=120)), FakeHold())

    if request_.get("test"):
        assert (done.status, env.answer["accepted"], env.answer["found"]) == ("alive", True, len(result))
        return
    assert done.status == ("succeeded" if result else "skipped")
    assert (sorted(env.archive()) if result else []) == result
