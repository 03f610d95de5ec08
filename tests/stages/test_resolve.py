"""All objects are asked for side by side, and each has an answer of its own."""

import pytest

from archiver.core.locations import Location
from archiver.core.objects import ObjectInfo
from archiver.core.plan import ObjectVersion
from archiver.errors import ConfigurationError, CredentialsRefused, SourceUnavailable, TransientError
from archiver.stages.credential_check import CredentialCheck
from archiver.stages.resolve import head_objects, probe_objects
from stages.builders import StageEnv


async def test_one_named_twice_is_asked_for_once_and_what_is_missing_is_an_answer() -> None:
    stage = StageEnv()
    there, gone = stage.s3.put("source", "a", b"a"), Location("source", "gone")

    found = await head_objects([there, gone, there], stage.fetcher, CredentialCheck(None))

    assert isinstance(found[there], ObjectInfo)
    assert isinstance(found[gone], SourceUnavailable)
    assert stage.reader.faults.calls["head"] == 3  # what is missing is asked for again, with patience


async def test_a_probe_reads_one_byte_of_each_version_and_tells_what_may_not_be_read() -> None:
    stage = StageEnv()
    pins = {}
    for key in ("read", "denied", "changed", "gone"):
        location = stage.s3.put("source", key, key.encode())
        pins[key] = ObjectVersion(location, stage.s3.objects[location].etag)
    stage.s3.make_unavailable(pins["denied"].location, "source_denied", head_succeeds=True)
    stage.s3.put("source", "changed", b"other")
    del stage.s3.objects[pins["gone"].location]

    answers = await probe_objects(pins.values(), stage.fetcher, CredentialCheck(None))

    assert isinstance(answers.pop(pins["denied"]), SourceUnavailable)
    assert answers == {pins["read"]: True, pins["changed"]: False, pins["gone"]: False}
    assert {(start, length) for _, start, length in stage.reader.reads} == {(0, 1)}


async def test_nothing_to_ask_for_is_no_error() -> None:
    assert await head_objects([], StageEnv().fetcher, CredentialCheck(None)) == {}


@pytest.mark.parametrize(
    "error", [TransientError("500"), CredentialsRefused("InvalidToken"), ConfigurationError("no keys")]
)
async def test_what_is_no_verdict_on_an_object_ends_the_asking(error: Exception) -> None:
    stage = StageEnv()
    location = stage.s3.put("source", "a", b"a")
    stage.reader.faults.plan("head", error, times=0)

    with pytest.raises(type(error)) as caught:
        await head_objects([location], stage.fetcher, CredentialCheck(None))

    assert caught.value is error
