"""What the checker evaluates: jobs, the proxy's history, and the final state of queues and buckets."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .history import Exchange, History
from .operations import PUT_RECEIPT

SUCCESSES = ("succeeded", "partial")
CORRELATION = "Correlation-Id"
"""The message attribute that assigns an answer to its job. The worker copies attributes to its answers."""


@dataclass(frozen=True, slots=True)
class Source:
    """The source object of a member."""

    bucket: str
    key: str


@dataclass(frozen=True, slots=True)
class Job:
    """
    A message that was sent. *message* is its id, *token* its `Correlation-Id`, *key* its archive's key.

    *members*: the expected members of the archive, by path and in order; None if the job must not produce an archive.
    *changed*: its sources changed while it ran, so that two attempts may have different outcomes.
    *command*: it runs one: *key* is that of its remembered result, *members* are its outputs, by URI.
    """

    message: str
    token: str
    body: str
    key: str
    members: Mapping[str, Source | bytes] | None
    changed: bool = False
    command: bool = False


@dataclass(frozen=True, slots=True)
class Resources:
    """
    Names of queues and buckets. *versions*: every version of every object, by bucket, key and ETag with quotes.

    *secrets* must not appear anywhere; *private* texts (from requests) not in logs or errors.
    """

    source_queue: str
    answer_queue: str | None
    failure_queue: str | None
    dead_letters: str | None
    archives: str
    allowed: frozenset[str]
    visibility: int
    versions: Mapping[tuple[str, str, str], bytes] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    private: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FinalState:
    """
    The state after a scenario.

    *waiting*: number of messages in the source queue (visible, in flight or delayed); *dead*: ids of messages in the
    dead-letter queue; *uploads*: keys of unfinished uploads; *records*: those of their records; *receipts*: keys of the
    receipts in the bucket; *due*: those that its archives name; *logs*: the output of all workers.
    """

    waiting: int = 0
    dead: tuple[str, ...] = ()
    uploads: tuple[str, ...] = ()
    records: tuple[str, ...] = ()
    receipts: tuple[str, ...] = ()
    due: tuple[str, ...] = ()
    logs: str = ""


@dataclass(frozen=True)
class Observations:
    """The input of the checker."""

    resources: Resources
    jobs: tuple[Job, ...]
    history: History
    final_state: FinalState = FinalState()

    def writes(self, key: str) -> list[Exchange]:
        """Return the requests that create the archive at *key*, carried out or not."""
        writing = self.history.select("PutObject", "CompleteMultipartUpload")
        return [e for e in writing if e.call.bucket == self.resources.archives and e.call.key == key]

    def outputs(self, job: Job) -> list[Exchange]:
        """Return the requests that create outputs of commands, carried out or not; none if *job* runs no command."""
        writing = self.history.select("PutObject", "CompleteMultipartUpload") if job.command else []
        return [e for e in writing if e.call.bucket != self.resources.archives]

    def receipts(self, key: str, op: str = PUT_RECEIPT) -> list[Exchange]:
        """Return the requests that write a receipt for the archive at *key*, or *op*, carried out or not."""
        folder = key.rpartition("/")[0]
        return [
            e
            for e in self.history.select(op)
            if e.call.bucket == self.resources.archives and (e.call.key or "").startswith(f"{folder}/")
        ]

    def successes(self, job: Job) -> list[Exchange]:
        """Return the success answers for *job* that were sent, accepted or not."""
        return [e for e in self.sent_to(self.resources.answer_queue, job) if answer_body(e).get("status") in SUCCESSES]

    def failures(self, job: Job) -> list[Exchange]:
        """Return the failure answers for *job* that were sent, accepted or not."""
        return [e for e in self.sent_to(self.resources.failure_queue, job) if answer_body(e).get("status") == "failed"]

    def rejections(self, job: Job) -> list[Exchange]:
        """
        Return the copies of *job*'s message that were sent to the dead-letter queue, accepted or not.

        A body of maximum size leaves no bytes for the token attribute; then the body alone identifies the job.
        """
        letters = self.messages(self.resources.dead_letters)
        return [
            e
            for e in letters
            if e.facts["attributes"].get(CORRELATION, job.token) == job.token and _has_body_of(e, job)
        ]

    def deletes(self, job: Job) -> list[Exchange]:
        """Return the requests to delete *job*'s message, carried out or not."""
        return [e for e in self.history.select("DeleteMessage") if e.facts.get("message") == job.message]

    def sent_to(self, queue: str | None, job: Job) -> list[Exchange]:
        return [e for e in self.messages(queue) if e.facts["attributes"].get(CORRELATION) == job.token]

    def messages(self, queue: str | None) -> Iterator[Exchange]:
        """Return the messages that workers sent to *queue*."""
        return (e for e in self.history.select("SendMessage") if queue is not None and e.call.queue == queue)


def _has_body_of(letter: Exchange, job: Job) -> bool:
    return bool(letter.facts["body"] == job.body)


def answer_body(exchange: Exchange) -> dict[str, Any]:
    """Return the parsed body of an answer; empty if it is not a JSON object."""
    try:
        parsed = json.loads(exchange.facts.get("body", ""))
    except (ValueError, RecursionError):  # a dead letter may have any body
        return {}
    return parsed if isinstance(parsed, dict) else {}


def executed(exchanges: list[Exchange], by: float | None = None) -> list[Exchange]:
    """Return those of *exchanges* that were carried out; if *by* is given, until that time."""
    return [e for e in exchanges if e.committed is not None and (by is None or e.committed <= by)]
