"""Durations in words."""

_UNITS = ((3600, "hour"), (60, "minute"), (1, "second"))


def format_seconds(seconds: float) -> str:
    """Write *seconds* in the largest unit that divides them: `12 hours`, `90 seconds`."""
    whole = int(seconds)
    size, unit = next((size, unit) for size, unit in _UNITS if (whole and whole % size == 0) or size == 1)
    count = whole // size
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
