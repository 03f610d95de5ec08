"""The contract of Roles, on the fake and on STS."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from aws.sts_responses import credentials_response, open_role_readers, sts_error
from fakes import FakeRoles

from archiver.errors import SourceUnavailable
from archiver.ports import Roles

GIVEN, REFUSED = "arn:aws:iam::210987654321:role/given", "arn:aws:iam::210987654321:role/refused"


@pytest.fixture(params=["fake", "sts"])
async def roles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Roles]:
    if request.param == "fake":
        yield FakeRoles(REFUSED)
        return
    given = credentials_response(expires=datetime(2100, 1, 1, tzinfo=UTC))
    denied = sts_error("403 Forbidden", "AccessDenied")
    async with open_role_readers(monkeypatch, {GIVEN: None, REFUSED: None}, [given], [denied]) as env:
        yield env.readers


async def test_a_role_that_is_given_can_be_assumed_and_another_is_source_denied(roles: Roles) -> None:
    await roles.assume(GIVEN)
    with pytest.raises(SourceUnavailable) as caught:
        await roles.assume(REFUSED)
    assert caught.value.code == "source_denied"
    assert REFUSED in caught.value.detail


async def test_refusals_are_new_each_time(roles: Roles) -> None:
    """Whoever gets one adds its location."""
    await roles.assume(GIVEN)
    for _ in range(2):
        with pytest.raises(SourceUnavailable) as caught:
            await roles.assume(REFUSED)
        assert caught.value.location is None
        caught.value.location = "mine"
