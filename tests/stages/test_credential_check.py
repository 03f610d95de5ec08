"""Whose fault refused credentials are."""

import asyncio

import pytest
from fakes import FakeS3, FakeStore

from archiver.core.locations import Location
from archiver.errors import ConfigurationError, CredentialsRefused, TransientError
from archiver.ports import ObjectStore, StoredArchive
from archiver.stages.credential_check import CredentialCheck

ABROAD = Location("abroad", "a.jpg")


def refusal() -> CredentialsRefused:
    error = CredentialsRefused("S3 refuses our credentials: InvalidToken", "InvalidToken")
    error.location = ABROAD
    return error


async def test_a_source_that_refuses_what_the_destination_takes_is_denied() -> None:
    verdict = await CredentialCheck(FakeStore(FakeS3())).as_denial(refusal())

    assert verdict.code == "source_denied"
    assert "InvalidToken" in verdict.detail
    assert verdict.location == ABROAD


@pytest.mark.parametrize("error", [ConfigurationError("InvalidToken"), TransientError("no connection")])
async def test_where_the_destination_refuses_too_or_cannot_be_asked_it_is_ours_to_mend(error: Exception) -> None:
    store = FakeStore(FakeS3())
    store.faults.plan("find", error)
    refused = refusal()

    with pytest.raises(CredentialsRefused) as caught:
        await CredentialCheck(store).as_denial(refused)

    assert caught.value is refused


async def test_where_there_is_no_destination_to_ask_it_is_ours_to_mend() -> None:
    with pytest.raises(CredentialsRefused):
        await CredentialCheck(None).as_denial(refusal())


async def test_one_look_serves_all_who_wait_for_it() -> None:
    """The first look began before the others asked: they share the second."""
    store = FakeStore(FakeS3())
    check = CredentialCheck(store)

    verdicts = await asyncio.gather(*(check.as_denial(refusal()) for _ in range(100)))

    assert {verdict.code for verdict in verdicts} == {"source_denied"}
    assert store.faults.calls["find"] <= 2


async def test_a_look_from_before_the_refusal_proves_nothing() -> None:
    """Keys that are withdrawn would else reject every message, for as long as an old look is believed."""
    store = FakeStore(FakeS3())
    check = CredentialCheck(store)
    await check.as_denial(refusal())
    store.faults.plan("find", ConfigurationError("InvalidAccessKeyId"), times=0)

    with pytest.raises(CredentialsRefused):
        await check.as_denial(refusal())


async def test_a_look_that_is_under_way_when_the_refusal_comes_proves_nothing_either() -> None:
    store = FakeStore(FakeS3())
    find = store.find
    looking, go_on = asyncio.Event(), asyncio.Event()

    async def slow(key: str) -> StoredArchive | None:
        found = await find(key)
        looking.set()
        await go_on.wait()
        return found

    store.find = slow  # type: ignore[method-assign]
    seam: ObjectStore = store
    check = CredentialCheck(seam)
    first = asyncio.create_task(check.as_denial(refusal()))
    await looking.wait()
    store.find = find  # type: ignore[method-assign]
    store.faults.plan("find", ConfigurationError("InvalidAccessKeyId"), times=0)
    second = asyncio.create_task(check.as_denial(refusal()))
    await asyncio.sleep(0)
    go_on.set()

    assert (await first).code == "source_denied"
    with pytest.raises(CredentialsRefused):
        await second
