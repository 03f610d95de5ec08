"""Fixtures: the `archiver local` that the pages need in a second terminal."""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from .blocks import ROOT

START_TIMEOUT = 120.0


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Run `archiver local` on a free port; return the environment of the reader's shell."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("local") / "log"
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "SQS_", "S3_"))}
    environ["PATH"] = f"{Path(sys.executable).parent}:{environ['PATH']}"
    with log.open("w") as file:
        local = subprocess.Popen(
            ["archiver", "local", "--port", str(port)], env=environ, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        _wait_for(port, log)
        exported = dict(re.findall(r"^export (\w+)=(\S+)$", (ROOT / ".envrc.dist").read_text(), re.MULTILINE))
        yield environ | {name: value.replace("4566", str(port)) for name, value in exported.items()}
    finally:
        local.terminate()
        local.wait(30)


def _wait_for(port: int, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/", timeout=5):
                if "worker.ready" in log.read_text():
                    return
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError(log.read_text())
