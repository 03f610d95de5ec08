"""
Zip readers that we did not write judge our archives: `zipfile`, `unzip`, `7z`, `bsdtar` (from a file and from a pipe),
`jar` and Java's streaming `ZipInputStream`.

    judge(path, {"album/a.jpg": b"…", …})

asserts that each of them finds exactly these members, in this order, with nothing to complain about. All of them must
be installed where CI is set; elsewhere the test is skipped after those that are there have agreed.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile
from zlib import crc32

import pytest

ENVIRONMENT = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
STREAMING = Path(__file__).with_name("Streaming.java")
BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class ExpectedMember:
    """What a reader should find of one member, where its bytes are too many to hold."""

    size: int
    crc32: int


Expected = Mapping[str, bytes | ExpectedMember]
Reader = Callable[[Mapping[Path, Expected]], None]


def assert_readable(path: Path, expected: Expected) -> None:
    """Assert that every reader finds the members *expected* (name to content), in order, in the zip at *path*."""
    assert_all_readable({path: expected})


def assert_all_readable(archives: Mapping[Path, Expected]) -> None:
    """CredentialCheck many archives: Java starts once for all of them."""
    python(archives)
    missing = []
    for command, (package, reader) in READERS.items():
        if shutil.which(command):
            reader(archives)
        else:
            missing.append(f"{command} (apt-get install {package})")
    if missing and os.environ.get("CI"):
        pytest.fail(f"not installed: {', '.join(missing)}")
    if missing:
        pytest.skip(f"the other readers agreed; not installed: {', '.join(missing)}")


def member_facts(expected: Expected) -> list[tuple[str, int, int]]:
    """Name, size and CRC-32 of each member, in order."""
    return [
        (name, content.size, content.crc32)
        if isinstance(content, ExpectedMember)
        else (name, len(content), crc32(content))
        for name, content in expected.items()
    ]


def python(archives: Mapping[Path, Expected]) -> None:
    """`zipfile` reads every byte and compares each member's CRC-32."""
    for path, expected in archives.items():
        with ZipFile(path) as archive:
            found = []
            for info in archive.infolist():
                crc = size = 0
                with archive.open(info) as body:
                    while block := body.read(BLOCK):
                        crc, size = crc32(block, crc), size + len(block)
                assert (size, crc) == (info.file_size, info.CRC)
                found.append((info.filename, size, crc))
            assert found == member_facts(expected)


def unzip(archives: Mapping[Path, Expected]) -> None:
    """`unzip -t` tests every member; a warning makes it exit with 1."""
    for path, expected in archives.items():
        tested = re.findall(r"^ +testing: .* OK$", run_reader("unzip", "-t", path), re.MULTILINE)
        assert len(tested) == len(expected)


def seven_zip(archives: Mapping[Path, Expected]) -> None:
    """`7z t` compares local headers with the directory as well, and counts files and bytes."""
    for path, expected in archives.items():
        said = run_reader("7z", "t", path)
        assert "Everything is Ok" in said
        assert "WARNING" not in said.upper()
        listing = run_reader("7z", "l", "-slt", "-ba", "-sccUTF-8", path)
        assert re.findall(r"^Path = (.*)$", listing, re.MULTILINE) == [name.rstrip("/") for name in expected]
        sizes = re.findall(r"^Size = (\d+)$", listing, re.MULTILINE)
        crcs = re.findall(r"^CRC = (\w*)$", listing, re.MULTILINE)
        assert [(int(size), int(crc or "0", 16)) for size, crc in zip(sizes, crcs, strict=True)] == [
            (size, crc) for _, size, crc in member_facts(expected)
        ]


def bsdtar(archives: Mapping[Path, Expected]) -> None:
    """`libarchive` has one reader for files and another for pipes; extracting compares sizes and CRC-32."""
    for path, expected in archives.items():
        assert names_of(run_reader("bsdtar", "-tf", path)) == list(expected)
        assert names_of(run_reader("bsdtar", "-tf", "-", piped=path)) == list(expected)
        run_reader("bsdtar", "-xOf", path, keep=False)
        run_reader("bsdtar", "-xOf", "-", piped=path, keep=False)


def names_of(listing: str) -> list[str]:
    """Lines of `bsdtar -t`, which writes what it can't show as octal escapes."""
    plain = re.sub(
        rb"\\([0-7]{3}|.)",
        lambda match: bytes([int(match[1], 8)]) if len(match[1]) == 3 else match[1],
        listing.encode(),
    )
    return plain.decode().splitlines()


def jar(archives: Mapping[Path, Expected]) -> None:
    """`jar tf` checks the directory as Java's `ZipFile` does: it refuses zip64 fields that nothing asks for."""
    for path, expected in archives.items():
        assert run_reader("jar", "tf", path).splitlines() == list(expected)


def java(archives: Mapping[Path, Expected]) -> None:
    """`ZipInputStream` sees the archive as a stream: what stands in the local headers must be whole and true."""
    expected = [
        line
        for path, members in archives.items()
        for line in (str(path), *(f"\t{size}\t{crc}\t{name}" for name, size, crc in member_facts(members)))
    ]
    assert run_reader("java", STREAMING, *archives).splitlines() == expected


READERS: dict[str, tuple[str, Reader]] = {
    "unzip": ("unzip", unzip),
    "7z": ("p7zip-full", seven_zip),
    "bsdtar": ("libarchive-tools", bsdtar),
    "jar": ("default-jdk-headless", jar),
    "java": ("default-jdk-headless", java),
}


def run_reader(*command: str | Path, piped: Path | None = None, keep: bool = True) -> str:
    """What *command* prints; it must exit with 0 and complain of nothing. *piped* comes through a real pipe."""
    output = subprocess.PIPE if keep else subprocess.DEVNULL
    feed = subprocess.Popen(["cat", piped], stdout=subprocess.PIPE) if piped else None
    try:
        done = subprocess.run(
            command,
            stdin=feed.stdout if feed else subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            check=False,
        )
    finally:
        if feed and feed.stdout:
            feed.stdout.close()
            feed.wait()
    text = (done.stdout or b"").decode()
    assert (done.returncode, done.stderr) == (0, b""), f"{' '.join(map(str, command))}\n{text[-2000:]}"
    return text


def write(path: Path, blocks: Iterable[bytes | bytearray]) -> Path:
    """Write *blocks* to *path*, one after the other."""
    with path.open("wb") as file:
        file.writelines(blocks)
    return path
