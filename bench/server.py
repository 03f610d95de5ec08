"""The load server as the bench sees it: built, started, asked, stopped. With TLS, a terminator stands before it."""

import http.client
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from loads import Load

HERE = Path(__file__).parent
BUILD = HERE / "build"
SOURCES = "bench-source"
ARCHIVES = "bench-archives"


PROGRAMS = ("server", "floor", "timed")


def compile_c() -> None:
    """Builds the programs that are written in C. A compiler is the one thing that the bench can't do without."""
    BUILD.mkdir(exist_ok=True)
    sources = {source.stem: source for source in sorted((HERE / "load").glob("*.c"))}
    shared = [source for name, source in sources.items() if name not in PROGRAMS]
    for name in PROGRAMS:
        flags = ["-O2", "-Wall", "-Wextra", "-std=gnu11"]
        objects = ["crc.c", "text.c"] if name == "floor" else shared if name == "server" else []
        subprocess.run(
            [os.environ.get("CC", "cc"), *flags, "-o", BUILD / name, sources[name], *objects],
            cwd=HERE / "load",
            check=True,
        )


class LoadServer:
    """The server process, from `with` to its end; with *tls*, a second process takes TLS off before it."""

    def __init__(self, loads: Iterable[Load], *, delay_ms: int = 0, tls: bool = False) -> None:
        self._declarations = list(dict.fromkeys(load.declaration() for load in loads))
        self._delay_ms = delay_ms
        self._tls = tls
        self._processes: list[subprocess.Popen[str]] = []
        self.environment: dict[str, str] = {}

    def __enter__(self) -> Self:
        port = self._start([str(BUILD / "server"), "0", str(self._delay_ms), *self._declarations])
        self.port = port
        self.endpoint = f"http://127.0.0.1:{port}"
        if self._tls:
            certificate = make_certificate()
            port = self._start([sys.executable, str(HERE / "terminator.py"), str(port), str(certificate)])
            self.endpoint = f"https://127.0.0.1:{port}"
            names = ("AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE")
            self.environment = dict.fromkeys(names, str(certificate))
        self.numbers = {text.split(":")[0]: number for number, text in enumerate(self._declarations)}
        self.block = self.ask("/_block")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in reversed(self._processes):
            with process:
                process.stdin.close()  # type: ignore[union-attr]  # they end with it

    def _start(self, command: list[str]) -> int:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._processes.append(process)
        return int(process.stdout.readline())  # type: ignore[union-attr]

    def ask(self, path: str) -> bytes:
        """The body of the answer to one GET."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise LookupError(f"{path}: {response.status} {body[:200]!r}")
        return body

    def cpu_seconds(self) -> float:
        """What the load server itself has used so far."""
        fields = Path(f"/proc/{self._processes[0].pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def make_certificate() -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key, in one file."""
    file = BUILD / "certificate.pem"
    if not file.exists():
        subject = ["-subj", "/CN=bench", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "3650"]
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        command = ["openssl", "req", "-x509", *key, *subject, "-keyout", "-", "-out", "-"]
        file.write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
    return file
