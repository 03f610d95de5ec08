"""A stand-in for Lambda's Runtime API, and our handler under AWS's own runtime client, in a process of its own."""

import json
import os
import queue
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from .function_env import FUNCTION

TIMEOUT = 60.0  # seconds for one answer, on a busy machine


class RuntimeApi(ThreadingHTTPServer):
    """`GET next` waits for an event of `events`; what is posted goes to `answers`, with the last part of its path."""

    daemon_threads = True

    def __init__(self) -> None:
        self.events: queue.Queue[tuple[str, str, float]] = queue.Queue()
        self.answers: queue.Queue[tuple[str, Any]] = queue.Queue()
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: RuntimeApi

    def do_GET(self) -> None:
        request_id, body, seconds = self.server.events.get()
        self.send_response(200)
        self.send_header("Lambda-Runtime-Aws-Request-Id", request_id)
        self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + seconds) * 1000)))
        self.send_header("Lambda-Runtime-Invoked-Function-Arn", f"{FUNCTION}:live")
        self.send_header("Lambda-Runtime-Trace-Id", "Root=1-0-0;Sampled=0")  # without it, the client crashes
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self.server.answers.put((self.path.rpartition("/")[2], json.loads(body) if body else None))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Relay:
    """`with Relay(address) as relay`: a way to a server on *address*. `seen` has every byte that was sent to it."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.seen = bytearray()
        self._address = address
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.drop()

    def drop(self) -> int:
        """Reset all connections; how many there were."""
        dropped, self._pairs = self._pairs, []
        for pair in dropped:
            for end in pair:
                with suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
        return len(dropped)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                pair = self._listener.accept()[0], socket.create_connection(self._address)
                self._pairs.append(pair)
                for one, other, seen in ((*pair, self.seen), (*reversed(pair), bytearray())):
                    threading.Thread(target=self._pass, args=(one, other, seen), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket, seen: bytearray) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                seen += data
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)


class CredentialsServer(ThreadingHTTPServer):
    """What the SDK asks for credentials: it gives `key`, which has to be asked for again before each use."""

    daemon_threads = True

    def __init__(self) -> None:
        self.key = "AKIDFIRST"
        super().__init__(("127.0.0.1", 0), _CredentialsHandler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/credentials"


class _CredentialsHandler(BaseHTTPRequestHandler):
    server: CredentialsServer

    def do_GET(self) -> None:
        soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))
        keys = {"AccessKeyId": self.server.key, "SecretAccessKey": "s", "Token": "t", "Expiration": soon}
        body = json.dumps(keys).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Function:
    """`with Function(settings) as function`: the handler in a process, which is gone at the end."""

    def __init__(self, environ: Mapping[str, str], folder: Any) -> None:
        self._api = RuntimeApi()
        self._log = folder / "function.log"
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        host, port = self._api.server_address[:2]
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "awslambdaric", "archiver.awslambda.handler"],
                env={**kept, **environ, "AWS_LAMBDA_RUNTIME_API": f"{host!s}:{port}"},
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._thread = threading.Thread(target=self._api.serve_forever, daemon=True)
        self._numbers = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        self._api.shutdown()
        self._api.server_close()
        if error is not None:
            error.add_note(f"--- the function\n{self.log}")

    @property
    def log(self) -> str:
        return str(self._log.read_text())

    def send(self, event: object, *, seconds: float = 60.0, request_id: str = "") -> str:
        """Have the function invoked, with so many seconds for it; the id of the invocation."""
        self._numbers += 1
        request_id = request_id or f"invocation-{self._numbers}"
        self._api.events.put((request_id, json.dumps(event), seconds))
        return request_id

    def answer(self) -> tuple[str, Any]:
        """What the function answers: `response` and the value, or `error` and what it says."""
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline and self.process.poll() is None:
            with suppress(queue.Empty):
                return self._api.answers.get(timeout=0.5)
        raise AssertionError(f"no answer; exit code {self.process.poll()}")

    def invoke(self, event: object, **more: Any) -> Any:
        self.send(event, **more)
        kind, value = self.answer()
        assert kind == "response", value
        return value
