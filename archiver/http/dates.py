"""Parse HTTP dates (RFC 9110, section 5.6.7), and the other forms that some servers send; no I/O."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_MAX_CHARS = 64  # no date is longer


def http_date(text: str) -> datetime | None:
    """
    Return the time that *text* represents, in UTC; None if it is not a date.

    Accepts IMF-fixdate (`Sun, 06 Nov 1994 08:49:37 GMT`), the RFC 850 and asctime forms, numeric zones, and ISO 8601.
    """
    if not text or len(text) > _MAX_CHARS:
        return None
    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = parse(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, TypeError, IndexError, OverflowError):  # email.utils raises all of them
            continue
    return None
