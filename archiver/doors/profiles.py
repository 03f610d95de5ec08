"""AWS_PROFILES_CREDENTIALS, for the commands that name a profile."""

from collections.abc import Mapping

from archiver.core.commands import Command
from archiver.core.profiles import Profile, parse_profiles
from archiver.settings import Environment, SettingsError


def profiles_of(settings: Environment, commands: Mapping[str, Command]) -> dict[str, Profile]:
    """
    Return the credentials of all profiles, by name; `Profile.variables` gives them to a program. Raises SettingsError
    with a line for each of *commands* whose profile is not there.
    """
    text = settings.profiles_credentials
    profiles = parse_profiles(text.get_secret_value()) if text else {}
    problems = [
        f"POLICY_FILE: [commands.{name}] profile: AWS_PROFILES_CREDENTIALS has no such profile"
        for name, command in commands.items()
        if command.credentials and command.credentials.profile and command.credentials.profile not in profiles
    ]
    if problems:
        raise SettingsError(problems)
    return profiles
