"""
Configuration that the SDK resolves from environment and profile, for its clients and the own HTTP client: region,
endpoint, addressing style, CA bundle, proxies.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
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
    UnknownServiceError,
)
from botocore.httpsession import get_cert_path

from archiver.aws.endpoint import Endpoint, Style
from archiver.aws.error_mapping import (
    CREDENTIAL_PROVIDER_ERRORS,
    NO_CREDENTIALS,
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
    """How to reach AWS, with the SDK's clients of *session* and with the own HTTP client. Needs no credentials."""

    session: Session
    endpoint: Endpoint
    transport_config: TransportConfig


async def open_network(headers: S3Headers | None = None) -> Network:
    """
    Resolve environment and profile. *headers*: added to S3 requests by settings.

    Raises ConfigurationError, which names the variable, if a value is unusable.
    """
    core, proxies = AioSession(), Proxies()
    session = new_session(core)
    ca_bundle = str(core.get_config_variable("ca_bundle"))
    with environment_errors():
        unsigned = AioConfig(signature_version=UNSIGNED)  # needs no credentials
        async with open_modelless_s3(core, unsigned) as s3, session.client("sqs", config=unsigned) as sqs:
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
    Return a session on *core* with the CA bundle of `find_ca_bundle`.

    Raises ConfigurationError if an `AWS_*` variable is unusable.
    """
    with environment_errors():
        core.set_config_variable("ca_bundle", find_ca_bundle(core)[1])
        return Session(region_name=configured_region(), botocore_session=core)


def ca_bundle_of(session: Session) -> str:
    """Return the file of certificates that *session* trusts."""
    return str(session._session.get_config_variable("ca_bundle"))  # noqa: SLF001 - it has no other way


def find_ca_bundle(core: AioSession) -> tuple[str, str]:
    """
    Return the setting that names the CA bundle, and its file: AWS_CA_BUNDLE, the profile's `ca_bundle` or
    REQUESTS_CA_BUNDLE, in the SDK's order; then SSL_CERT_FILE, which the SDK ignores; else the SDK's own list.

    An empty variable counts as unset: with an empty REQUESTS_CA_BUNDLE the SDK would not verify certificates.
    """
    candidates = (
        ("AWS_CA_BUNDLE", os.environ.get("AWS_CA_BUNDLE")),
        ("ca_bundle of the profile", core.get_scoped_config().get("ca_bundle")),
        ("REQUESTS_CA_BUNDLE", os.environ.get("REQUESTS_CA_BUNDLE")),
        ("SSL_CERT_FILE", os.environ.get("SSL_CERT_FILE")),
        ("the SDK", get_cert_path(True)),
    )
    return next((name, str(file)) for name, file in candidates if file)


def check_ca_bundle(ca_bundle: str) -> None:
    """Raise ConfigurationError if *ca_bundle* has no readable certificates."""
    try:
        tls_context(ca_bundle)
    except OSError as error:
        name, _ = find_ca_bundle(AioSession())
        reason = error.strerror or type(error).__name__
        message = f"{name}: no certificates (PEM) can be read from {ca_bundle}: {reason}"
        raise ConfigurationError(message) from None


class SdkHttpSession(AIOHTTPSession):
    """The SDK's HTTP client with the project's TLS context: through a proxy, the original verifies no certificate."""

    _verify: Any
    _max_pool_connections: int
    _connector_args: dict[str, Any]

    def _create_connector(self, proxy_url: str | None) -> aiohttp.TCPConnector:  # noqa: ARG002
        context = tls_context(str(get_cert_path(self._verify)))
        return aiohttp.TCPConnector(limit=self._max_pool_connections, ssl=context, **self._connector_args)


class _ModellessLoader:
    """The SDK's data, but of the model of S3 only what its address follows from: no worker calls S3 by the SDK."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def load_service_model(self, service_name: str, type_name: str, api_version: str | None = None) -> dict[str, Any]:  # noqa: ARG002
        if type_name != "service-2":  # rules for the addresses of requests, of which there are none
            raise UnknownServiceError(service_name=service_name, known_service_names="none")
        metadata = {"endpointPrefix": "s3", "protocol": "rest-xml", "serviceId": "S3", "signatureVersion": "s3"}
        return {"metadata": metadata, "operations": {}, "shapes": {}}


def open_modelless_s3(core: AioSession, config: AioConfig) -> AbstractAsyncContextManager["S3Client"]:
    """Open a client that shows the SDK's configuration of S3 and has no operations. It shares the data of *core*."""
    separate = AioSession()
    separate.register_component("data_loader", _ModellessLoader(core.get_component("data_loader")))
    opening: AbstractAsyncContextManager[S3Client] = separate.create_client("s3", configured_region(), config=config)
    return opening


def resolve_endpoint(client: "S3Client") -> Endpoint:
    """Return the endpoint that the SDK resolved for *client*. Raises ValueError if its URL is invalid."""
    s3: dict[str, Any] = getattr(client.meta.config, "s3", None) or {}
    if s3.get("use_accelerate_endpoint"):
        message = "s3.use_accelerate_endpoint of the profile: transfer acceleration is not supported; unset it"
        raise ConfigurationError(message)
    style = cast("Style", s3.get("addressing_style") or "auto")  # botocore accepts no other values
    return Endpoint(client.meta.endpoint_url, client.meta.region_name, style=style)


@contextmanager
def environment_errors() -> Iterator[None]:
    """
    Map errors while a client opens to ConfigurationError with the name of the variable; those of a credentials provider
    to CredentialsError, as they may be transient. No request is sent to AWS while a client opens.
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
        raise ConfigurationError(f"AWS_ENDPOINT_URL: {error}; write it like http://localhost:4566") from error
    except (BotoCoreError, OSError) as error:
        raise ConfigurationError(f"AWS_*: {error}") from error


@contextmanager
def credential_errors() -> Iterator[None]:
    """Like `environment_errors`, for blocks that load credentials: other errors come from the credentials provider."""
    try:
        with environment_errors():
            yield
    except ConfigurationError as error:
        if isinstance(error.__cause__, OSError | ValueError) and not isinstance(error.__cause__, BotoCoreError):
            raise CredentialsError(credentials_message(error.__cause__)) from None
        raise
    except aiohttp.ClientError as error:
        raise CredentialsError(credentials_message(error)) from None


async def require_credentials(session: Session) -> None:
    """
    Raise CredentialsError if no provider has credentials yet. A client of the SDK that is opened without any never
    looks for them again.
    """
    with credential_errors():
        if await session.get_credentials() is None:
            raise CredentialsError(NO_CREDENTIALS)


def configured_region() -> str | None:
    """Return AWS_REGION, which other SDKs read and botocore does not; None: botocore's own lookup applies."""
    return os.environ.get("AWS_REGION") or None


def client_config(read: float, *, attempts: int, pool: int, connect: float = CONNECT_TIMEOUT, **more: Any) -> AioConfig:
    """Return a client's configuration. *attempts* includes the first one; *pool*: maximum connections."""
    return AioConfig(
        http_session_cls=SdkHttpSession,
        connect_timeout=connect,
        read_timeout=read,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=pool,
        **more,
    )
