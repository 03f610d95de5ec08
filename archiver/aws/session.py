"""
What the SDK resolves from environment and profile (region, endpoint, style, trust, proxies), for its clients and ours.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast
from urllib.parse import urlsplit

import aioboto3
import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession
from botocore import UNSIGNED
from botocore.exceptions import (
    BotoCoreError,
    InvalidRegionError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)
from botocore.httpsession import get_cert_path

from archiver.aws.endpoint import Endpoint, Style
from archiver.aws.error_mapping import (
    CREDENTIAL_PROVIDER_ERRORS,
    CredentialsError,
    credentials_message,
    partial_credentials_message,
)
from archiver.aws.s3_headers import S3Headers
from archiver.aws.s3_transport import TransportConfig
from archiver.errors import ConfigurationError
from archiver.http.pool import tls_context
from archiver.http.proxy import DEFAULT_PORTS, Proxies

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

CONNECT_TIMEOUT = 5.0  # seconds


Session: TypeAlias = aioboto3.Session


@dataclass(frozen=True, slots=True)
class Network:
    """How AWS is reached, by the SDK's clients of *session* and by ours. Nobody has been asked for credentials yet."""

    session: Session
    endpoint: Endpoint
    transport_config: TransportConfig


async def open_network(headers: S3Headers | None = None) -> Network:
    """
    Read what the environment and the profile say; *headers* are what settings add to requests to S3. Raises
    ConfigurationError by the variable's name where something of it can't be carried out.
    """
    core, proxies = AioSession(), Proxies()
    session = new_session(core)
    ca_bundle = str(core.get_config_variable("ca_bundle"))
    with environment_errors():
        unsigned = AioConfig(signature_version=UNSIGNED)  # asks no provider for credentials
        async with session.client("s3", config=unsigned) as s3, session.client("sqs", config=unsigned) as sqs:
            endpoint = resolve_endpoint(s3)
            for url in (s3.meta.endpoint_url, sqs.meta.endpoint_url):
                parts = urlsplit(url)
                if parts.scheme == "https":
                    check_ca_bundle(ca_bundle)
                proxies.for_origin(parts.scheme, parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme])
    transport_config = TransportConfig(ca_bundle=ca_bundle, proxies=proxies, headers=headers or S3Headers())
    return Network(session, endpoint, transport_config)


def new_session(core: AioSession) -> Session:
    """
    A session on *core* that trusts what `find_ca_bundle` says. Raises ConfigurationError where `AWS_*` is of no use.
    """
    with environment_errors():
        core.set_config_variable("ca_bundle", find_ca_bundle(core)[1])
        return Session(region_name=configured_region(), botocore_session=core)


def find_ca_bundle(core: AioSession) -> tuple[str, str]:
    """
    The file of the authorities that are trusted, and what names it: AWS_CA_BUNDLE, the profile's `ca_bundle` or
    REQUESTS_CA_BUNDLE, as the SDK has it; then SSL_CERT_FILE, which it does not hear; else the SDK's own list. An empty
    variable counts as unset: an empty REQUESTS_CA_BUNDLE would have the SDK trust everyone.
    """
    named = (
        ("AWS_CA_BUNDLE", os.environ.get("AWS_CA_BUNDLE")),
        ("ca_bundle of the profile", core.get_scoped_config().get("ca_bundle")),
        ("REQUESTS_CA_BUNDLE", os.environ.get("REQUESTS_CA_BUNDLE")),
        ("SSL_CERT_FILE", os.environ.get("SSL_CERT_FILE")),
        ("the SDK", get_cert_path(True)),
    )
    return next((name, str(file)) for name, file in named if file)


def check_ca_bundle(ca_bundle: str) -> None:
    """Raises ConfigurationError where there are no certificates in *ca_bundle*."""
    try:
        tls_context(ca_bundle)
    except OSError as error:
        name, _ = find_ca_bundle(AioSession())
        reason = error.strerror or type(error).__name__
        message = f"{name}: no certificates (PEM) can be read from {ca_bundle}: {reason}"
        raise ConfigurationError(message) from None


class SdkHttpSession(AIOHTTPSession):
    """The SDK's HTTP client, with the trust of all others: through a proxy, its own checks no certificate."""

    _verify: Any
    _max_pool_connections: int
    _connector_args: dict[str, Any]

    def _create_connector(self, proxy_url: str | None) -> aiohttp.TCPConnector:  # noqa: ARG002
        context = tls_context(str(get_cert_path(self._verify)))
        return aiohttp.TCPConnector(limit=self._max_pool_connections, ssl=context, **self._connector_args)


def resolve_endpoint(client: "S3Client") -> Endpoint:
    """The endpoint that the SDK resolved for *client*. Raises ValueError where no URL can be like it."""
    s3: dict[str, Any] = getattr(client.meta.config, "s3", None) or {}
    if s3.get("use_accelerate_endpoint"):
        message = "s3.use_accelerate_endpoint of the profile: archives and sources don't go through it: unset it"
        raise ConfigurationError(message)
    style = cast("Style", s3.get("addressing_style") or "auto")  # botocore takes no other
    return Endpoint(client.meta.endpoint_url, client.meta.region_name, style=style)


@contextmanager
def environment_errors() -> Iterator[None]:
    """
    Nothing is asked of AWS while a client opens: what goes wrong is the environment's, and told by variable name, but
    for what a provider of credentials raises: that may pass.
    """
    try:
        yield
    except (NoRegionError, InvalidRegionError) as error:
        raise ConfigurationError(f"AWS_REGION: {error}") from error
    except ProfileNotFound as error:
        raise ConfigurationError(f"AWS_PROFILE: {error}") from error
    except PartialCredentialsError as error:
        raise ConfigurationError(partial_credentials_message(error)) from error
    except CREDENTIAL_PROVIDER_ERRORS as error:
        raise CredentialsError(credentials_message(error)) from None
    except ValueError as error:
        raise ConfigurationError(f"AWS_ENDPOINT_URL: {error}") from error
    except (BotoCoreError, OSError) as error:
        raise ConfigurationError(f"AWS_*: {error}") from error


@contextmanager
def credential_errors() -> Iterator[None]:
    """The same where credentials are asked for: what is no setting is a provider's, whatever it raises."""
    try:
        with environment_errors():
            yield
    except ConfigurationError as fault:
        if isinstance(fault.__cause__, OSError | ValueError) and not isinstance(fault.__cause__, BotoCoreError):
            raise CredentialsError(credentials_message(fault.__cause__)) from None
        raise
    except aiohttp.ClientError as error:
        raise CredentialsError(credentials_message(error)) from None


def configured_region() -> str | None:
    """AWS_REGION, which other SDKs read and botocore does not; None leaves botocore to look where it always looks."""
    return os.environ.get("AWS_REGION") or None


def client_config(read: float, *, attempts: int, pool: int, connect: float = CONNECT_TIMEOUT, **more: Any) -> AioConfig:
    """A client's configuration: *attempts* counts the first try too, *pool* the connections."""
    return AioConfig(
        http_session_cls=SdkHttpSession,
        connect_timeout=connect,
        read_timeout=read,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=pool,
        **more,
    )
