"""What the SDK resolves from environment and profile holds for our own client: style, endpoint, trust, proxies."""

import re
import ssl
import traceback
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.session import AioSession
from certificates import make_authority, make_server_context
from http_client.forward_proxy import ForwardProxy, serve_proxy
from http_client.scripted_server import ScriptedServer, make_response, serve_scripts, wait_until

from archiver.aws.clients import ClientLimits, open_clients
from archiver.aws.error_mapping import CredentialsError, map_errors
from archiver.aws.session import client_config, find_ca_bundle, open_network
from archiver.errors import ArchiverError, ConfigurationError
from archiver.http.exchange import HttpRequest
from archiver.http.pool import HttpPool, Origin, tls_context

POINT = "arn:aws:s3:us-west-2:123456789012:accesspoint/team-photos"
BUCKETS = ["photos", "my.photos", "Photos_2024", "xn--photos"]


class Seen(Exception):
    """The SDK is about to send this."""


async def sdks_url(network: Any, bucket: str) -> tuple[str, str]:
    """The URL that the SDK would ask, and the region that it signs for."""

    def stop(request: Any, **_: Any) -> None:
        scope = re.search(r"Credential=[^/]+/\d+/([^/]+)/s3", request.headers["Authorization"].decode())
        assert scope is not None
        raise Seen(request.url, scope[1])

    async with network.session.client("s3", config=client_config(5, attempts=1, pool=1)) as client:
        client.meta.events.register("before-send.s3", stop)
        with pytest.raises(Seen) as caught:
            await client.get_object(Bucket=bucket, Key="a.jpg")
    url, region = caught.value.args
    # The same place under its older name, which has no region.
    return url.replace("//s3.amazonaws", "//s3.us-east-1.amazonaws").replace(".s3.ama", ".s3.us-east-1.ama"), region


@pytest.mark.parametrize("style", ["auto", "virtual", "path"])
@pytest.mark.parametrize(
    "environ",
    [
        {"AWS_REGION": "eu-west-1"},
        {"AWS_REGION": "us-east-1"},
        {"AWS_REGION": "cn-north-1"},
        {"AWS_REGION": "us-east-1", "AWS_USE_FIPS_ENDPOINT": "true"},
        {"AWS_REGION": "eu-west-1", "AWS_USE_DUALSTACK_ENDPOINT": "true"},
        {"AWS_REGION": "us-east-2", "AWS_USE_DUALSTACK_ENDPOINT": "true", "AWS_USE_FIPS_ENDPOINT": "true"},
        {"AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL_S3": "https://store.example"},
        {"AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL_S3": "http://store.example:9000"},
        {"AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:9000"},
        {"AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL": "https://[::1]:9000"},
    ],
    ids=lambda environ: ",".join(value for value in environ.values()),
)
async def test_our_client_asks_where_the_sdk_would(
    environ: dict[str, str], style: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    config.write_text(f"[default]\ns3 =\n    addressing_style = {style}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    network = await open_network()
    aws = not any(name.startswith("AWS_ENDPOINT") or value.startswith("cn-") for name, value in environ.items())
    for bucket in [*BUCKETS, POINT] if aws and style != "path" else BUCKETS:
        if "127.0.0.1" in str(environ) and (style, bucket) == ("virtual", "my.photos"):
            continue  # the SDK makes my.photos.127.0.0.1 of it, which is no host
        place = network.endpoint.resolve(bucket)
        scheme = "https" if place.origin.tls else "http"
        assert (f"{scheme}://{place.host}{place.path}a.jpg", place.region) == await sdks_url(network, bucket)


async def test_what_cannot_be_carried_out_stops_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config"
    config.write_text("[default]\ns3 =\n    use_accelerate_endpoint = true\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    with pytest.raises(ConfigurationError, match=r"s3\.use_accelerate_endpoint of the profile"):
        await open_network()


async def test_proxy_of_no_use_stops_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://me:secret@proxy.example:1080")
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY: proxies of the kind 'socks5'") as caught:
        await open_network()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "profile", "chosen"),
    [
        ({"AWS_CA_BUNDLE": "a", "REQUESTS_CA_BUNDLE": "b", "SSL_CERT_FILE": "c"}, "d", "a"),
        ({"REQUESTS_CA_BUNDLE": "b", "SSL_CERT_FILE": "c"}, "d", "d"),
        ({"AWS_CA_BUNDLE": "", "REQUESTS_CA_BUNDLE": "b"}, "d", "d"),
        ({"REQUESTS_CA_BUNDLE": "b", "SSL_CERT_FILE": "c"}, "", "b"),
        ({"REQUESTS_CA_BUNDLE": "", "SSL_CERT_FILE": "c"}, "", "c"),
    ],
)
def test_one_file_is_trusted_by_all(
    environ: dict[str, str], profile: str, chosen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    config.write_text(f"[default]\nca_bundle = {profile}\n" if profile else "[default]\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert find_ca_bundle(AioSession())[1] == chosen


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_file_without_certificates_stops_by_its_variable(
    variable: str, content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "bundle.pem"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv(variable, str(file))
    with pytest.raises(ConfigurationError, match=f"^{variable}: no certificates"):
        await open_network()


def test_private_authorities_are_held_to_what_the_sdk_holds_them_to() -> None:
    assert not tls_context(None).verify_flags & ssl.VERIFY_X509_STRICT


@asynccontextmanager
async def secured(tmp_path: Path) -> AsyncIterator[tuple[ScriptedServer, ForwardProxy, str]]:
    """A store of `store.invalid` in TLS, a proxy that leads there, and the bundle that makes it trusted."""
    issuer, bundle = make_authority(tmp_path, "ours")
    found = make_response("200 OK", b"", "Content-Type: application/xml")
    async with (
        serve_scripts([found], tls=make_server_context(tmp_path, "store.invalid", issuer)) as server,
        serve_proxy("me:right") as proxy,
    ):
        proxy.leads["store.invalid"] = server.port
        yield server, proxy, bundle


@pytest.mark.parametrize("trusted", [True, False])
async def test_through_a_proxy_the_sdks_calls_check_the_certificate_too(
    trusted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK's own HTTP client takes any certificate behind a proxy."""
    async with secured(tmp_path) as (server, proxy, bundle):
        other = tmp_path / "other"
        other.mkdir()
        monkeypatch.setenv("AWS_CA_BUNDLE", bundle if trusted else make_authority(other, "theirs")[1])
        monkeypatch.setenv("AWS_ENDPOINT_URL", "https://store.invalid")
        monkeypatch.setenv("HTTPS_PROXY", proxy.url())
        network = await open_network()
        async with network.session.client("s3", config=client_config(5, attempts=1, pool=1)) as s3:
            if trusted:
                await s3.head_bucket(Bucket="photos")
            else:
                with pytest.raises(ConfigurationError, match="certificate refused"), map_errors("HeadBucket"):
                    await s3.head_bucket(Bucket="photos")
        assert bool(server.requests) == trusted
        assert proxy.asked == ["CONNECT store.invalid:443"]
        assert await wait_until(lambda: not proxy.open)


@pytest.mark.parametrize("scheme", ["https", "http"])
async def test_proxy_that_refuses_the_sdk_is_told_as_it_is_to_our_client(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with secured(tmp_path) as (_, proxy, bundle):
        variable = f"{scheme.upper()}_PROXY"
        monkeypatch.setenv("AWS_CA_BUNDLE", bundle)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"{scheme}://store.invalid")
        monkeypatch.setenv(variable, proxy.url("me:wrong"))
        network = await open_network()
        told = [await by_sdk(network), await by_ours(network, scheme)]
    assert told[0] == told[1]
    assert told[0].startswith(f"the proxy 127.0.0.1:{proxy.port} ({variable}) refuses the user and password")
    assert "wrong" not in told[0]


async def by_sdk(network: Any) -> str:
    async with network.session.client("s3", config=client_config(5, attempts=1, pool=1)) as s3:
        with pytest.raises(ConfigurationError) as caught, map_errors("HeadBucket"):
            await s3.head_bucket(Bucket="photos")
    # What aiohttp raised before names the proxy with all that is in its URL, and a log would print that, too.
    assert "wrong" not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)


async def by_ours(network: Any, scheme: str) -> str:
    pool = HttpPool(
        limits=_limits(), ca_bundle=network.transport_config.ca_bundle, proxies=network.transport_config.proxies
    )
    origin = Origin(scheme == "https", "store.invalid", 443 if scheme == "https" else 80)
    with pytest.raises(ConfigurationError) as caught:
        await pool.request(origin, HttpRequest("GET", b"GET / HTTP/1.1\r\n\r\n", (), lambda _: None))
    await pool.close()
    return str(caught.value)


def _limits() -> Any:
    from archiver.http.pool import HttpTimeouts as HttpLimits  # noqa: PLC0415 - another thing than the clients' limits

    return HttpLimits()


async def test_proxy_that_is_not_there_is_named_where_the_sdk_masks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve_proxy() as proxy:
        gone = proxy.url("me:secret")
    monkeypatch.setenv("HTTPS_PROXY", gone)
    network = await open_network()
    async with network.session.client("s3", config=client_config(5, attempts=1, pool=1)) as s3:
        with pytest.raises(ArchiverError) as caught, map_errors("HeadBucket"):
            await s3.head_bucket(Bucket="photos")
    assert str(caught.value) == f"no connection to the proxy 127.0.0.1:{proxy.port} (HTTPS_PROXY)"


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        (
            {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/creds"},
            "container-role: CredentialRetrievalError",
        ),
        (
            {
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/creds",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/nowhere/token",
            },
            "/nowhere/token: No such file or directory",
        ),
    ],
    ids=["agent that does not listen", "token file to come"],
)
async def test_provider_that_gives_none_is_told_with_its_name_and_not_as_a_setting(
    environ: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    async with AsyncExitStack() as stack:
        with pytest.raises(CredentialsError) as caught:
            await stack.enter_async_context(open_clients(ClientLimits()))
    assert str(caught.value) == f"no credentials available: {told}"


async def test_half_of_a_pair_is_a_setting_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    async with AsyncExitStack() as stack:
        with pytest.raises(ConfigurationError, match=r"^AWS_SECRET_ACCESS_KEY: is required") as caught:
            await stack.enter_async_context(open_clients(ClientLimits()))
    assert not isinstance(caught.value, CredentialsError)


async def test_token_file_that_vanishes_is_a_providers_affair_in_any_call(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/x")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere/token")
    async with open_clients(ClientLimits()) as clients:
        with pytest.raises(CredentialsError, match="/nowhere/token"), map_errors("ListQueues"):
            await clients.sqs_control.list_queues()
