"""LocalStack, SeaweedFS and MiniStack as processes on 127.0.0.1, by TLS: started, waited for, ended in any case."""

import os
import random
import re
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from certificates import shared_trust

ROOT = Path(__file__).parents[2]
LOCALSTACK = ROOT / ".venv/localstack"
SEAWEEDFS = ROOT / ".venv/seaweedfs"
MINISTACK = ROOT / ".venv/ministack"
START_TIMEOUT = 60.0


def installed_program(environment: Path, program: str) -> Path:
    """The *program* of *environment*; the test fails in CI where it is not there, and is skipped elsewhere."""
    path = environment / "bin" / program
    if not path.exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{path} is not there: make e2e installs it")
    return path


def free_port() -> int:
    """A port that nobody has; SeaweedFS takes the one 10,000 above for itself, too."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as one, socket.socket() as other:
            try:
                one.bind(("127.0.0.1", port))
                other.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            return port


def trusted_ca_file() -> ssl.SSLContext:
    """What a plain client checks certificates with."""
    return ssl.create_default_context(cafile=shared_trust().bundle)


@contextmanager
def running_server(command: Sequence[str], env: Mapping[str, str], folder: Path, url: str) -> Iterator[None]:
    """Run a server until the block is left; it is up when *url* answers anything. Its log is shown where it is not."""
    log = folder / "server.log"
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    with log.open("w") as file:
        process = subprocess.Popen(
            command, env={**kept, "HOME": str(folder), **env}, cwd=folder, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        _wait_for(process, url, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5, context=trusted_ca_file()):
                return
        except urllib.error.HTTPError:  # an answer all the same
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"{url} did not come up:\n{log.read_text()[-4000:]}")


@contextmanager
def localstack(folder: Path) -> Iterator[str]:
    """LocalStack without Docker; its endpoint."""
    python, port = installed_program(LOCALSTACK, "python"), free_port()
    env = {
        # The default server would listen on every address, whatever it is told.
        "GATEWAY_SERVER": "hypercorn",
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "LOCALSTACK_HOST": f"localhost:{port}",
        "FILESYSTEM_ROOT": str(folder / "localstack"),
        "DNS_ADDRESS": "0",
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        # It writes what is in the file to two others beside it.
        "CUSTOM_SSL_CERT_PATH": str(shutil.copy(shared_trust().file, folder)),
        "USE_SSL": "1",  # of the URLs of queues
        "DISABLE_EVENTS": "1",
        "SERVICES": "s3,sqs,sts",
    }
    command = [str(python), "-m", "localstack.runtime.main"]
    with running_server(command, env, folder, f"https://127.0.0.1:{port}/_localstack/health"):
        yield f"https://localhost:{port}"


@contextmanager
def seaweedfs(folder: Path) -> Iterator[str]:
    """SeaweedFS's S3, with the key `test` and the secret `test`; its endpoint."""
    weed, port = installed_program(SEAWEEDFS, "weed"), free_port()
    data = folder / "data"
    data.mkdir()
    env = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    ports = {name: free_port() for name in ("master", "volume", "filer", "admin")}
    command = [
        *(str(weed), "mini", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.port={port}"),
        *(f"-s3.cert.file={shared_trust().file}", f"-s3.key.file={shared_trust().file}"),
        *(f"-{name}.port={number}" for name, number in ports.items()),
        "-admin.ui=false",
        "-webdav=false",
    ]
    with running_server(command, env, folder, f"https://127.0.0.1:{port}/"):
        yield f"https://127.0.0.1:{port}"


@contextmanager
def ministack(folder: Path) -> Iterator[str]:
    """MiniStack, which honours the conditions of deletes and copies; its endpoint."""
    program, port = installed_program(MINISTACK, "ministack"), free_port()
    env = {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "IOT_MTLS_ENABLED": "0",
        "USE_SSL": "1",
        "MINISTACK_SSL_CERT": str(shared_trust().file),
        "MINISTACK_SSL_KEY": str(shared_trust().file),
        "MINISTACK_HOST": "localhost",
    }
    with running_server([str(program)], env, folder, f"https://127.0.0.1:{port}/_ministack/health"):
        yield f"https://localhost:{port}"


def exported_environment(endpoint: str) -> dict[str, str]:
    """What `.envrc.dist` exports, for *endpoint* in place of its own, and what makes its certificate trusted."""
    text = (ROOT / ".envrc.dist").read_text()
    told = dict(re.findall(r"^export (\w+)=(\S+)$", text, re.MULTILINE))
    there = {name: value.replace("http://localhost:4566", endpoint) for name, value in told.items()}
    return {**there, "AWS_CA_BUNDLE": shared_trust().bundle}
