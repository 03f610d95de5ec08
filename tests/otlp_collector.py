"""A collector of traces in this process: OTLP over HTTP, as the exporter sends it."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

UNSET, OK, ERROR = 0, 1, 2


@dataclass
class Collected:
    """One span."""

    name: str
    trace: str
    id: str
    parent: str
    start: int
    end: int
    status: int
    reason: str
    attributes: dict[str, Any]
    events: list[str]
    links: list[str]


@dataclass
class Collector:
    """What has arrived at *url*. *answer*: the status of every response; *delay* in seconds before it."""

    url: str = ""
    answer: int = 200
    requests: list[str] = field(default_factory=list)
    spans: list[Collected] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)
    hangs: bool = False

    def jobs(self) -> list[Collected]:
        return [one for one in self.spans if one.name == "job"]

    def below(self, job: Collected) -> dict[str, Collected]:
        """The spans below *job*, by name, in the order of their start. Each must be there once."""
        found = sorted((one for one in self.spans if one.parent == job.id), key=lambda one: one.start)
        assert len({one.name for one in found}) == len(found), [one.name for one in found]
        return {one.name: one for one in found}

    def take(self, path: str, body: bytes) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415 - an extra
            ExportTraceServiceRequest,
        )

        self.requests.append(path)
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans += [_read(span) for span in scope.spans]


def _read(span: Any) -> Collected:
    return Collected(
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        status=span.status.code,
        reason=span.status.message,
        attributes={
            one.key: getattr(one.value, one.value.WhichOneof("value") or "string_value") for one in span.attributes
        },
        events=[event.name for event in span.events],
        links=[link.trace_id.hex() for link in span.links],
    )


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if collector.hangs:
                collector.release.wait(60)
            if collector.answer == 200:
                zipped = self.headers.get("Content-Encoding") == "gzip"
                collector.take(self.path, gzip.decompress(body) if zipped else body)
            self.send_response(collector.answer)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=lambda: server.serve_forever(0.01), daemon=True)
    thread.start()
    collector.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield collector
    finally:
        collector.release.set()
        server.shutdown()
        thread.join()
        server.server_close()
