"""A server with hand-made answers of STS and S3, and readers of roles at it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import pytest
from aiobotocore.session import AioSession
from aws.s3_reader_fixtures import FakeSession
from certificates import shared_trust
from http_client.scripted_server import Script, ScriptedServer, make_response, serve_scripts

from archiver.aws.endpoint import Endpoint
from archiver.aws.roles import RoleReaders, open_roles
from archiver.aws.s3_read import S3Reader
from archiver.aws.s3_transport import TransportConfig
from archiver.aws.session import Session, new_session
from archiver.core.locations import AllowList, Role

_NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"


def credentials_response(key: str = "ASIAROLE", *, expires: datetime) -> bytes:
    """STS's answer to AssumeRole."""
    xml = (
        f'<AssumeRoleResponse xmlns="{_NAMESPACE}"><AssumeRoleResult><Credentials><AccessKeyId>{key}</AccessKeyId>'
        f"<SecretAccessKey>SECRET-{key}</SecretAccessKey><SessionToken>TOKEN-{key}</SessionToken>"
        f"<Expiration>{expires:%Y-%m-%dT%H:%M:%SZ}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
    )
    return make_response("200 OK", xml.encode(), "Content-Type: text/xml")


def sts_error(status: str, code: str, message: str = "so") -> bytes:
    xml = (
        f'<ErrorResponse xmlns="{_NAMESPACE}"><Error><Type>Sender</Type><Code>{code}</Code>'
        f"<Message>{message}</Message></Error></ErrorResponse>"
    )
    return make_response(status, xml.encode(), "Content-Type: text/xml")


@dataclass
class RolesEnv:
    """*sts* gives the roles' credentials, *s3* the objects."""

    sts: ScriptedServer
    s3: ScriptedServer
    readers: RoleReaders
    session: Session

    @property
    def keys(self) -> list[str]:
        """The access key of each request to S3."""
        return [request.decode().partition("Credential=")[2].partition("/")[0] for request in self.s3.requests]


@asynccontextmanager
async def open_role_readers(
    monkeypatch: pytest.MonkeyPatch, roles: Mapping[str, str | None], *sts: Script, s3: tuple[Script, ...] = ([],)
) -> AsyncIterator[RolesEnv]:
    """*roles*: the external ids of roles, by ARN."""
    async with serve_scripts(*sts) as sts_server, serve_scripts(*s3) as s3_server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts_server.url)
        monkeypatch.setenv("AWS_CA_BUNDLE", shared_trust().bundle)
        config = TransportConfig(ca_bundle=shared_trust().bundle)
        own = S3Reader(FakeSession(), Endpoint(s3_server.url, "us-east-1"), config)
        listed = {arn: Role(AllowList("", {}), external_id) for arn, external_id in roles.items()}
        try:
            session = new_session(AioSession())
            yield RolesEnv(sts_server, s3_server, open_roles(session, own, listed), session)
        finally:
            await own.close()
