"""Through a proxy: tunnels to https origins, whole URLs for http ones, refusals in words that name it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from certificates import make_authority, make_server_context

from archiver.errors import ConfigurationError
from archiver.http.pool import HttpPool, HttpTimeouts, Origin
from archiver.http.proxy import Proxies, Proxy, read_proxy
from http_client.forward_proxy import serve_proxy
from http_client.http_pair import SMALL, expect_interruption, open_files, request
from http_client.scripted_server import ServerAction, make_response, serve_scripts, wait_until

pytestmark = pytest.mark.usefixtures("plain_http")


@asynccontextmanager
async def pool_of(limits: HttpTimeouts | None = None, bundle: str | None = None) -> AsyncIterator[HttpPool]:
    """A pool that hears the environment as it is now."""
    pool = HttpPool(limits or HttpTimeouts(), bundle, Proxies())
    try:
        yield pool
    finally:
        await pool.close()


async def test_https_goes_through_a_tunnel_with_credentials_and_the_connection_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer, bundle = make_authority(tmp_path, "ours")
    into = bytearray(10)
    tls = make_server_context(tmp_path, "photos.invalid", issuer)
    async with serve_scripts([SMALL], tls=tls) as server, serve_proxy("me:pass%word") as proxy:
        proxy.leads["photos.invalid"] = server.port
        monkeypatch.setenv("HTTPS_PROXY", proxy.url("me:pass%25word"))
        async with pool_of(bundle=bundle) as pool:
            for _ in range(3):
                await pool.request(Origin(tls=True, host="photos.invalid", port=443), request(into))
        assert proxy.asked == ["CONNECT photos.invalid:443"]
        assert server.connections == 1
    assert into == b"0123456789"


async def test_certificate_behind_the_tunnel_is_held_against_the_origins_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer, bundle = make_authority(tmp_path, "ours")
    async with (
        serve_scripts([SMALL], tls=make_server_context(tmp_path, "others.invalid", issuer)) as server,
        serve_proxy() as proxy,
    ):
        proxy.leads["photos.invalid"] = server.port
        monkeypatch.setenv("https_proxy", proxy.url())
        async with pool_of(bundle=bundle) as pool:
            with pytest.raises(ConfigurationError, match="certificate refused") as caught:
                await pool.request(Origin(tls=True, host="photos.invalid", port=443), request(bytearray(10)))
        assert server.requests == []
    assert f"through the proxy 127.0.0.1:{proxy.port} (https_proxy)" in str(caught.value)


async def test_proxy_may_speak_tls_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    issuer, bundle = make_authority(tmp_path, "ours")
    into = bytearray(10)
    (tmp_path / "proxy").mkdir()
    own = make_server_context(tmp_path / "proxy", "127.0.0.1", issuer)
    tls = make_server_context(tmp_path, "photos.invalid", issuer)
    async with serve_scripts([SMALL], tls=tls) as server, serve_proxy(tls=own) as proxy:
        proxy.leads["photos.invalid"] = server.port
        monkeypatch.setenv("HTTPS_PROXY", proxy.url(scheme="https"))
        async with pool_of(bundle=bundle) as pool:
            for _ in range(2):
                await pool.request(Origin(tls=True, host="photos.invalid", port=443), request(into))
        assert server.connections == 1
    assert into == b"0123456789"


async def test_http_goes_as_a_whole_url_and_the_connection_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    into = bytearray(10)
    async with serve_scripts([SMALL]) as server, serve_proxy("me:secret") as proxy:
        proxy.leads["store.invalid"] = server.port
        monkeypatch.setenv("HTTP_PROXY", proxy.url())
        async with pool_of() as pool:
            await pool.request(Origin(tls=False, host="store.invalid", port=8080), request(into))
        assert proxy.asked == ["GET http://store.invalid:8080/x"]
        assert server.requests == [b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n"]
    assert into == b"0123456789"


@pytest.mark.parametrize("names", ["127.0.0.1", "*", "example.com,127.0.0.1"])
async def test_no_proxy_is_heard(names: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve_scripts([SMALL]) as server, serve_proxy() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url())
        monkeypatch.setenv("NO_PROXY", names)
        async with pool_of() as pool:
            await pool.request(server.origin, request(bytearray(10)))
        assert proxy.asked == []


@pytest.mark.parametrize("tls", [True, False], ids=["tunnel", "forward"])
@pytest.mark.parametrize(("pair", "told"), [("me:wrong", "refuses the user and password"), ("", "requires a user")])
async def test_refused_credentials_are_ours_to_mend_and_never_told(
    tls: bool, pair: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve_proxy("me:right") as proxy:
        variable = "HTTPS_PROXY" if tls else "HTTP_PROXY"
        monkeypatch.setenv(variable, proxy.url(pair))
        async with pool_of() as pool:
            with pytest.raises(ConfigurationError) as caught:
                await pool.request(Origin(tls=tls, host="store.invalid", port=443), request(bytearray(10)))
    assert str(caught.value).startswith(f"the proxy 127.0.0.1:{proxy.port} ({variable}) {told}")
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize("tls", [True, False], ids=["tunnel", "forward"])
@pytest.mark.parametrize("status", ["403 Forbidden", "502 Bad Gateway", "504 Gateway Timeout"])
async def test_host_that_the_proxy_does_not_connect_to_is_told_with_the_proxys_name(
    tls: bool, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve_proxy() as proxy:
        proxy.answers["store.invalid"] = make_response(status, b"<html>no</html>")
        monkeypatch.setenv("HTTPS_PROXY" if tls else "HTTP_PROXY", proxy.url("me:secret"))
        async with pool_of() as pool:
            error = await expect_interruption(
                pool.request(Origin(tls=tls, host="store.invalid", port=443), request(bytearray(10)))
            )
    assert f"does not connect to store.invalid:443 (status {status[:3]})".replace(
        ":443" if not tls else "!", ""
    ) in str(error)
    assert f"the proxy 127.0.0.1:{proxy.port} (HTTP" in str(error)
    assert "secret" not in str(error)


@pytest.mark.parametrize(
    "theirs",
    [
        make_response("403 Forbidden", b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"),
        make_response("502 Bad Gateway", b"", "x-amz-request-id: 1"),
        make_response("404 Not Found"),
    ],
)
async def test_answer_of_the_store_behind_a_forwarding_proxy_is_the_stores(
    theirs: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve_scripts([theirs]) as server, serve_proxy() as proxy:
        proxy.leads["store.invalid"] = server.port
        monkeypatch.setenv("HTTP_PROXY", proxy.url())
        async with pool_of() as pool:
            told = await pool.request(Origin(tls=False, host="store.invalid", port=80), request(bytearray(10)))
    assert told.head.status == int(theirs.split()[1])


@pytest.mark.parametrize(
    ("said", "told"),
    [(b"SSH-2.0-nonsense\r\n\r\n", "does not speak HTTP"), (b"x" * 40_000, "does not speak HTTP")],
    ids=["another protocol", "a head without end"],
)
async def test_proxy_that_speaks_something_else_is_named(
    said: bytes, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = open_files()
    async with serve_proxy() as proxy:
        proxy.answers["store.invalid"] = said
        monkeypatch.setenv("HTTPS_PROXY", proxy.url())
        async with pool_of() as pool:
            error = await expect_interruption(
                pool.request(Origin(tls=True, host="store.invalid", port=443), request(bytearray(10)))
            )
        assert await wait_until(lambda: not proxy.open)
    assert told in str(error)
    assert await wait_until(lambda: open_files() == before)


async def test_proxy_that_hangs_up_or_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve_scripts([ServerAction.CLOSE], [ServerAction.STALL]) as silent:
        monkeypatch.setenv("HTTPS_PROXY", silent.url)
        async with pool_of(HttpTimeouts(tunnel=0.2)) as pool:
            origin = Origin(tls=True, host="store.invalid", port=443)
            reset = await expect_interruption(pool.request(origin, request(bytearray(10))))
            slow = await expect_interruption(pool.request(origin, request(bytearray(10))))
    assert "ConnectionResetError" in str(reset)
    assert "TimeoutError" in str(slow)


async def test_proxy_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve_proxy() as proxy:
        gone = proxy.url("me:secret")
    monkeypatch.setenv("HTTPS_PROXY", gone)
    async with pool_of() as pool:
        error = await expect_interruption(
            pool.request(Origin(tls=True, host="store.invalid", port=443), request(bytearray(10)))
        )
    told = f"no connection to store.invalid through the proxy 127.0.0.1:{proxy.port} (HTTPS_PROXY)"
    assert str(error) == f"{told}: ConnectionRefusedError"


async def test_cancelled_tunnel_leaves_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_files()
    async with serve_scripts([ServerAction.STALL]) as silent:
        monkeypatch.setenv("HTTPS_PROXY", silent.url)
        async with pool_of() as pool:
            origin = Origin(tls=True, host="store.invalid", port=443)
            task = asyncio.create_task(pool.request(origin, request(bytearray(10))))
            assert await wait_until(lambda: len(silent.requests) == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await silent.all_closed()
    assert await wait_until(lambda: open_files() == before)


@pytest.mark.parametrize(
    ("environ", "variable", "port"),
    [
        ({"HTTPS_PROXY": "http://a:1"}, "HTTPS_PROXY", 1),
        ({"https_proxy": "http://a:2", "HTTPS_PROXY": "http://a:1"}, "https_proxy", 2),
        ({"Https_Proxy": "a:3"}, "Https_Proxy", 3),
        ({"HTTPS_PROXY": "http://a"}, "HTTPS_PROXY", 80),
        ({"HTTPS_PROXY": "https://a"}, "HTTPS_PROXY", 443),
        ({"HTTPS_PROXY": "//a:5"}, "HTTPS_PROXY", 5),
    ],
)
def test_variable_of_a_proxy_is_known(
    environ: dict[str, str], variable: str, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    proxy = Proxies().for_origin("https", "photos.example", 443)
    assert proxy is not None
    assert (proxy.variable, proxy.port) == (variable, port)


@pytest.mark.parametrize("environ", [{}, {"ALL_PROXY": "http://a:1"}, {"HTTPS_PROXY": "http://a:1", "https_proxy": ""}])
def test_without_a_proxy_for_the_scheme_there_is_none(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As the SDK has it: ALL_PROXY is not heard, and an empty name in lower case unsets the one in capitals."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert Proxies().for_origin("https", "photos.example", 443) is None


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("socks5://me:secret@a:1", "'socks5'"),
        ("http://me:secret@a:port", "no valid port"),
        ("http://me:secret@:1", "no host"),
    ],
)
def test_proxy_of_no_use_is_told_by_its_variable_without_its_password(url: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told) as caught:
        read_proxy("HTTPS_PROXY", url)
    assert str(caught.value).startswith("HTTPS_PROXY: ")
    assert "secret" not in str(caught.value)


def test_user_and_password_show_nowhere() -> None:
    proxy = read_proxy("HTTPS_PROXY", "http://me:secret@[::1]:3128")
    assert proxy == Proxy("HTTPS_PROXY", tls=False, host="::1", port=3128, authorization="Basic bWU6c2VjcmV0")
    assert "bWU6" not in repr(proxy) + str(proxy)
