"""An ECS agent that does as it is told: it protects, refuses, fails, talks nonsense, hangs or hangs up."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PROTECTED = {"protection": {"ExpirationDate": "2026-11-21T10:00:00Z", "ProtectionEnabled": True, "TaskArn": "arn:task"}}
RELEASED = {"protection": {"ExpirationDate": None, "ProtectionEnabled": False, "TaskArn": "arn:task"}}
BLOCKED = {"failure": {"Arn": "arn:task", "Detail": None, "Reason": "DEPLOYMENT_BLOCKED"}}
NO_SERVICE = {"failure": {"Arn": "arn:task", "Detail": None, "Reason": "TASK_NOT_VALID"}}
DENIED = {
    "error": {"Arn": "arn:task", "Code": "AccessDeniedException", "Message": "not authorized"},
    "requestID": "b0abe3f0",
}

REFUSES = (200, json.dumps(BLOCKED))
MISBEHAVES: dict[str, tuple[int, str] | str] = {
    "denies": (400, json.dumps(DENIED)),
    "knows no service": (200, json.dumps(NO_SERVICE)),
    "fails": (500, "Internal Server Error"),
    "talks nonsense": (200, "[" * 100_000),
    "says the opposite": (200, json.dumps(RELEASED)),
    "answers without an end": "endless",
    "hangs up": "hangs up",
    "hangs": "hangs",
}
"""Answers that protect nobody and refuse nobody, by name."""


class Agent:
    """*answer*: a status and a body, or a way not to answer; None: it does what it is asked."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.answer: tuple[int, str] | str | None = None
        self.asked: list[dict[str, Any]] = []
        self.over = threading.Event()


@contextmanager
def agent() -> Iterator[Agent]:
    """An agent on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            made.asked.append({"path": self.path, **wanted})
            answer = made.answer
            if answer == "hangs":
                made.over.wait(60)
            elif answer == "endless":
                self._endless()
            elif answer != "hangs up":
                self._say(*(answer or (200, json.dumps(PROTECTED if wanted["ProtectionEnabled"] else RELEASED))))
            self.close_connection = True

        def _say(self, status: int, body: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def _endless(self) -> None:
            self.send_response(200)
            self.end_headers()
            try:
                while not made.over.wait(0.05):
                    self.wfile.write(b" " * 1000)
            except OSError:
                pass

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Agent(f"http://127.0.0.1:{server.server_port}/api/0123")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield made
    finally:
        made.over.set()
        server.shutdown()
        server.server_close()
