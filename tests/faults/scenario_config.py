"""The configuration of a scenario, its planted secrets, and the environment of its workers."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from certificates import shared_trust

from .emulator import REGION

ACCESS_SECRET = "planted-access-secret"
SESSION_TOKEN = "planted-session-token"
KEY_SECRET = "planted-key-secret"
PRIVATE = "private-words-of-the-request"
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ScenarioConfig:
    """
    The configuration of a scenario.

    *visibility* in seconds; *max_receives* None: no redrive policy and no dead-letter queue; *answers*, *failures*:
    whether the worker has a queue for answers, for failure answers; *allowed*: S3_ALLOWED_SOURCES, with `{sources}`
    for the bucket's name; *tls*: the proxy uses HTTPS, unless FAULTS_OVER_HTTP is set in the tests' environment.
    """

    visibility: int = 30
    max_receives: int | None = 5
    failures: bool = True
    answers: bool = True
    allowed: str = "{sources}"
    tls: bool = field(default_factory=lambda: not os.environ.get("FAULTS_OVER_HTTP"))

    def environment(self, queues: Mapping[str, str], sources: str, archives: str) -> dict[str, str]:
        """Return a worker's environment with the planted secrets, without its endpoint. *queues*: names by role."""
        return {
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": ACCESS_SECRET,
            "AWS_SESSION_TOKEN": SESSION_TOKEN,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CA_BUNDLE": shared_trust().bundle,
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "SQS_SOURCE_QUEUE": queues["in"],
            "SQS_DESTINATION_QUEUE": queues["out"] if self.answers else "",
            "SQS_FAILURE_QUEUE": queues["failures"] if self.failures else "",
            "S3_SOURCE_BUCKET": sources,
            "S3_ALLOWED_SOURCES": self.allowed.format(sources=sources),
            "S3_DESTINATION_BUCKET": archives,
            "ARCHIVE_KEY_SECRET": KEY_SECRET,
            "ARCHIVE_BASE_URL": "https://archives.example/",
            "MEMORY_BUDGET_MIB": "15",
            "SQS_WAIT_SECONDS": "1",
            "SHUTDOWN_GRACE_SECONDS": "10",
        }


def content(size: int, seed: int = 0) -> bytes:
    """Return *size* bytes without repeated blocks, the same for the same *seed*."""
    block = hashlib.sha512(f"{seed}".encode()).digest()
    return b"".join(block[:56] + n.to_bytes(8, "big") for n in range(size // 64 + 1))[:size]
