"""
A fake ECS agent. It responds as its service does (`cluster.py`), or as configured: it refuses, fails, sends invalid
JSON, hangs or closes the connection. The same port serves the ECS API, for AWS_ENDPOINT_URL_ECS.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .cluster import PREFIX, Cluster, Task

TASK = f"{PREFIX}:task/zips/0123"
RELEASED = {"protection": {"ExpirationDate": None, "ProtectionEnabled": False, "TaskArn": TASK}}
BLOCKED = {"failure": {"Arn": TASK, "Detail": None, "Reason": "DEPLOYMENT_BLOCKED"}}
NO_SERVICE = {"failure": {"Arn": TASK, "Detail": None, "Reason": "TASK_NOT_VALID"}}
UNKNOWN = {"failure": {"Arn": TASK, "Detail": "try later", "Reason": "SOMETHING_NEW"}}
DENIED = {
    "error": {"Arn": TASK, "Code": "AccessDeniedException", "Message": "not authorized"},
    "requestID": "b0abe3f0",
}

REFUSES = (200, json.dumps(BLOCKED))
MISBEHAVES: dict[str, tuple[int, str] | str] = {
    "denies": (400, json.dumps(DENIED)),
    "has no service": (200, json.dumps(NO_SERVICE)),
    "has an unknown reason": (200, json.dumps(UNKNOWN)),
    "fails": (500, "Internal Server Error"),
    "sends invalid JSON": (200, "[" * 100_000),
    "reports no protection": (200, json.dumps(RELEASED)),
    "sends an endless response": "endless",
    "closes the connection": "hangs up",
    "hangs": "hangs",
}
"""Responses that neither grant nor refuse protection, by name."""


class Agent:
    """
    State of the fake agent.

    *answer*: a status and a body, or a name of a way not to respond. None: the response of *service* to its only task,
    TASK. *described*: names of the ECS API calls received. *secretive*: deny these calls.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.answer: tuple[int, str] | str | None = None
        self.asked: list[dict[str, Any]] = []
        self.described: list[str] = []
        self.secretive = False
        self.group = "service:archiver"
        self.service = Cluster(1, time.monotonic)
        self.service.tasks[TASK] = Task(TASK, self.service.revision)
        self.over = threading.Event()


class Handler(BaseHTTPRequestHandler):
    """The agent's endpoint (PUT) and the ECS API (POST), for the Agent in the server's `made`."""

    @property
    def made(self) -> Agent:
        return self.server.made  # type: ignore[attr-defined,no-any-return]

    def do_PUT(self) -> None:
        wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.made.asked.append({"path": self.path, **wanted})
        answer = self.made.answer
        if answer == "hangs":
            self.made.over.wait(60)
        elif answer == "endless":
            self._endless()
        elif answer != "hangs up":
            self._respond(*(answer or (200, json.dumps(self.made.service.answer(TASK, wanted)))))
        self.close_connection = True

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        call = self.headers["X-Amz-Target"].rpartition(".")[2]
        self.made.described.append(call)
        if self.made.secretive:
            self._respond(400, json.dumps({"__type": "AccessDeniedException", "message": "not authorized"}))
            return
        service = self.made.service
        mine = {"taskArn": TASK, "group": self.made.group, "taskDefinitionArn": service.tasks[TASK].revision}
        responses = {"DescribeTasks": {"tasks": [mine]}, "DescribeServices": {"services": [service.described()]}}
        self._respond(200, json.dumps(responses[call]))

    def _respond(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def _endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            while not self.made.over.wait(0.05):
                self.wfile.write(b" " * 1000)
        except OSError:
            pass

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def agent() -> Iterator[Agent]:
    """Run an agent on a free port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = server.made = Agent(f"http://127.0.0.1:{server.server_port}/api/0123")  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield made
    finally:
        made.over.set()
        server.shutdown()
        server.server_close()
