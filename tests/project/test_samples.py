"""The pictures of the demo, and its judgement of an archive of them."""

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping

import pytest

from archiver.local.demo import DemoError, check, pictures
from archiver.local.samples import PICTURES, draw_picture, read_sample


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A stored zip of *files*."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return buffer.getvalue()


@pytest.mark.parametrize("name", PICTURES)
def test_shipped_pictures_are_small_and_what_their_names_say(name: str) -> None:
    """Real files, each below 60 KB."""
    start = b"\xff\xd8\xff" if name.endswith(".jpg") else b"\x89PNG\r\n\x1a\n"

    content = read_sample(name)

    assert content.startswith(start)
    assert len(content) < 60_000


def test_drawn_pictures_differ_and_are_the_same_at_every_call() -> None:
    """Two hundred numbers, two hundred pictures."""
    assert len({draw_picture(number) for number in range(200)}) == 200
    assert draw_picture(7) == draw_picture(7)


def test_drawn_picture_is_a_png_that_a_strict_reader_takes() -> None:
    """Chunk by chunk: lengths, CRCs, order, and as many pixels as the header says."""
    rest, chunks = draw_picture(3)[8:], []
    while rest:
        (length,) = struct.unpack(">I", rest[:4])
        kind, data = rest[4:8], rest[8 : 8 + length]
        assert struct.unpack(">I", rest[8 + length : 12 + length]) == (zlib.crc32(kind + data),)
        chunks.append((kind, data))
        rest = rest[12 + length :]

    assert [kind for kind, _ in chunks] == [b"IHDR", b"IDAT", b"IEND"]
    width, height, depth, colour = struct.unpack(">IIBB", chunks[0][1][:10])
    assert (depth, colour) == (8, 2)
    assert len(zlib.decompress(chunks[1][1])) == height * (1 + 3 * width)


def test_demo_asks_for_no_path_twice() -> None:
    """Else the archive would rename, and the check would fail."""
    album = pictures()

    assert len({picture.path for picture in album}) == len(album) == len({picture.key for picture in album})


def test_check_returns_the_paths_of_a_right_archive() -> None:
    """In the archive's order."""
    expected = {"b/1.txt": b"one", "a/2.txt": b"two"}

    assert check(zipped(expected), expected) == ["b/1.txt", "a/2.txt"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>", "is not a zip file"),
        (zipped({"a": b"one"}), "were requested"),  # a file is missing
        (zipped({"b": b"two", "a": b"one"}), "were requested"),  # in another order
        (zipped({"a": b"one", "b": b"TWO"}), "1 files differ from their objects, the first is b"),
        (zipped({"a": b"one", "b": b"two"}).replace(b"one", b"eno", 1), "a is damaged"),
    ],
)
def test_check_says_what_is_wrong_with_an_archive(body: bytes, reason: str) -> None:
    """A demo that can't fail shows nothing."""
    with pytest.raises(DemoError, match=reason):
        check(body, {"a": b"one", "b": b"two"})
