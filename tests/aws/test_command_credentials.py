"""The variables that a command with `aws = true` gets: of the worker, of a role, or of a profile; nothing besides."""

import pytest
from aws.sts_responses import open_role_readers, sts_error
from emulator import EmulatedAws

from archiver.app import open_aws
from archiver.aws.clients import ClientLimits
from archiver.aws.command_credentials import CredentialVariables
from archiver.core.commands import CommandCredentials
from archiver.core.locations import AllowList, Role
from archiver.core.profiles import parse_profiles
from archiver.errors import ConfigurationError

ROLE = "arn:aws:iam::210987654321:role/jobs"


async def test_a_command_gets_the_workers_own_credentials_where_nothing_else_is_said(
    aws: EmulatedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    monkeypatch.setenv("AWS_CA_BUNDLE", "")
    monkeypatch.setenv("SOME_SECRET", "hush")
    async with open_aws(ClientLimits()) as (clients, _):
        variables = await CredentialVariables(clients.session, {}, {}).of(CommandCredentials())

    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_SESSION_TOKEN": "token"}
    assert {name: variables[name] for name in keys} == keys
    places = {name for name in variables if name.startswith(("AWS_ENDPOINT_URL", "AWS_CA_", "AWS_REGION", "AWS_DEF"))}
    assert set(variables) == {*keys, *places}


async def test_a_command_gets_the_credentials_of_its_role_and_no_others(aws: EmulatedAws) -> None:
    async with open_aws(ClientLimits()) as (clients, _):
        asked: list[object] = []
        clients.session._session.get_component("event_emitter").register(
            "before-parameter-build.sts.AssumeRole", lambda params, **_: asked.append(params.get("ExternalId"))
        )
        roles = {ROLE: Role(AllowList("", {}), "7f21")}
        variables = await CredentialVariables(clients.session, {}, roles).of(CommandCredentials(ROLE))
        other = await CredentialVariables(clients.session, {}, {}).of(CommandCredentials(ROLE))

    assert asked == ["7f21", None]
    assert variables["AWS_ACCESS_KEY_ID"].startswith("ASIA") and variables["AWS_SESSION_TOKEN"]
    assert "testing" not in (variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"])
    assert variables["AWS_ACCESS_KEY_ID"] != other["AWS_ACCESS_KEY_ID"]


async def test_a_command_gets_the_credentials_of_its_profile_and_its_region(aws: EmulatedAws) -> None:
    profiles = parse_profiles("media;AKID;hush;ap-south-1")
    async with open_aws(ClientLimits()) as (clients, _):
        variables = await CredentialVariables(clients.session, profiles, {}).of(CommandCredentials(profile="media"))

    assert (variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"]) == ("AKID", "hush")
    assert variables["AWS_DEFAULT_REGION"] == "ap-south-1"
    assert "AWS_SESSION_TOKEN" not in variables


async def test_a_role_that_can_not_be_assumed_is_the_operators_to_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_role_readers(monkeypatch, {ROLE: None}, [sts_error("403 Forbidden", "AccessDenied", "no")]) as env:
        with pytest.raises(ConfigurationError, match=f"the role {ROLE} of a command can't be assumed"):
            await CredentialVariables(env.session, {}, {}).of(CommandCredentials(ROLE))


class Nobody:
    """A session without credentials."""

    region_name = "us-east-1"

    async def get_credentials(self) -> None:
        return None


async def test_a_worker_without_credentials_has_none_to_give() -> None:
    with pytest.raises(ConfigurationError, match="no credentials to give"):
        await CredentialVariables(Nobody(), {}, {}).of(CommandCredentials())
