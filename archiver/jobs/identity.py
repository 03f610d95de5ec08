"""Who a job is: the names of its archive and its answers, the same for every delivery of its message."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from secrets import token_hex
from typing import Self

from archiver.core.draft import ArchiveRules
from archiver.core.locations import archive_digest, archive_key
from archiver.core.messages import EchoedFields, Stage, Status, envelope, notification_id
from archiver.errors import Rejected
from archiver.ports import Message, Notifier, OutgoingMessage, Rejection

MIN_BODY_BYTES = 4096  # bytes, for an answer without its lists


@dataclass(frozen=True, slots=True)
class JobIdentity:
    """One job: its *digest* names the archive, whatever delivery brought the message."""

    digest: str
    key: str
    envelope: EchoedFields
    message: Message

    @classmethod
    def of(cls, message: Message, rules: ArchiveRules, queue_arn: str) -> Self:
        """The identity of the job that *message* asks for, whether or not its body is a good request."""
        fields = replace(envelope(message.body), message_id=message.id)
        digest = archive_digest(rules.key_secret, queue_arn, fields.job_id, message.id)
        return cls(digest, archive_key(digest, rules.file_prefix), fields, message)

    def answer(self, status: Status, notifier: Notifier, write: Callable[[int], str]) -> OutgoingMessage:
        """
        An answer about this job, the same for every delivery of the message. *write* makes its body of so many bytes
        at the most; attributes that leave hardly any room for it are left out.
        """
        return self._outgoing(notifier, write, self.answer_id(status))

    def event(self, stage: Stage, notifier: Notifier, write: Callable[[int], str]) -> OutgoingMessage:
        """Word of how this job goes: never the same one twice."""
        return self._outgoing(
            notifier, write, hashlib.sha256(f"{self.digest}\n{stage}\n{token_hex(8)}".encode()).hexdigest()
        )

    def _outgoing(self, notifier: Notifier, write: Callable[[int], str], deduplication_key: str) -> OutgoingMessage:
        attributes = self.message.attributes
        if notifier.max_body_bytes(attributes) < MIN_BODY_BYTES:
            attributes = {}
        group = self.message.group or self.digest
        return OutgoingMessage(write(notifier.max_body_bytes(attributes)), deduplication_key, group, attributes)

    def answer_id(self, status: Status) -> str:
        return notification_id(self.digest, self.message.id, status)

    def rejection(self, rejected: Rejected) -> Rejection:
        """What goes beside the message into the dead-letter queue."""
        # Not the same after a redrive, which begins the count anew: SQS would drop that copy as one that it knows.
        deduplication_key = f"{self.answer_id('failed')}\n{self.message.first_received}"
        group = self.message.group or self.digest
        return Rejection(rejected.code, rejected.message, group, hashlib.sha256(deduplication_key.encode()).hexdigest())
