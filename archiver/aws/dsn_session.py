"""AWS sessions for DSNs: region and credentials of one command, instead of those of the environment."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiobotocore.credentials import AioDeferredRefreshableCredentials
from aiobotocore.session import AioSession
from botocore import UNSIGNED
from botocore.exceptions import ConfigParseError, ProfileNotFound

from archiver.aws.error_mapping import DENIED, error_map, map_errors
from archiver.aws.session import (
    Session,
    client_config,
    credential_errors,
    environment_errors,
    find_ca_bundle,
    new_session,
)
from archiver.core.dsn import Credentials, Dsn
from archiver.errors import ConfigurationError

_SESSION_NAME = "archiver"


@dataclass(frozen=True, slots=True)
class Access:
    """How a command calls AWS. *signing*: of its clients' configuration."""

    session: Session
    signing: dict[str, Any] = field(default_factory=dict)

    @asynccontextmanager
    async def client(
        self, service: str, *, read: float, attempts: int = 3, region: str | None = None, **more: Any
    ) -> AsyncIterator[Any]:
        """
        Open a client of *service*, whose calls have *read* seconds each. *region*: another one than the session's;
        *more*: of its configuration. Raises ConfigurationError, CredentialsError.
        """
        async with AsyncExitStack() as stack:
            with credential_errors():
                config = client_config(read, attempts=attempts, pool=4, **self.signing, **more)
                opening: Any = self.session.client(service, config=config, region_name=region)
                client = await stack.enter_async_context(opening)
            yield client


def open_access(dsn: Dsn | None) -> Access:
    """
    Return the access that *dsn* describes; None: that of the environment. Nothing is called. Raises
    ConfigurationError.
    """
    if dsn is None:
        return Access(new_session(AioSession()))
    given = dsn.credentials
    core = _profile_session(given) if given.kind == "profile" else AioSession()
    keys: dict[str, Any] = {}
    if given.kind == "static":
        keys = _keys(given.key_id, given.secret, given.token)
    elif given.kind == "environment":
        keys = _environment_keys()
    elif given.kind == "role":
        core._credentials = _role_credentials(given.name, dsn.region)  # type: ignore[attr-defined]  # noqa: SLF001
    with environment_errors():
        core.set_config_variable("ca_bundle", find_ca_bundle(core)[1])
        session = Session(region_name=dsn.region, botocore_session=core, **keys)
    return Access(session, {"signature_version": UNSIGNED} if given.kind == "anonymous" else {})


def _profile_session(given: Credentials) -> AioSession:
    core = AioSession(profile=given.name)
    if given.file:
        if not Path(given.file).expanduser().is_file():
            raise ConfigurationError(f"credentials={given.file}:{given.name}: there is no file {given.file}")
        core.set_config_variable("credentials_file", given.file)
    try:
        core.get_scoped_config()
    except ProfileNotFound:
        where = given.file or "the SDK's files (~/.aws/credentials, ~/.aws/config)"
        raise ConfigurationError(f"credentials: {where} has no profile {given.name}") from None
    except (ConfigParseError, OSError) as error:  # of that file, or of the SDK's own, which are read with it
        raise ConfigurationError(f"credentials={given.file or given.name}: {error}") from None
    return core


def _environment_keys() -> dict[str, str]:
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    absent = [name for name in names if not os.environ.get(name)]
    if absent:
        raise ConfigurationError(f"credentials=env: needs {' and '.join(absent)}: set it, or write credentials=iam:")
    return _keys(os.environ[names[0]], os.environ[names[1]], os.environ.get("AWS_SESSION_TOKEN", ""))


def _keys(key_id: str, secret: str, token: str) -> dict[str, str]:
    keys = {"aws_access_key_id": key_id, "aws_secret_access_key": secret}
    return {**keys, "aws_session_token": token} if token else keys


def _role_credentials(arn: str, region: str) -> AioDeferredRefreshableCredentials:
    """Return credentials of *arn*, which the SDK's own chain assumes at first use, and again before they expire."""
    own = AioSession()

    async def assume() -> dict[str, str]:
        access = Access(Session(region_name=region, botocore_session=own))
        async with access.client("sts", read=10) as sts:
            with map_errors(f"AssumeRole {arn}", error_map(ConfigurationError, DENIED), ConfigurationError):
                given = (await sts.assume_role(RoleArn=arn, RoleSessionName=_SESSION_NAME))["Credentials"]
        expires: datetime = given["Expiration"]
        return {
            "access_key": given["AccessKeyId"],
            "secret_key": given["SecretAccessKey"],
            "token": given["SessionToken"],
            "expiry_time": expires.astimezone(UTC).isoformat(),
        }

    with environment_errors():
        own.set_config_variable("ca_bundle", find_ca_bundle(own)[1])
    return AioDeferredRefreshableCredentials(assume, "sts-assume-role")
