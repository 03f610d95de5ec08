"""
The ports: what the worker needs of the world outside.

Each is a Protocol of at most four verbs. Each has a complete in-memory fake in `tests/fakes/`, and one contract test in
`tests/contract/` that runs on the fake and on the real adapter.
"""

from archiver.ports.jobs import (
    Hold,
    Job,
    JobOutcome,
    JobResult,
    JobSuccess,
    Observer,
)
from archiver.ports.messages import (
    LONGEST_RETENTION,
    Attribute,
    DeadLetters,
    Links,
    Message,
    MessageSource,
    Notifier,
    OutgoingMessage,
    QueueFacts,
    Rejection,
)
from archiver.ports.objects import (
    CopyCapability,
    MultipartUpload,
    ObjectReader,
    ObjectRestorer,
    ObjectStore,
    ReadQueue,
    Roles,
    StoredArchive,
    Target,
    Unanswered,
    WholeRead,
)
from archiver.ports.uploads import UnfinishedUpload, UnfinishedUploads

__all__ = [
    "LONGEST_RETENTION",
    "Attribute",
    "CopyCapability",
    "DeadLetters",
    "Hold",
    "Job",
    "JobOutcome",
    "JobResult",
    "JobSuccess",
    "Links",
    "Message",
    "MessageSource",
    "MultipartUpload",
    "Notifier",
    "ObjectReader",
    "ObjectRestorer",
    "ObjectStore",
    "Observer",
    "OutgoingMessage",
    "QueueFacts",
    "ReadQueue",
    "Rejection",
    "Roles",
    "StoredArchive",
    "Target",
    "Unanswered",
    "UnfinishedUpload",
    "UnfinishedUploads",
    "WholeRead",
]
