"""A job's identity: the names of its archive and its answers, the same for every delivery of its message."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from secrets import token_hex
from typing import Self

from archiver.core.archive_rules import ArchiveRules
from archiver.core.dialects import Dialect, asks_for_command, dialect_of
from archiver.core.locations import archive_digest, archive_key
from archiver.core.messages import EchoedFields, Stage, Status, notification_id
from archiver.core.unwrap import unwrap
from archiver.errors import Rejected
from archiver.ports import Message, Notifier, OutgoingMessage, Rejection
from archiver.stages.tracing import current_trace

MIN_BODY_BYTES = 4096  # bytes, for an answer without its lists
_WITH_ARCHIVE = ("succeeded", "partial")


@dataclass(frozen=True, slots=True)
class JobIdentity:
    """
    One job. *digest* names its archive; *body* is its request without wrappers; *dialect* is the one that it is written
    in; *makes_archive* is False of a command, once it is done.
    """

    digest: str
    key: str
    echoed: EchoedFields
    message: Message
    body: str
    dialect: Dialect
    makes_archive: bool = True

    @classmethod
    def of(cls, message: Message, rules: ArchiveRules, source_id: str) -> Self:
        """The identity of the job that *message*, from the source *source_id*, asks for; its body may be invalid."""
        body = unwrap(message.body)
        dialect = dialect_of(body)
        echoed = replace(dialect.read_echoed_fields(body), message_id=message.id)
        digest = archive_digest(rules.key_secret, source_id, echoed.job_id, message.id)
        return cls(digest, archive_key(digest, rules.file_prefix), echoed, message, body, dialect)

    def answer(self, status: Status, notifier: Notifier, write: Callable[[int], str]) -> OutgoingMessage:
        """
        Make an answer about this job, the same for every delivery of the message. *write* makes a body of at most so
        many bytes; attributes that leave less than `MIN_BODY_BYTES` for it are dropped.
        """
        note = self._outgoing(status, notifier, write, self.answer_id(status))
        return replace(note, key=self.key) if self.makes_archive and status in _WITH_ARCHIVE else note

    def event(self, stage: Stage, notifier: Notifier, write: Callable[[int], str]) -> OutgoingMessage:
        """Make a progress event. Its deduplication id is unique: two events are never the same."""
        unique = hashlib.sha256(f"{self.digest}\n{stage}\n{token_hex(8)}".encode()).hexdigest()
        return self._outgoing(stage, notifier, write, unique)

    def _outgoing(
        self, status: str, notifier: Notifier, write: Callable[[int], str], deduplication_id: str
    ) -> OutgoingMessage:
        attributes = current_trace().propagate(self.message.attributes)
        if notifier.max_body_bytes(attributes) < MIN_BODY_BYTES:
            attributes = {}
        body, group = write(notifier.max_body_bytes(attributes)), self.message.group or self.digest
        is_command = asks_for_command(self.body)
        return OutgoingMessage(body, deduplication_id, group, attributes, status, is_command=is_command)

    def answer_id(self, status: Status) -> str:
        return notification_id(self.digest, self.message.id, status)

    def rejection(self, rejected: Rejected) -> Rejection:
        """Make the reason that is dead-lettered with the message."""
        # A redrive resets the receive count; with the same id as before it, SQS would drop the copy as a duplicate.
        deduplication_key = f"{self.answer_id('failed')}\n{self.message.first_received}"
        group = self.message.group or self.digest
        return Rejection(rejected.code, rejected.message, group, hashlib.sha256(deduplication_key.encode()).hexdigest())
