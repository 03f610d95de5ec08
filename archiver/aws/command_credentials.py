"""Credentials for commands that ask for them, as the variables that every AWS SDK reads, and nothing besides."""

import os
from collections.abc import Mapping
from functools import partial

from archiver.aws.roles import assume_role
from archiver.aws.session import Session, configured_region, credential_errors
from archiver.core.commands import CommandCredentials
from archiver.core.locations import Role
from archiver.core.profiles import Profile
from archiver.errors import ConfigurationError

PASSED_ON = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_CA_BUNDLE")
"""Of the worker's own variables: where AWS is, and whom to trust there. None is a secret."""


class CredentialVariables:
    """
    The credentials of commands: the worker's own, of *session*; those of a role, with the external id of *roles*; or
    those of *profiles*. They are given once, for at most an hour where they are a role's: no command can renew them.
    """

    def __init__(self, session: Session, profiles: Mapping[str, Profile], roles: Mapping[str, Role]) -> None:
        self._session = session
        self._profiles = profiles
        self._roles = roles

    async def of(self, credentials: CommandCredentials) -> Mapping[str, str]:
        """
        Return the variables. Raises ConfigurationError if there are none, or the role can't be assumed; TransientError.
        """
        region = configured_region() or self._session.region_name
        common = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        if region:
            common |= {"AWS_REGION": region, "AWS_DEFAULT_REGION": region}
        if credentials.profile is not None:
            return {**common, **self._profiles[credentials.profile].variables}
        if credentials.role_arn is not None:
            return common | await self._of_role(credentials.role_arn)
        return common | await self._own()

    async def _of_role(self, arn: str) -> dict[str, str]:
        role = self._roles.get(arn)
        refused = partial(_refused, arn)
        assumed = await assume_role(self._session, arn, role.external_id if role else None, refused)
        return _variables(assumed.access_key, assumed.secret_key, assumed.token)

    async def _own(self) -> dict[str, str]:
        with credential_errors():
            found = await self._session.get_credentials()
            frozen = await found.get_frozen_credentials() if found else None
        if frozen is None:
            raise ConfigurationError("the worker has no credentials to give to a command with `aws = true`")
        return _variables(frozen.access_key, frozen.secret_key, frozen.token)


def _variables(key: str, secret: str, token: str | None) -> dict[str, str]:
    session = {"AWS_SESSION_TOKEN": token} if token else {}
    return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, **session}


def _refused(arn: str, text: str) -> ConfigurationError:
    return ConfigurationError(f"the role {arn} of a command can't be assumed: {text}")
