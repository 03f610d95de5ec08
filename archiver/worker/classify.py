"""What an error of a job means to the worker: a verdict on the message, or a moment that may pass."""

import structlog

from archiver.errors import ArchiverError, Interrupted, Rejected, Temporary

log = structlog.get_logger(__name__)


def meaning_of(error: Exception, *, expired: bool, first: bool) -> ArchiverError:
    """
    What *error* of a job means to the worker. *expired*: the time for the whole job is over; *first*: so far, the
    message was received only once.
    """
    if isinstance(error, ArchiverError):
        return error
    if isinstance(error, TimeoutError) and expired:
        return Rejected("time_limit", "the job did not end within the 12 hours that SQS allows")
    if isinstance(error, OSError | MemoryError) or _lacks_threads(error):  # sockets, file descriptors: it may pass
        return Temporary(f"{type(error).__name__}: {error}")
    log.error("job.defect", exc_info=error)
    rejection = Rejected("internal", f"a defect in the archiver: {type(error).__name__}")
    # A defect of one moment is none of the request: the second time is the one that counts.
    return Temporary(rejection.message, rejection=rejection) if first else rejection


def _lacks_threads(error: Exception) -> bool:
    """Whether the system had no thread for us (`threading` raises RuntimeError, and asyncio lets it through)."""
    return isinstance(error, RuntimeError) and "can't start new thread" in str(error)


def kind_of(error: Temporary) -> str:
    """What kind of trouble a message was given back for, in a word that can be counted."""
    if error.rejection is not None:
        return error.rejection.code
    if isinstance(error, Interrupted):
        return "throttled" if error.throttled else "interrupted"
    return "temporary"
