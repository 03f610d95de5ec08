"""How the bytes of an archive got into it."""

from typing import NamedTuple


class CopiesPayError(Exception):
    """A plan of the archive, with copies, costs less than to go on in one pass."""


class Traffic(NamedTuple):
    """
    Of one archive: bytes that the store copied by itself; bytes that the worker sent; *requests* to the store that it
    takes, without repetitions.
    """

    copied: int
    streamed: int
    requests: int


def traffic_fields(traffic: Traffic | None) -> dict[str, int]:
    """Return the fields of answers and of log lines; none if nobody asked for a strategy."""
    if traffic is None:
        return {}
    return {"bytes_copied": traffic.copied, "bytes_streamed": traffic.streamed, "requests": traffic.requests}
