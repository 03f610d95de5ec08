"""Profiles that commands name are there at the start."""

import pytest

from archiver.core.commands import Command, CommandCredentials
from archiver.doors.profiles import profiles_of
from archiver.settings import SettingsError, load_environment

GIVEN = load_environment({"AWS_PROFILES_CREDENTIALS": "media;AKID;hush;eu-west-1"})


def command(name: str, credentials: CommandCredentials | None) -> Command:
    return Command(name, (("true",),), credentials=credentials)


def test_a_command_finds_the_credentials_of_its_profile() -> None:
    commands = {"copy": command("copy", CommandCredentials(profile="media")), "other": command("other", None)}

    assert profiles_of(GIVEN, commands)["media"].variables["AWS_SECRET_ACCESS_KEY"] == "hush"
    assert profiles_of(load_environment({}), {"own": command("own", CommandCredentials())}) == {}


@pytest.mark.parametrize("settings", [GIVEN, load_environment({})], ids=["another is there", "none is there"])
def test_a_profile_that_is_not_there_stops_the_start(settings: object) -> None:
    with pytest.raises(SettingsError) as caught:
        profiles_of(settings, {"copy": command("copy", CommandCredentials(profile="archive"))})  # type: ignore[arg-type]

    assert caught.value.problems == [
        "POLICY_FILE: [commands.copy] profile: AWS_PROFILES_CREDENTIALS has no such profile"
    ]
