"""Messages of a dead-letter queue: why each was rejected, filters, and groups by error code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from archiver.core.dialects import dialect_of

NO_CODE = "(no code)"
"""The code of messages that SQS itself moved, after too many receives."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message of a dead-letter queue. *attributes*: its message attributes, in the format of ReceiveMessage."""

    id: str
    body: str
    sent_at: datetime
    code: str
    reason: str
    job_id: str | None
    group: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    original_id: str | None = None  # its id in the source queue: a message gets a new id in the dead-letter queue

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> Self:
        """Parse a message from ReceiveMessage."""
        attributes = message.get("MessageAttributes", {})
        system = message.get("Attributes", {})
        code = attributes.get("ErrorCode", {}).get("StringValue", NO_CODE)
        reason = attributes.get("ErrorMessage", {}).get("StringValue", "")
        if code == NO_CODE:
            reason = "moved here by SQS, after more receives than the redrive policy allows"
        return cls(
            id=message["MessageId"],
            body=message["Body"],
            sent_at=datetime.fromtimestamp(int(system.get("SentTimestamp", 0)) / 1000, UTC),
            code=code,
            reason=reason,
            job_id=dialect_of(message["Body"]).read_job_id(message["Body"]),
            group=system.get("MessageGroupId"),
            attributes=attributes,
            original_id=attributes.get("MessageId", {}).get("StringValue"),
        )


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Selects the messages that match every given field; all messages if none is given."""

    code: str | None = None
    job_id: str | None = None
    id: str | None = None

    @property
    def all(self) -> bool:
        return not (self.code or self.job_id or self.id)

    def matches(self, reject: DeadLetter) -> bool:
        return (
            self.code in (None, reject.code)
            and self.job_id in (None, reject.job_id)
            and self.id in (None, reject.id, reject.original_id)
        )


@dataclass(frozen=True, slots=True)
class CodeGroup:
    """The messages with one code: their number, the oldest one's time, and some of their jobs."""

    code: str
    count: int
    oldest: datetime
    jobs: tuple[str, ...]
    reason: str


MAX_JOBS_SHOWN = 3  # jobs of one group


def group_by_code(rejects: Sequence[DeadLetter]) -> list[CodeGroup]:
    """Group *rejects* by code, the most frequent code first."""
    by_code: dict[str, list[DeadLetter]] = {}
    for reject in rejects:
        by_code.setdefault(reject.code, []).append(reject)
    groups = [
        CodeGroup(
            code,
            len(found),
            min(one.sent_at for one in found),
            tuple(dict.fromkeys(one.job_id or one.id for one in found))[:MAX_JOBS_SHOWN],
            found[0].reason,
        )
        for code, found in by_code.items()
    ]
    return sorted(groups, key=lambda group: (-group.count, group.code))
