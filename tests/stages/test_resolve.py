"""All objects are asked for side by side, and each has an answer of its own."""

import pytest

from archiver.core.locations import Location
from archiver.core.plan import ObjectInfo, Pinned
from archiver.errors import ConfigurationFault, CredentialsRefused, SourceUnavailable, Temporary
from archiver.stages.judge import Judge
from archiver.stages.resolve import probe, resolve
from stages.builders import Stage


async def test_one_named_twice_is_asked_for_once_and_what_is_missing_is_an_answer() -> None:
    stage = Stage()
    there, gone = stage.s3.put("source", "a", b"a"), Location("source", "gone")

    found = await resolve([there, gone, there], stage.fetcher, Judge(None))

    assert isinstance(found[there], ObjectInfo)
    assert isinstance(found[gone], SourceUnavailable)
    assert stage.reader.faults.calls["head"] == 2


async def test_a_probe_reads_one_byte_of_each_version_and_tells_what_may_not_be_read() -> None:
    stage = Stage()
    pins = {}
    for key in ("read", "denied", "changed", "gone"):
        location = stage.s3.put("source", key, key.encode())
        pins[key] = Pinned(location, stage.s3.blobs[location].etag)
    stage.s3.spoil(pins["denied"].location, "source_denied", unseen=True)
    stage.s3.put("source", "changed", b"other")
    del stage.s3.blobs[pins["gone"].location]

    answers = await probe(pins.values(), stage.fetcher, Judge(None))

    assert isinstance(answers.pop(pins["denied"]), SourceUnavailable)
    assert answers == {pins["read"]: True, pins["changed"]: False, pins["gone"]: False}
    assert {(start, length) for _, start, length in stage.reader.reads} == {(0, 1)}


async def test_nothing_to_ask_for_is_no_error() -> None:
    assert await resolve([], Stage().fetcher, Judge(None)) == {}


@pytest.mark.parametrize("error", [Temporary("500"), CredentialsRefused("InvalidToken"), ConfigurationFault("no keys")])
async def test_what_is_no_verdict_on_an_object_ends_the_asking(error: Exception) -> None:
    stage = Stage()
    location = stage.s3.put("source", "a", b"a")
    stage.reader.faults.plan("head", error, times=0)

    with pytest.raises(type(error)) as caught:
        await resolve([location], stage.fetcher, Judge(None))

    assert caught.value is error
