"""What is kept of a program's output."""

from hypothesis import given
from hypothesis import strategies as st

from archiver.command.streams import CHUNK_BYTES, ProgressLines, Tail


@given(st.lists(st.binary(max_size=50), max_size=20), st.integers(0, 60))
async def test_the_end_of_the_output_is_kept(pieces: list[bytes], limit: int) -> None:
    """Exactly so many bytes of it, and the number of all."""
    tail, whole = Tail(limit), b"".join(pieces)
    for piece in pieces:
        await tail.write(piece)

    assert whole[max(0, len(whole) - limit) :].decode(errors="replace") == tail.text()
    assert (len(whole), len(whole) > limit) == (tail.size, tail.truncated)


async def test_output_takes_no_more_memory_than_is_kept() -> None:
    """Whatever its length."""
    tail = Tail(10)
    for _ in range(100):
        await tail.write(bytes(CHUNK_BYTES))

    assert len(tail._kept) <= CHUNK_BYTES + 10


async def test_bytes_that_are_not_utf8_are_replaced() -> None:
    """A character that is cut at the beginning, too."""
    tail = Tail(3)
    await tail.write("éé".encode() + b"\xff")

    assert tail.text() == "é\ufffd"


async def test_a_line_without_end_takes_no_memory() -> None:
    """Only its beginning could tell of progress."""
    found = list[float]()
    lines = ProgressLines(Tail(1), found.append)
    for _ in range(1000):
        await lines.write(b"x" * 1000)
    await lines.write(b"\narchiver-progress: 0.5\r\n")

    assert found == [0.5]
    assert len(lines._line) <= 128
