"""S3 and SQS for tests: an emulator on 127.0.0.1, with plain clients to arrange and to look."""

import itertools
import logging
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

REGION = "eu-west-1"
ACCOUNT = "123456789012"


@dataclass
class EmulatedAws:
    """
    An emulator at *endpoint*, with plain boto3 clients to arrange and to look. Names are new for every call. *bundle*:
    what makes its certificate trusted.
    """

    endpoint: str
    bundle: str
    s3: Any
    sqs: Any
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def bucket(self) -> str:
        """Create a bucket; its name."""
        name = f"bucket-{next(self._numbers)}"
        self.s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        return name

    def queue(self, attributes: Mapping[str, str] | None = None, *, fifo: bool = False) -> str:
        """Create a queue; its URL. Empty attributes count as not given."""
        given = {name: value for name, value in (attributes or {}).items() if value}
        name = f"queue-{next(self._numbers)}"
        if fifo:
            name, given = f"{name}.fifo", {**given, "FifoQueue": "true"}
        return str(self.sqs.create_queue(QueueName=name, Attributes=given)["QueueUrl"])

    def arn(self, url: str) -> str:
        """The ARN of the queue at *url*."""
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{url.rsplit('/', 1)[-1]}"

    def all_messages(self, url: str) -> list[dict[str, Any]]:
        """Everything that can be received from *url* now."""
        found: list[dict[str, Any]] = []
        while got := self.sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], AttributeNames=["All"]
        ).get("Messages"):
            found += got
        return found


class Emulator:
    """
    moto's server on 127.0.0.1, in threads of this process, at two ports: *endpoint* speaks https with a certificate of
    the tests' own authority, *plain* speaks http. Both are the same AWS.
    """

    def __init__(self, serving: ssl.SSLContext) -> None:
        from moto.moto_server import werkzeug_app  # noqa: PLC0415  # heavy, and most tests do without
        from werkzeug.middleware.proxy_fix import ProxyFix  # noqa: PLC0415
        from werkzeug.serving import make_server  # noqa: PLC0415

        _make_deletes_atomic()
        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for every request otherwise
        aws = werkzeug_app.DomainDispatcherApplication(werkzeug_app.create_backend_app)
        app = ProxyFix(aws, x_for=0, x_proto=1)  # behind a proxy that speaks TLS, queues have https URLs
        handler = werkzeug_app.MotoRequestHandler
        plain, tls = (make_server("127.0.0.1", 0, app, threaded=True, request_handler=handler) for _ in range(2))
        # werkzeug would shake hands in the one thread that accepts, and wait there for whoever says nothing.
        tls.socket = serving.wrap_socket(tls.socket, server_side=True, do_handshake_on_connect=False)
        tls.ssl_context = serving
        self._servers = (plain, tls)
        self._threads = [threading.Thread(target=server.serve_forever, daemon=True) for server in self._servers]
        for thread in self._threads:
            thread.start()
        self.address: tuple[str, int] = ("127.0.0.1", plain.port)
        self.plain = f"http://127.0.0.1:{plain.port}"
        self.endpoint = f"https://127.0.0.1:{tls.port}"

    def forget(self, *buckets: str) -> None:
        """
        Drop *buckets* with all that was ever in them. moto keeps each version, part and aborted upload in a list of its
        own: after an hour of fault injection, that was all of a machine's memory.
        """
        from moto.s3.models import FakeKey, FakeMultipart, s3_backends  # noqa: PLC0415  # heavy, as above

        backend = s3_backends[ACCOUNT]["aws"]
        for name in buckets:
            backend.buckets.pop(name, None)
            s3_backends.bucket_accounts.pop(name, None)
        left = backend.buckets.values()
        keys = [key for bucket in left for _, versions in bucket.keys.lists() for key in versions]
        uploads = [upload for bucket in left for upload in bucket.multiparts.values()]
        uploads += [key.multipart for key in keys if getattr(key, "multipart", None)]
        alive = {id(one) for one in (*keys, *uploads)} | {id(part) for one in uploads for part in one.parts.values()}
        for tracked in (FakeKey.instances_tracked, FakeMultipart.instances_tracked):  # type: ignore[attr-defined]
            for one in tracked:
                if id(one) not in alive:
                    one.dispose()
            tracked[:] = [one for one in tracked if id(one) in alive]

    def stop(self) -> None:
        for server, thread in zip(self._servers, self._threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()


@cache
def _make_deletes_atomic() -> None:
    """
    Have every delete hold the queue's lock. To delete a message, moto 5.2.5 makes the queue's list anew without it: of
    two deletes at once, one undoes the other, so that a deleted message comes back; one sent meanwhile is lost.
    """
    from moto.sqs.models import Queue  # noqa: PLC0415  # heavy, and most tests do without

    delete = Queue.delete_message

    def delete_message(self: Any, receipt_handle: str) -> None:
        with self._messages_lock:
            delete(self, receipt_handle)

    Queue.delete_message = delete_message  # type: ignore[method-assign]
