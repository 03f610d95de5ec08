"""Dates as HTTP servers write them (RFC 9110, section 5.6.7), and as some servers do; no I/O."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_MAX_CHARS = 64  # characters; no date has more


def http_date(text: str) -> datetime | None:
    """
    The moment that *text* names, in UTC; None where it names none.

    IMF-fixdate (`Sun, 06 Nov 1994 08:49:37 GMT`), the forms of RFC 850 and of asctime, zones as numbers, ISO 8601.
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
