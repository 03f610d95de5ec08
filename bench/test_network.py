"""
The emulated network: the same delays for every client, a rate for every connection, and nothing else is changed.

Not part of `make test`: `python -m pytest bench`. No test looks at a clock: a rate of 1 KB/s stands still meanwhile.
"""

import ctypes
import http.client
import random
import socket
import ssl
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from statistics import median

import pytest
from check import Block, Checker
from network import DIRECT, SAMPLES, TAILED, Network, steady, tailed
from server import ARCHIVES, HERE, SOURCES, LoadServer, NoTlsError, compile_c
from test_bench import request, zipped
from workloads import Workload

COUNT, SIZE = 60, 700_001
KEYS = [f"w1/{index:06}.jpg" for index in range(COUNT)]
LOAD = Workload("W1", "", COUNT, SIZE, 0)
DISTINCT = Network("", tuple(number / 1000 for number in range(1, 1001)))  # 1 to 1,000 microseconds
STANDSTILL = steady(0, rate=0.001)
FIRST_PIECE = 64 << 10  # what a connection moves before it waits for the first time


@pytest.fixture(scope="module")
def running() -> Iterator[LoadServer]:
    compile_c()
    with LoadServer([LOAD]) as server:
        yield server


@pytest.fixture
def server(running: LoadServer) -> Iterator[LoadServer]:
    yield running
    running.emulate(DIRECT)


@pytest.fixture
def tls_server() -> Iterator[LoadServer]:
    try:
        compile_c(tls=True)
    except NoTlsError as error:
        pytest.skip(str(error))
    with LoadServer([LOAD], tls=True) as server:
        yield server


def delays(server: LoadServer, keys: list[str], method: str = "HEAD") -> list[int]:
    return [int(request(server, method, f"/{SOURCES}/{key}")[2]["x-bench-delay-us"]) for key in keys]


def connect(server: LoadServer) -> socket.socket:
    plain = socket.create_connection(("127.0.0.1", int(server.endpoint.rpartition(":")[2])), timeout=30)
    if not server.certificate:
        return plain
    return ssl.create_default_context(cafile=server.certificate).wrap_socket(plain, server_hostname="127.0.0.1")


def send_head(connection: socket.socket, method: str, path: str, length: int = 0) -> None:
    connection.sendall(f"{method} {path} HTTP/1.1\r\nContent-Length: {length}\r\n\r\n".encode())


def what_is_there(connection: socket.socket) -> bytes:
    """All that has come so far."""
    connection.setblocking(False)
    come = b""
    with suppress(BlockingIOError, ssl.SSLWantReadError):
        while piece := connection.recv(FIRST_PIECE):
            come += piece
    return come


# Delays


def test_a_tailed_latency_has_the_median_and_the_tail_that_it_says() -> None:
    assert len(TAILED.delays_ms) == SAMPLES
    assert median(TAILED.delays_ms) == pytest.approx(27, rel=0.01)
    assert sum(delay >= 100 for delay in TAILED.delays_ms) == pytest.approx(SAMPLES * 0.0105, rel=0.01)
    assert sum(delay >= 500 for delay in TAILED.delays_ms) == SAMPLES * 0.0005
    assert list(TAILED.delays_ms) == sorted(TAILED.delays_ms)
    assert (min(TAILED.delays_ms) > 0, max(TAILED.delays_ms) < 2000, tailed() == TAILED) == (True, True, True)


def test_seed_key_and_earlier_requests_determine_a_delay_whoever_asks(server: LoadServer) -> None:
    server.emulate(DISTINCT, seed=1)
    first, second = delays(server, KEYS), delays(server, KEYS, "GET")
    server.emulate(DISTINCT, seed=1)
    assert delays(server, KEYS[::-1], "GET") == first[::-1]
    assert delays(server, KEYS) == second != first
    server.emulate(DISTINCT, seed=2)
    assert delays(server, KEYS) not in (first, second)


def test_a_delay_depends_on_no_other_load(server: LoadServer) -> None:
    server.emulate(DISTINCT, seed=1)
    alone = delays(server, KEYS)
    with LoadServer([Workload("W2", "", 3, 5, 0), LOAD]) as other:
        other.emulate(DISTINCT, seed=1)
        assert delays(other, KEYS) == alone


def test_delays_are_spread_over_all_that_there_are(server: LoadServer) -> None:
    server.emulate(DISTINCT)
    drawn = delays(server, KEYS)
    assert len(set(drawn)) > COUNT * 0.9
    assert min(drawn) < 100
    assert max(drawn) > 900


def test_what_is_no_object_has_the_median_delay_and_the_bench_itself_none(server: LoadServer) -> None:
    server.emulate(DISTINCT)
    for method, path in (("PUT", f"/{ARCHIVES}/a.zip"), ("GET", f"/{SOURCES}/absent"), ("HEAD", f"/{ARCHIVES}/b")):
        assert request(server, method, path)[2]["x-bench-delay-us"] == "501"
    assert "x-bench-delay-us" not in request(server, "GET", "/_block")[2]


def test_without_a_network_there_is_no_delay(server: LoadServer) -> None:
    assert "x-bench-delay-us" not in request(server, "GET", f"/{SOURCES}/{KEYS[0]}")[2]


@pytest.mark.parametrize("message", [b"", b"0", b"x 0 1", b"0 x 1", b"0 0 1 x", b"0 0 1x", b"0 0 2 1", b"0.5 0 1"])
def test_a_malformed_network_is_refused_and_the_old_one_stays(server: LoadServer, message: bytes) -> None:
    server.emulate(steady(0.007))
    with pytest.raises(LookupError, match="400"):
        server.ask("/_network", message)
    assert delays(server, KEYS[:1]) == [7]


def test_those_who_wait_are_taken_in_the_order_in_which_they_are_due(tmp_path: Path) -> None:
    library = tmp_path / "timers.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, HERE / "load" / "timers.c"], check=True)
    timers, chance = ctypes.CDLL(str(library)), random.Random(1)
    add, take = timers.timers_add, timers.timers_take
    add.argtypes, take.argtypes, take.restype = [ctypes.c_uint64, ctypes.c_void_p], [ctypes.c_uint64], ctypes.c_void_p
    waiting: list[int] = []
    for now in range(1, 2_000):
        for due in chance.choices(range(1, 3_000), k=chance.randrange(6)):
            add(due, due)
            waiting.append(due)
        taken = [take(now) for _ in range(3)]
        expected = sorted(due for due in waiting if due <= now)[:3]
        assert taken == expected + [None] * (3 - len(expected))
        for due in expected:
            waiting.remove(due)


def test_a_short_delay_is_over_before_a_long_one_that_began_earlier(server: LoadServer) -> None:
    server.emulate(Network("", (0.001, 3_600_000.0)))
    with ThreadPoolExecutor() as pool, connect(server) as waiting:
        for key in KEYS:  # the first key with the long delay keeps one connection waiting
            send_head(waiting, "HEAD", f"/{SOURCES}/{key}")
            waiting.settimeout(0.2)
            try:
                waiting.recv(65_536)
            except TimeoutError:
                break
        else:
            pytest.fail("all delays were short")
        server.emulate(Network("", tuple(float(delay) for delay in range(1, 31))))
        assert all(
            status == 200 for status, *_ in pool.map(lambda key: request(server, "HEAD", f"/{SOURCES}/{key}"), KEYS)
        )


def test_clients_that_leave_while_they_wait_do_no_harm(server: LoadServer) -> None:
    server.emulate(steady(10))
    for key in KEYS:
        with connect(server) as leaving:
            leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # it ends with a reset
            send_head(leaving, "GET", f"/{SOURCES}/{key}")
    assert {request(server, "HEAD", f"/{SOURCES}/{key}")[0] for key in KEYS[:10]} == {200}


# Rates


def test_content_is_the_same_at_any_rate(server: LoadServer) -> None:
    block = Block(server)
    server.emulate(steady(0, rate=200))
    for key in KEYS[:20]:
        assert request(server, "GET", f"/{SOURCES}/{key}")[1] == block.read(block.start(key), SIZE)
    assert request(server, "PUT", f"/{ARCHIVES}/a.zip", zipped(block, KEYS[:20]))[0] == 200
    Checker(server).check("a.zip", KEYS[:20], SIZE)


def test_content_is_the_same_at_any_rate_by_tls(tls_server: LoadServer) -> None:
    block = Block(tls_server)
    tls_server.emulate(steady(0, rate=200))
    trusting = ssl.create_default_context(cafile=tls_server.certificate)
    client = http.client.HTTPSConnection(tls_server.endpoint.removeprefix("https://"), context=trusting)
    for key in KEYS[:20]:
        client.request("GET", f"/{SOURCES}/{key}")
        assert client.getresponse().read() == block.read(block.start(key), SIZE)
    client.request("PUT", f"/{ARCHIVES}/a.zip", zipped(block, KEYS[:20]))
    assert client.getresponse().status == 200
    client.close()
    Checker(tls_server).check("a.zip", KEYS[:20], SIZE)


@pytest.mark.parametrize("fixture", ["server", "tls_server"])
def test_a_rate_holds_up_its_own_connection_alone(request: pytest.FixtureRequest, fixture: str) -> None:
    server: LoadServer = request.getfixturevalue(fixture)
    server.emulate(STANDSTILL)
    with connect(server) as reading, connect(server) as writing, connect(server) as other:
        send_head(reading, "GET", f"/{SOURCES}/{KEYS[0]}")
        received = 0
        while received < 16 << 10:  # a TLS record is what came through at once
            received += len(reading.recv(FIRST_PIECE))
        send_head(writing, "PUT", f"/{ARCHIVES}/slow.zip", 300_000)
        writing.sendall(bytes(300_000))
        send_head(other, "HEAD", f"/{SOURCES}/{KEYS[1]}")
        assert other.recv(65_536).startswith(b"HTTP/1.1 200 OK")
        assert what_is_there(writing) == b""
        received += len(what_is_there(reading))
        assert received < 2 * FIRST_PIECE
