"""
RabbitMQ as a process on 127.0.0.1, with data of its own and without root's rights: started, killed, started again,
ended in any case. Debian's package is used; nothing of it runs but what is started here.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from certificates import make_authority, make_server_context

from .servers import free_port

INSTALLED = Path("/usr/lib/rabbitmq/lib")
NOBODY = 65534
START_TIMEOUT = 120.0  # seconds
STOP_TIMEOUT = 20.0
CHANNELS = 64  # of one connection; RabbitMQ's default is 2047
VHOSTS = 48  # made at once: each call of rabbitmqctl takes seconds


def installed_server() -> Path:
    """The folder of RabbitMQ's programs; the test fails in CI where they are not there, and is skipped elsewhere."""
    found = sorted(INSTALLED.glob("rabbitmq_server-*/sbin"))
    if not found or shutil.which("epmd") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("RabbitMQ is not there: apt-get install rabbitmq-server")
    return found[-1]


class Broker:
    """
    One broker. *port*: without TLS; *tls_port*: requires a client's certificate by the authority *ca_file*, for example
    that of *client_file*. `vhost` returns a virtual host that nobody has used.
    """

    def __init__(self) -> None:
        self._programs = installed_server()
        self.folder = Path(tempfile.mkdtemp(prefix="rabbitmq-"))
        self.folder.chmod(0o755)
        self.port, self.tls_port, self._distribution, self._epmd = (free_port() for _ in range(4))
        self.ca_file, self.server_file, self.client_file = self._certificates()
        self._configure()
        self._process: subprocess.Popen[bytes] | None = None
        self._vhosts: Iterator[str] = iter(())

    def vhost(self) -> str:
        return next(self._vhosts)

    def start(self) -> None:
        """Start it, and return when it takes connections."""
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._as_nobody("rabbitmq-server"),
                env=self._environment,
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        raise AssertionError(f"RabbitMQ did not come up:\n{(self.folder / 'server.log').read_text()[-4000:]}")

    def make_vhosts(self) -> None:
        names = [f"v{number}" for number in range(VHOSTS)]
        made = ", ".join(f'<<"{name}">>' for name in names)
        self.eval(
            f'lists:foreach(fun(V) -> rabbit_vhost:add(V, <<"test">>), rabbit_auth_backend_internal:set_permissions('
            f'<<"guest">>, V, <<".*">>, <<".*">>, <<".*">>, <<"test">>) end, [{made}]).'
        )
        self._vhosts = iter(names)

    def eval(self, expression: str) -> str:
        """What *expression* of Erlang gives in the broker."""
        return self.control("eval", expression)

    def control(self, *arguments: str) -> str:
        """What `rabbitmqctl` prints."""
        ended = subprocess.run(
            self._as_nobody("rabbitmqctl", "--quiet", *arguments),
            env=self._environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def kill(self) -> None:
        """Kill it (SIGKILL), as the lack of memory would."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End it, its port mapper and its data."""
        self.kill()  # nothing of its data is needed
        self._stop_port_mapper()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _stop_port_mapper(self) -> None:
        """It refuses to end as long as it has not noticed that the broker was killed."""
        deadline = time.monotonic() + STOP_TIMEOUT
        while time.monotonic() < deadline:
            asked = subprocess.run(
                ["epmd", "-kill"], env=self._environment, capture_output=True, text=True, check=False
            )
            if "Killed" in asked.stdout + asked.stderr or "Cannot connect" in asked.stdout + asked.stderr:
                return
            time.sleep(0.1)
        raise AssertionError(f"the port mapper goes on: {asked.stdout}{asked.stderr}")

    def _as_nobody(self, program: str, *arguments: str) -> Sequence[str]:
        # The wrappers in /usr/sbin insist on the user `rabbitmq`.
        command = [str(self._programs / program), *arguments]
        if os.geteuid() == 0:
            return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *command]
        return command

    def _configure(self) -> None:
        for name in ("home", "mnesia", "log"):
            (self.folder / name).mkdir()
        lines = [
            f"channel_max = {CHANNELS}",
            f"listeners.tcp.1 = 127.0.0.1:{self.port}",
            f"listeners.ssl.1 = 127.0.0.1:{self.tls_port}",
            f"ssl_options.cacertfile = {self.ca_file}",
            f"ssl_options.certfile = {self.server_file}",
            f"ssl_options.keyfile = {self.server_file}",
            "ssl_options.verify = verify_peer",
            "ssl_options.fail_if_no_peer_cert = true",
        ]
        (self.folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        (self.folder / "enabled_plugins").write_text("[].\n")
        self._environment = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self.folder / "home"),
            "RABBITMQ_NODENAME": "archiver-test@localhost",
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "ERL_EPMD_PORT": str(self._epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ("-kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none"),
        }
        if os.geteuid() == 0:
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, NOBODY, NOBODY)

    def _certificates(self) -> tuple[Path, Path, Path]:
        """The authority's file, the server's and a client's, each with its key in it."""
        issuer, bundle = make_authority(self.folder, "authority")
        made = []
        for name in ("server", "client"):
            (folder := self.folder / name).mkdir()
            make_server_context(folder, "127.0.0.1", issuer, "localhost")
            made.append(folder / "server.pem")
        return Path(bundle), made[0], made[1]


@contextmanager
def rabbitmq() -> Iterator[Broker]:
    broker = Broker()
    try:
        broker.start()
        broker.make_vhosts()
        yield broker
    finally:
        broker.stop()
