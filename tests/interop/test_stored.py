"""Stored archives, judged by strangers."""

from datetime import UTC, datetime
from pathlib import Path
from random import Random
from zipfile import BadZipFile

import pytest
from core.reference_assembler import assemble
from interop.readers import (
    BLOCK,
    Expected,
    ExpectedMember,
    assert_all_readable,
    assert_readable,
    python,
    run_reader,
    write,
)
from isal.isal_zlib import crc32, crc32_combine

from archiver.core.layout import MIB, Layout
from archiver.core.plan import Member

WHEN = datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)


def zipped(path: Path, contents: dict[str, bytes], part_size: int = 8 * MIB) -> Path:
    members = [Member(name, len(content), WHEN, content) for name, content in contents.items()]
    return write(path, assemble(Layout(members, part_size)))


def test_every_reader_opens_what_users_really_send(tmp_path: Path) -> None:
    random = Random(1)
    photos = {f"album_{index % 3}/photo {index}.jpg": random.randbytes(random.randrange(9000)) for index in range(40)}
    words = {
        "ü.txt": "grüße".encode(),
        "日本語/写真 (2).png": b"\x89PNG",
        "emoji/👩‍👩‍👧.gif": b"GIF",
        "فارسی/می‌خواهم.txt": b"zwnj",
        "a/deeply/nested/folder/of/many/parts/x": b"x",
        ".hidden/.file": b"dots",
        "a.b/c": b"",
    }
    assert_all_readable({
        zipped(tmp_path / "photos.zip", photos): photos,
        zipped(tmp_path / "tiny parts.zip", photos, part_size=1000): photos,
        zipped(tmp_path / "words.zip", words): words,
        zipped(tmp_path / "one.zip", {"a": b"1"}): {"a": b"1"},
        zipped(tmp_path / "empty files.zip", {"a": b"", "b/c": b"", "d": b"1", "e": b""}): {
            "a": b"", "b/c": b"", "d": b"1", "e": b"",
        },
    })  # fmt: skip


@pytest.mark.slow
def test_every_reader_opens_an_archive_inside_an_archive(tmp_path: Path) -> None:
    """A stored zip within holds records of its own, which a reader that searches for them would trip over."""
    inner = zipped(tmp_path / "inner.zip", {"inner/a": b"1", "inner/b": b"2"}).read_bytes()
    contents = {"first.zip": inner, "plain": b"PK\5\6" * 30, "last.zip": inner}
    assert_readable(zipped(tmp_path / "outer.zip", contents), contents)


@pytest.mark.slow
@pytest.mark.parametrize("count", [0xFFFE, 0xFFFF, 0x1_0000])
def test_every_reader_opens_archives_around_65535_members(tmp_path: Path, count: int) -> None:
    contents = {f"{index // 1000}/{index}.txt": b"%d" % index for index in range(count)}
    assert_readable(zipped(tmp_path / "many.zip", contents), contents)


@pytest.mark.slow
def test_a_name_of_a_hundred_folders_is_no_trouble(tmp_path: Path) -> None:
    contents = {"/".join(["folder"] * 100) + "/" + "é" * 100: b"deep"}
    assert_readable(zipped(tmp_path / "deep.zip", contents), contents)


@pytest.mark.parametrize("tool", ["unzip", "bsdtar"])
def test_extracted_files_have_the_exact_second_and_plain_permissions(tmp_path: Path, tool: str) -> None:
    path = zipped(tmp_path / "a.zip", {"folder/a.jpg": b"1"})
    options = {"unzip": ("-q", path, "-d", tmp_path), "bsdtar": ("-xf", path, "-C", tmp_path)}
    run_reader(tool, *options[tool])
    status = (tmp_path / "folder/a.jpg").stat()
    assert status.st_mtime == WHEN.timestamp()
    assert status.st_mode & 0o777 == 0o644


def test_readers_notice_one_wrong_bit(tmp_path: Path) -> None:
    """The harness itself: an archive with a flipped bit in a body is refused."""
    contents = {"a": b"some bytes", "b": b"others"}
    data = bytearray(zipped(tmp_path / "a.zip", contents).read_bytes())
    data[data.index(b"some bytes")] ^= 1
    path = write(tmp_path / "broken.zip", [data])
    with pytest.raises(BadZipFile, match="CRC"):
        python({path: contents})
    for command in ("unzip -t", "7z t", "bsdtar -xOf"):
        with pytest.raises(AssertionError):
            run_reader(*command.split(), path)


def zeros(size: int) -> int:
    """CRC-32 of *size* zeros."""
    crc = 0
    whole, rest = divmod(size, BLOCK)
    block = crc32(bytes(BLOCK))
    for _ in range(whole):
        crc = crc32_combine(crc, block, BLOCK)
    return int(crc32_combine(crc, crc32(bytes(rest)), rest))


def sparse(path: Path, sizes: dict[str, int]) -> Expected:
    """Write an archive of zeros, its bodies left as holes of a sparse file, and tell what is in it."""
    layout = Layout([Member(name, size, WHEN, b"") for name, size in sizes.items()], 64 * MIB)
    crcs = [zeros(size) for size in sizes.values()]
    with path.open("wb") as file:
        for index, crc in enumerate(crcs):
            file.seek(layout.header_offset(index))
            file.write(layout.header_bytes(index, crc))
        file.seek(layout.directory_offset)
        file.writelines(layout.directory(crcs))
    assert path.stat().st_size == layout.length
    return {name: ExpectedMember(size, crc) for (name, size), crc in zip(sizes.items(), crcs, strict=True)}


# A member of exactly 0xFFFFFFFF bytes stands last: where one follows beyond 4 GiB, unzip 6.0 takes the true size before
# it for the mark that says "see the zip64 field", and reads that one's offset as its size.
AROUND_FOUR_GIB: list[dict[str, int]] = [
    {"first": 5, "just below": 0xFFFF_FFFE, "at the limit, beyond the limit": 0xFFFF_FFFF},
    {"first": 5, "above": (4 << 30) + 7, "empty": 0, "last": 5},
]


@pytest.mark.slow
@pytest.mark.parametrize("sizes", AROUND_FOUR_GIB, ids=["below and at", "above"])
def test_every_reader_opens_archives_around_four_gib(tmp_path: Path, sizes: dict[str, int]) -> None:
    path = tmp_path / "large.zip"
    assert_readable(path, sparse(path, sizes))
    path.unlink()
