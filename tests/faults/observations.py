"""What a scenario leaves behind: what was asked of whom, what passed the proxy, what remained."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .history import Exchange, History

SUCCESSES = ("succeeded", "partial")
CORRELATION = "Correlation-Id"
"""The message attribute by which a scenario tells whose answer an answer is: the worker passes attributes on."""


@dataclass(frozen=True, slots=True)
class Source:
    """An object that a member is made from."""

    bucket: str
    key: str


@dataclass(frozen=True, slots=True)
class Job:
    """
    One message that was sent. *message* is its id, *token* its `Correlation-Id`, *key* its archive's key.

    *members*: what the archive must hold, by path and in order; None where no archive may come of it.
    *changed*: its sources were changed while it ran, so that two attempts may end in different ways.
    """

    message: str
    token: str
    body: str
    key: str
    members: Mapping[str, Source | bytes] | None
    changed: bool = False


@dataclass(frozen=True, slots=True)
class Resources:
    """
    Where everything is, by name. *versions*: every body that an object ever had, by bucket, key and ETag with quotes.
    *secrets* may be nowhere; *private* texts (of requests) in no log line and no error.
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
    What is left when the dust has settled: how many messages are *waiting* in the source queue (visible, hidden or
    delayed), the ids of those in the dead-letter queue, the keys of unfinished uploads, and all that the workers wrote.
    """

    waiting: int = 0
    dead: tuple[str, ...] = ()
    uploads: tuple[str, ...] = ()
    logs: str = ""


@dataclass(frozen=True)
class Observations:
    """All that the checker judges by."""

    resources: Resources
    jobs: tuple[Job, ...]
    history: History
    final_state: FinalState = FinalState()

    def writes(self, key: str) -> list[Exchange]:
        """The requests that make the archive at *key* appear, carried out or not."""
        writing = self.history.select("PutObject", "CompleteMultipartUpload")
        return [e for e in writing if e.call.bucket == self.resources.archives and e.call.key == key]

    def successes(self, job: Job) -> list[Exchange]:
        """The success answers about *job* that were sent, accepted or not."""
        return [e for e in self.sent_to(self.resources.answer_queue, job) if answer_body(e).get("status") in SUCCESSES]

    def failures(self, job: Job) -> list[Exchange]:
        """The failure answers about *job* that were sent, accepted or not."""
        return [e for e in self.sent_to(self.resources.failure_queue, job) if answer_body(e).get("status") == "failed"]

    def rejections(self, job: Job) -> list[Exchange]:
        """
        The copies of *job*'s message that were sent to the dead-letter queue, accepted or not.

        A body that leaves no room for attributes has lost its token, and speaks for itself.
        """
        letters = self.messages(self.resources.dead_letters)
        return [
            e
            for e in letters
            if e.facts["attributes"].get(CORRELATION, job.token) == job.token and _has_body_of(e, job)
        ]

    def deletes(self, job: Job) -> list[Exchange]:
        """The requests to delete *job*'s message, carried out or not."""
        return [e for e in self.history.select("DeleteMessage") if e.facts.get("message") == job.message]

    def sent_to(self, queue: str | None, job: Job) -> list[Exchange]:
        return [e for e in self.messages(queue) if e.facts["attributes"].get(CORRELATION) == job.token]

    def messages(self, queue: str | None) -> Iterator[Exchange]:
        """What the workers sent to *queue*."""
        return (e for e in self.history.select("SendMessage") if queue is not None and e.call.queue == queue)


def _has_body_of(letter: Exchange, job: Job) -> bool:
    return bool(letter.facts["body"] == job.body)


def answer_body(exchange: Exchange) -> dict[str, Any]:
    """The body of an answer, parsed; empty where it is no JSON object."""
    try:
        parsed = json.loads(exchange.facts.get("body", ""))
    except (ValueError, RecursionError):  # a dead letter may be anything
        return {}
    return parsed if isinstance(parsed, dict) else {}


def executed(exchanges: list[Exchange], by: float | None = None) -> list[Exchange]:
    """Those of *exchanges* that were carried out, before the moment *by* where one is given."""
    return [e for e in exchanges if e.committed is not None and (by is None or e.committed <= by)]
