"""Classifies the errors of jobs: final for the message, or worth a retry."""

import structlog

from archiver.core.durations import format_seconds
from archiver.errors import ArchiverError, Rejected, TransferInterrupted, TransientError
from archiver.ports import Message, QueueFacts

log = structlog.get_logger(__name__)


def classify_error(error: Exception, *, expired: bool, longest: float, first_delivery: bool) -> ArchiverError:
    """
    Return the ArchiverError that *error* of a job counts as. *expired*: the job's time limit has passed; *longest*: the
    seconds that the source holds a message; *first_delivery*: the message was received once only.
    """
    if isinstance(error, ArchiverError):
        return error
    if isinstance(error, TimeoutError) and expired:
        return Rejected(
            "time_limit", f"the job did not end within the {format_seconds(longest)} that its source allows"
        )
    # Sockets, file descriptors, memory, threads: other jobs may return them.
    if isinstance(error, OSError | MemoryError) or _is_thread_exhaustion(error):
        return TransientError(f"{type(error).__name__}: {error}")
    log.error("job.defect", exc_info=error)
    rejection = Rejected("internal", f"a defect in the archiver: {type(error).__name__}")
    # A bug that depends on timing is not the fault of the request: it counts when it happens twice.
    return TransientError(rejection.message, rejection=rejection) if first_delivery else rejection


def _is_thread_exhaustion(error: Exception) -> bool:
    """Whether no thread could be started: `threading` raises RuntimeError, and asyncio passes it on."""
    return isinstance(error, RuntimeError) and "can't start new thread" in str(error)


def check_receives(message: Message, facts: QueueFacts) -> None:
    """Raise Rejected for a message that came once more after its last receive, if its source leaves that to us."""
    most = facts.max_receives
    if not facts.redrives and most is not None and message.receive_count > most:
        raise Rejected(
            "retries_exhausted", f"received {most} times without an end: its workers or their connections were lost"
        )


def retry_code(error: TransientError) -> str:
    """Return why a message is retried, in one word for metrics."""
    if error.rejection is not None:
        return error.rejection.code
    if isinstance(error, TransferInterrupted):
        return "throttled" if error.throttled else "interrupted"
    return "temporary"
