"""A virtual host, buckets and workers of one test: RabbitMQ beside the emulated S3."""

import json
import uuid
from types import TracebackType
from typing import Any, Self

from emulator import EmulatedAws
from faults.worker_process import wait_until
from processes.archiver_process import Worker
from processes.worker_env import WorkerEnv

from .amqp_client import AmqpClient, Reply
from .rabbit import Broker

QUEUE = "job_archiver"
COMPLETED, ERROR, PROGRESSION = "job_completed", "job_error", "job_progression"


class AmqpEnv(WorkerEnv):
    """*backend*: the queues of the Media Cloud AI backend are there. `client` is connected to the broker itself."""

    def __init__(self, aws: EmulatedAws, broker: Broker, *, backend: bool = True, port: int | None = None) -> None:
        super().__init__(aws)
        self.broker = broker
        self.vhost = broker.vhost()
        self.port = port or broker.port
        self.client = AmqpClient(broker.port, self.vhost)
        self._backend = backend

    def __enter__(self) -> Self:
        self.client.__enter__()
        if self._backend:
            self.client.declare_backend()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self.client.__exit__(kind, error, trace)

    def settings(self, **other: str) -> dict[str, str]:
        of_sqs = dict.fromkeys(("SQS_SOURCE_QUEUE", "SQS_DESTINATION_QUEUE", "SQS_FAILURE_QUEUE"), "")
        broker = {"AMQP_QUEUE": QUEUE, "AMQP_PORT": str(self.port), "AMQP_VHOST": self.vhost}
        return super().settings(**{**of_sqs, **broker, **other})

    def worker_without_waiting(self, **settings: str) -> Worker:
        """Start a worker that will not be ready."""
        worker = Worker(f"worker-{len(self.workers)}", self.settings(**settings))
        self.workers.append(worker)
        return worker

    def request(self, *sources: str, **fields: Any) -> str:
        """Publish a request as a sender does, and return its job id."""
        job_id = fields.pop("job_id", f"job-{uuid.uuid4().hex[:8]}")
        body = {"job_id": job_id, "files": [{"source": source} for source in sources], **fields}
        self.client.publish(json.dumps(body), QUEUE, "job_submit", delivery_mode=2)
        return str(job_id)

    def reply(self, queue: str = COMPLETED, seconds: float = 40) -> dict[str, Any]:
        """The next reply in *queue*, waited for."""
        return dict(json.loads(self.raw_reply(queue, seconds).body))

    def raw_reply(self, queue: str = COMPLETED, seconds: float = 40) -> Reply:
        found: list[Reply] = []

        def came() -> bool:
            reply = self.client.take(queue)
            if reply is not None:
                found.append(reply)
            return bool(found)

        wait_until(came, f"a reply in {queue}", seconds)
        return found[0]

    def wait_until_empty(self, seconds: float = 40) -> None:
        """Wait until nothing is in the queue of requests or waits in the delay queue."""
        queues = (QUEUE, "job_delayed")
        wait_until(lambda: not any(map(self.client.depth, queues)), "the queues to be empty", seconds)
