"""The credentials and the region that a DSN gives to the clients of a command."""

from pathlib import Path

import pytest
from botocore import UNSIGNED
from emulator import EmulatedAws

from archiver.aws.dsn_session import open_access
from archiver.core.dsn import parse_dsn
from archiver.errors import ConfigurationError

FILE = "[default]\naws_access_key_id=D\naws_secret_access_key=d\n[work]\naws_access_key_id=W\naws_secret_access_key=w\n"


async def key_of(credentials: str) -> tuple[str, str, str | None]:
    """The keys that requests of the DSN are signed with."""
    access = open_access(parse_dsn(f"region=us-west-2 credentials={credentials}"))
    assert access.session.region_name == "us-west-2"
    found = await access.session.get_credentials()
    frozen = await found.get_frozen_credentials()
    return frozen.access_key, frozen.secret_key, frozen.token


async def test_keys_of_a_dsn_win_over_those_of_the_environment() -> None:
    assert await key_of("static:AKIA:secret") == ("AKIA", "secret", None)
    assert await key_of("static:ASIA:secret:token") == ("ASIA", "secret", "token")


async def test_env_takes_the_variables_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await key_of("env:") == ("testing", "testing", None)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    assert await key_of("") == ("testing", "testing", "token")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(ConfigurationError, match="credentials=env: needs AWS_ACCESS_KEY_ID: set it"):
        await key_of("env:")


async def test_iam_is_the_sdks_own_chain() -> None:
    assert await key_of("iam:") == ("testing", "testing", None)


async def test_a_profile_wins_over_the_variables_and_may_have_a_file_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keys").write_text(FILE)
    assert await key_of(f"{tmp_path}/keys:work") == ("W", "w", None)

    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "keys"))
    assert await key_of("work") == ("W", "w", None)


async def test_a_profile_or_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(FILE)

    with pytest.raises(ConfigurationError, match="has no profile none"):
        await key_of("none")
    with pytest.raises(ConfigurationError, match=rf"{tmp_path}/keys has no profile none"):
        await key_of(f"{tmp_path}/keys:none")
    with pytest.raises(ConfigurationError, match="there is no file /nowhere/keys"):
        await key_of("/nowhere/keys:work")


async def test_a_file_that_is_no_file_of_credentials_is_told(tmp_path: Path) -> None:
    for name, content in (("words", b"these are no keys"), ("bytes", b"\xff\xfe\x00[")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigurationError, match=f"credentials={tmp_path}/{name}: Unable to parse config file"):
            await key_of(f"{tmp_path}/{name}:work")


async def test_a_role_is_assumed_at_first_use(aws: EmulatedAws) -> None:
    access = open_access(parse_dsn("region=eu-west-1 credentials=sts:arn:aws:iam::210987654321:role/runner"))

    async with access.client("sts", read=10) as sts:
        identity = await sts.get_caller_identity()
    assert identity["Arn"] == "arn:aws:sts::210987654321:assumed-role/runner/archiver"


async def test_anonymous_requests_are_not_signed(aws: EmulatedAws) -> None:
    access = open_access(parse_dsn("region=eu-west-1 credentials=anon:"))

    async with access.client("sts", read=10) as sts:
        assert sts.meta.config.signature_version is UNSIGNED


async def test_without_a_dsn_the_environment_says_it_all() -> None:
    access = open_access(None)

    async with access.client("ecs", read=10, region="us-east-2") as ecs:
        assert ecs.meta.region_name == "us-east-2"
