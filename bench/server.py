"""The load server as the bench sees it: built, started, asked, stopped."""

import http.client
import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from network import Network
from workloads import Workload

HERE = Path(__file__).parent
BUILD = HERE / "build"
SOURCES = "bench-source"
ARCHIVES = "bench-archives"
PROGRAMS = ("server", "lower_bound", "timed")
SERVERS = {False: "server", True: "server-tls"}


class NoTlsError(RuntimeError):
    """The load server can't be built with TLS here."""


def compile_c(*, tls: bool = False) -> None:
    """
    Builds the programs that are written in C, as far as their sources are newer; with *tls*, a load server that speaks
    it, too, or NoTlsError. A compiler is the one thing that the bench can't do without.
    """
    BUILD.mkdir(exist_ok=True)
    newest = max(source.stat().st_mtime for source in (HERE / "load").iterdir())
    sources = {source.stem: source for source in sorted((HERE / "load").glob("*.c"))}
    shared = [source for name, source in sources.items() if name not in PROGRAMS]
    for name in PROGRAMS:
        secure = tls and name == "server"
        program = BUILD / (SERVERS[tls] if name == "server" else name)
        if program.exists() and program.stat().st_mtime >= newest:
            continue
        flags = ["-O2", "-Wall", "-Wextra", "-std=gnu11", *["-DTLS"] * secure]
        objects = ["crc.c", "text.c"] if name == "lower_bound" else shared if name == "server" else []
        command = [os.environ.get("CC", "cc"), *flags, "-o", program, sources[name], *objects]
        try:
            subprocess.run([*command, *["-lssl", "-lcrypto"] * secure], cwd=HERE / "load", check=True)
        except subprocess.CalledProcessError as error:
            if not secure:
                raise
            raise NoTlsError("--tls needs OpenSSL's headers: on Debian, apt-get install libssl-dev") from error


class LoadServer:
    """The server process, from `with` to its end. With *tls*, *endpoint* is its port for that; `port` is plain."""

    def __init__(self, loads: Iterable[Workload], *, tls: bool = False) -> None:
        self._declarations = list(dict.fromkeys(load.declaration() for load in loads))
        self.certificate = make_certificate() if tls else None
        self.environment: dict[str, str] = {}

    def __enter__(self) -> Self:
        command = [str(BUILD / SERVERS[bool(self.certificate)]), str(self.certificate or ""), *self._declarations]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.endpoint = f"http://127.0.0.1:{self.port}"
        if self.certificate:
            self.endpoint = f"https://127.0.0.1:{int(self._process.stdout.readline())}"
            names = ("AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE")
            self.environment = dict.fromkeys(names, str(self.certificate))
        self.numbers = {text.split(":")[0]: number for number, text in enumerate(self._declarations)}
        self.block = self.ask("/_block")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._process:
            self._process.stdin.close()  # type: ignore[union-attr]  # it ends with it

    def emulate(self, network: Network, seed: int = 0) -> None:
        """From now on, clients are behind *network*; the same *seed* gives the same requests the same delays again."""
        self.ask("/_network", network.message(seed))

    def ask(self, path: str, body: bytes | None = None) -> bytes:
        """The body of the answer to one GET, or POST where there is a *body*. Raises LookupError where it fails."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        try:
            connection.request("GET" if body is None else "POST", path, body)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise LookupError(f"{path}: {response.status} {body[:200]!r}")
        return body

    def calls(self) -> dict[str, int]:
        """How often source objects were asked for and listed since the last reset."""
        return dict(json.loads(self.ask("/_calls")))

    def cpu_seconds(self) -> float:
        """What the load server itself has used so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def make_certificate() -> Path:
    """A certificate for 127.0.0.1 with its key, in one file. It is its own authority: clients trust it alone."""
    file = BUILD / "certificate.pem"
    if not file.exists():
        subject = ["-subj", "/CN=bench", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "3650"]
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        command = ["openssl", "req", "-x509", *key, *subject, "-keyout", "-", "-out", "-"]
        file.write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
    return file
