"""Jobs: what a worker does for a message, and who counts it."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from archiver.core.traffic import Traffic
from archiver.errors import Rejected
from archiver.ports.messages import Message


@dataclass(frozen=True, slots=True)
class JobSuccess:
    """
    What a successful job made. *size* in bytes; *key*: of its archive, "" if it made none (a ping, a command, a job
    that was cancelled); *reused*: the archive, or the command's result, existed before. *traffic*: None if nobody asked
    for a strategy, or nothing was sent.
    """

    status: str
    files: int
    size: int
    key: str
    reused: bool
    traffic: Traffic | None = None


JobOutcome = Literal["done", "rejected", "retried", "returned", "lease_lost"]


@dataclass(frozen=True, slots=True)
class JobResult:
    """
    How a job ended. *code*: why it was rejected or retried. *seconds*: since its receive; *queued*: seconds before it.
    *margin*: the smallest fraction of the visibility timeout that its lease ever had left, 0 to 1.
    *traffic*: as of a JobSuccess.
    """

    outcome: JobOutcome
    seconds: float
    queued: float
    margin: float
    code: str = ""
    files: int = 0
    bytes: int = 0
    traffic: Traffic | None = None


class Observer(Protocol):
    """Counts jobs. It must neither wait nor raise."""

    def ended(self, job: JobResult) -> None:
        """Record that a job ended."""


class Hold(Protocol):
    """A job's claim on its message, and on one of the worker's slots."""

    def confirm(self) -> None:
        """Raise LeaseLost unless the message is certainly still held. Called before every externally visible write."""

    def parked(self) -> AbstractAsyncContextManager[None]:
        """
        Wait without a slot: in the block, the lease is renewed and another job may use the slot. Leaving the block
        waits for a slot. On shutdown, a parked job is cancelled at once.
        """

    def end(self) -> None:
        """From now on, the job only ends: leaving a parked block waits for no slot."""


class Job(Protocol):
    """What is done for a message. The worker depends on nothing else of it."""

    def read_job_id(self, message: Message) -> str | None:
        """The request's `job_id`; None if its body can't be read."""

    async def run(self, message: Message, hold: Hold) -> JobSuccess:
        """Do the job and send the answer. Raises any ArchiverError."""

    async def reject(self, message: Message, rejection: Rejected, hold: Hold) -> None:
        """
        Dead-letter *message*. Raises TransientError (Undeliverable: no dead-letter queue accepts it), LeaseLost.
        """

    async def send_failure(self, message: Message, rejection: Rejected, hold: Hold) -> None:
        """Send the failure answer. Raises TransientError, ConfigurationError, LeaseLost."""
