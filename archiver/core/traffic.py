"""How the bytes of an archive got into it."""

from typing import NamedTuple


class Traffic(NamedTuple):
    """
    Of one archive: bytes that the store copied by itself; bytes that the worker sent; *requests* to the store that it
    takes, without repetitions.
    """

    copied: int
    streamed: int
    requests: int
