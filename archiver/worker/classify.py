"""What an error of a job means to the worker: a verdict on the message, or a moment that may pass."""

import structlog

from archiver.errors import ArchiverError, Rejected, TransferInterrupted, TransientError

log = structlog.get_logger(__name__)


def classify_error(error: Exception, *, expired: bool, first_delivery: bool) -> ArchiverError:
    """
    What *error* of a job means to the worker. *expired*: the time for the whole job is over; *first_delivery*: so far,
    the message was received only once.
    """
    if isinstance(error, ArchiverError):
        return error
    if isinstance(error, TimeoutError) and expired:
        return Rejected("time_limit", "the job did not end within the 12 hours that SQS allows")
    if isinstance(error, OSError | MemoryError) or _is_thread_exhaustion(
        error
    ):  # sockets, file descriptors: it may pass
        return TransientError(f"{type(error).__name__}: {error}")
    log.error("job.defect", exc_info=error)
    rejection = Rejected("internal", f"a defect in the archiver: {type(error).__name__}")
    # A defect of one moment is none of the request: the second time is the one that counts.
    return TransientError(rejection.message, rejection=rejection) if first_delivery else rejection


def _is_thread_exhaustion(error: Exception) -> bool:
    """Whether the system had no thread for us (`threading` raises RuntimeError, and asyncio lets it through)."""
    return isinstance(error, RuntimeError) and "can't start new thread" in str(error)


def retry_code(error: TransientError) -> str:
    """What kind of trouble a message was given back for, in a word that can be counted."""
    if error.rejection is not None:
        return error.rejection.code
    if isinstance(error, TransferInterrupted):
        return "throttled" if error.throttled else "interrupted"
    return "temporary"
