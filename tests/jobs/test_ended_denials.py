"""A denial that ends before another object is read is nobody's: what was denied is asked for again."""

import json
from collections.abc import Callable

import pytest
from fakes import FakeHold
from worker.pipeline_env import PipelineEnv

from archiver.core.locations import Location
from archiver.core.objects import ObjectInfo
from archiver.core.select import Prefix
from archiver.errors import ConfigurationError, Rejected, SourceUnavailable, TransientError


class Outage:
    """All reads of the source bucket by *verbs* are denied, until `ends` says so of a location that is asked for."""

    def __init__(self, env: PipelineEnv, ends: Callable[[Location], bool], *, heads: bool = True) -> None:
        reader, self.ends, self.over, self.denied = env.stage.reader, ends, False, list[Location]()
        head = reader.head

        async def denied_head(location: Location) -> ObjectInfo:
            if heads:
                self.ask(location)
            return await head(location)

        reader.head = denied_head  # type: ignore[method-assign]
        reader.on_read = lambda location, _offset: self.ask(location)
        reader.on_list = lambda prefix, _token: self.ask(prefix.location)

    def ask(self, location: Location) -> None:
        self.over = self.over or self.ends(location)
        if location.bucket == "source" and not self.over:
            self.denied.append(location)
            raise SourceUnavailable("source_denied", "S3 answered 403")


def env_with(*keys: str) -> PipelineEnv:
    env = PipelineEnv()
    for key in keys:
        env.stage.s3.put("source", key, key.encode() * 100)
    return env


@pytest.mark.parametrize("on_missing", ["fail", "skip"])
async def test_heads_that_were_denied_until_one_was_answered_are_asked_again(on_missing: str) -> None:
    env = env_with("a", "b", "c")
    outage = Outage(env, lambda location: location.key == "c")
    env.stage.limiter.limit = 1.0

    done = await env.run("a", "b", "c", on_missing=on_missing)

    assert outage.denied
    assert done.status == "succeeded"
    assert list(env.archive()) == ["a", "b", "c"]


@pytest.mark.parametrize("on_missing", ["fail", "skip"])
@pytest.mark.parametrize("heads", [True, False], ids=["everything", "decryption"])
async def test_a_job_is_done_when_a_denial_ends_before_what_was_read_before_is_asked_for(
    heads: bool, on_missing: str
) -> None:
    """Everything that the job asks for is denied, and what another one read before can be read again."""
    env = env_with("before", "a", "b")
    await env.run("before")
    outage = Outage(env, lambda location: location.key == "before", heads=heads)

    done = await env.run("a", "b", on_missing=on_missing)

    assert {location.key for location in outage.denied} == {"a", "b"}
    assert done.status == "succeeded"
    assert env.answer["archive"]["files"] == 2


async def test_what_is_denied_still_is_the_requests() -> None:
    env = env_with("before", "a", "b")
    await env.run("before")
    Outage(env, lambda location: location.key == "before")
    env.stage.s3.make_unavailable(Location("source", "b"), "source_denied")

    with pytest.raises(Rejected) as caught:
        await env.run("a", "b")

    assert [(one.source, one.code) for one in caught.value.sources] == [("b", "source_denied")]


async def test_a_listing_that_is_not_denied_any_more_is_no_verdict() -> None:
    env = env_with("before", "p/a")
    await env.run("before")
    outage = Outage(env, lambda location: location.key == "before")

    with pytest.raises(ConfigurationError, match="listing s3://source/p/ was denied, and is not any more"):
        await env.run(files=[{"prefix": "p/"}])

    assert outage.denied == [Location("source", "p/")]
    assert (await env.run(files=[{"prefix": "p/"}])).status == "succeeded"


async def test_a_listing_that_is_denied_still_is_the_requests() -> None:
    env = env_with("before", "p/a")
    await env.run("before")

    async def denied(prefix: Prefix, token: str = "") -> object:
        del token
        raise SourceUnavailable("source_denied", f"{prefix.location} may not be listed")

    env.stage.reader.list = denied  # type: ignore[method-assign, assignment]
    with pytest.raises(Rejected, match="source_denied"):
        await env.run(files=[{"prefix": "p/"}])


@pytest.mark.parametrize(("heads", "expected"), [(True, ConfigurationError), (False, TransientError)])
async def test_a_manifest_that_is_not_denied_any_more_is_no_verdict(
    heads: bool, expected: type[ConfigurationError] | type[TransientError]
) -> None:
    env = env_with("before", "a")
    env.stage.s3.put("source", "m.jsonl", json.dumps({"source": "a"}).encode())
    await env.run("before")
    outage = Outage(env, lambda location: location.key == "before", heads=heads)
    message = await env.message(manifest="m.jsonl")

    with pytest.raises(expected, match="not denied any more"):
        await env.pipeline.run(message, FakeHold())

    assert {location.key for location in outage.denied} == {"m.jsonl"}
    assert (await env.pipeline.run(message, FakeHold())).status == "succeeded"
