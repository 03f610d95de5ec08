"""Archives are judged rightly: ours and others' are whole, and one wrong bit anywhere is found."""

import asyncio
import io
import os
import shutil
import struct
import subprocess
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import pytest
from fakes import FakeHold
from hypothesis import example, given, settings
from hypothesis import strategies as st

from archiver.core.zip_parser import UnreadableError
from archiver.stages import read_ahead
from archiver.stages import verify as module
from archiver.stages.budget import BufferPool
from archiver.stages.checksums import crc32
from archiver.stages.deflate import deflate as compress
from archiver.stages.progress import Progress
from archiver.stages.upload import open_upload
from archiver.stages.verify import VerificationReport, verify
from stages.builders import TARGET, StageEnv, random_bytes, read_zip


@dataclass
class Held:
    """An archive in memory; *reads* counts requests."""

    data: bytes
    reads: int = 0

    @property
    def size(self) -> int:
        return len(self.data)

    async def read(self, start: int, into: memoryview) -> None:
        self.reads += 1
        into[:] = self.data[start : start + len(into)]


def judged(data: bytes, *, deep: bool, stored: int | None = None) -> VerificationReport:
    return asyncio.run(verify(Held(data), stored, deep=deep, progress=Progress()))


def ours(deflate: bool = False) -> bytes:
    """An archive of this project."""

    async def build() -> bytes:
        stage = StageEnv()
        bodies = [random_bytes(700), b"", b"text " * 500, random_bytes(3000, 1)]
        members = [stage.member(f"dir/{n}.bin", body, deflate=deflate) for n, body in enumerate(bodies)]
        if deflate:
            budget = BufferPool(15 << 20)
            async with open_upload(stage.store, TARGET, FakeHold(), None) as upload:
                await compress(members, budget, stage.fetcher, upload, stage.progress)
        else:
            await stage.assemble(members, 1000)
        return stage.archive()

    return asyncio.run(build())


def wide() -> bytes:
    """An archive with zip64 end records, though it is small."""
    at = OURS.rindex(b"PK\5\6")
    _, _, _, _, members, length, offset, _ = struct.unpack("<4s4H2IH", OURS[at:])
    record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, members, members, length, offset)
    return OURS[:at] + record + struct.pack("<4sIQI", b"PK\6\7", 0, at, 1) + OURS[at:]


OURS, COMPRESSED = ours(), ours(deflate=True)
WIDE = wide()


def test_a_stored_archive_is_proved_by_the_stores_crc_in_two_reads() -> None:
    held = Held(OURS)

    report = asyncio.run(verify(held, crc32(OURS), deep=False, progress=Progress()))

    assert (report.problems, report.unchecked, report.members) == ([], [], 4)
    assert report.proof.endswith(f"{crc32(OURS):08x}")
    assert held.reads == 2


@pytest.mark.parametrize("archive", [OURS, COMPRESSED], ids=["stored", "deflated"])
def test_ours_are_whole_when_every_member_is_read(archive: bytes) -> None:
    progress = Progress()

    report = asyncio.run(verify(Held(archive), crc32(archive), deep=True, progress=progress))

    assert (report.problems, report.unchecked) == ([], [])
    assert (progress.files, progress.bytes) == (4, len(archive))
    assert report.unpacked == sum(len(body) for body in read_zip(archive).values())


def test_what_was_not_checked_is_said() -> None:
    assert judged(COMPRESSED, deep=False, stored=crc32(COMPRESSED)).unchecked == [
        "contents: not an archive of stored members as archiver writes them; --deep reads them"
    ]
    assert judged(OURS, deep=False).unchecked == [
        "contents: the store keeps no CRC-32 of the whole; --deep reads every member"
    ]


def found(data: bytes, *, deep: bool, stored: int | None) -> bool:
    try:
        return bool(judged(data, deep=deep, stored=stored).problems)
    except UnreadableError:
        return True


@given(st.integers(0, len(OURS) * 8 - 1))
def test_any_one_wrong_bit_is_found_by_reading_and_comparing_with_the_store(bit: int) -> None:
    broken = bytearray(OURS)
    broken[bit // 8] ^= 1 << bit % 8

    assert found(bytes(broken), deep=True, stored=crc32(OURS))


@given(st.data())
def test_a_wrong_bit_in_a_body_or_a_crc_is_found_without_the_store(data: st.DataObject) -> None:
    """In a stored body, and in a deflated one whatever comes of it."""
    archive = data.draw(st.sampled_from([OURS, COMPRESSED]))
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        infos = [info for info in opened.infolist() if info.compress_size]
    info = data.draw(st.sampled_from(infos))
    start = (
        info.header_offset + 30 + len(info.filename) + int.from_bytes(archive[info.header_offset + 28 :][:2], "little")
    )
    at = data.draw(st.sampled_from([*range(start, start + info.compress_size), info.header_offset + 14]))
    broken = bytearray(archive)
    broken[at] ^= 1 << data.draw(st.integers(0, 7))

    assert found(bytes(broken), deep=True, stored=None) or read_zip(bytes(broken)) == read_zip(archive)


@given(st.integers(0, len(OURS) * 8 - 1))
@example(bit=511)  # a year that no zip can hold
def test_a_directory_that_does_not_fit_what_the_store_has_proves_nothing(bit: int) -> None:
    """The object's CRC-32 is that of the right bytes. Broken, the directory is wrong, or not one of ours any more."""
    with zipfile.ZipFile(io.BytesIO(OURS)) as opened:
        start = opened.start_dir
    at = start + (bit // 8) % (len(OURS) - start)
    broken = bytearray(OURS)
    broken[at] ^= 1 << bit % 8

    try:
        report = judged(bytes(broken), deep=False, stored=crc32(OURS))
    except UnreadableError:
        return
    assert report.proof == ""
    assert report.problems or report.unchecked


def test_bodies_that_changed_places_are_each_found() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a", b"A" * 50)
        archive.writestr("b", b"B" * 50)
        archive.writestr("c", b"C" * 50)
    swapped = out.getvalue().translate(bytes.maketrans(b"AB", b"BA"))

    problems = judged(swapped, deep=True).problems

    assert [problem.partition(":")[0] for problem in problems] == ["a", "b"]
    assert "has the CRC-32" in problems[0]


@pytest.mark.parametrize("window", [1, 7, 1000])
def test_windows_may_end_anywhere(window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_ahead, "WINDOW_BYTES", window)
    archive = COMPRESSED if window > 1 else OURS

    assert judged(archive, deep=True, stored=crc32(archive)).problems == []


def test_a_member_that_claims_more_than_it_unpacks_to_is_found() -> None:
    with zipfile.ZipFile(io.BytesIO(COMPRESSED)) as opened:
        info = opened.getinfo("dir/2.bin")
    broken = COMPRESSED.replace(info.file_size.to_bytes(4, "little"), (info.file_size + 1).to_bytes(4, "little"))

    assert judged(broken, deep=True).problems == [
        f"dir/2.bin: has {info.file_size} bytes, and should have {info.file_size + 1}"
    ]


@pytest.mark.parametrize("extra", [0, 1, 100, 1023, 1024, *range(1030, 1400, 97)])
def test_members_of_any_unpacked_size_are_whole(extra: int) -> None:
    """The inflater may have taken in all that there is while some of what it comes to is still to be had."""
    packer = zlib.compressobj(6, wbits=-15)
    data = packer.compress(bytes(module.INFLATE_BLOCK_BYTES + extra)) + packer.flush()
    for piece in (len(data), 100):
        check = module._MemberDigest(8, module.INFLATE_BLOCK_BYTES + extra)
        for at in range(0, len(data), piece):
            check.add(data[at : at + piece])

        assert (check.problem, check.ended, check.size) == ("", True, module.INFLATE_BLOCK_BYTES + extra)


@pytest.mark.slow
def test_every_size_around_what_is_inflated_at_once_is_whole() -> None:
    for extra in range(-100, 1400):
        test_members_of_any_unpacked_size_are_whole(extra)


def test_a_bomb_is_not_taken_apart_beyond_what_it_claims_to_be() -> None:
    packer = zlib.compressobj(9, wbits=-15)
    check = module._MemberDigest(8, 10)

    check.add(packer.compress(bytes(100 * module.INFLATE_BLOCK_BYTES)) + packer.flush())

    assert check.problem == "has more bytes than the expected 10"
    assert check.size <= module.INFLATE_BLOCK_BYTES


@pytest.mark.parametrize("more", [b"x", b"\0" * 5000])
def test_what_follows_a_members_compressed_data_is_found(more: bytes) -> None:
    packer = zlib.compressobj(9, wbits=-15)
    check = module._MemberDigest(8, module.INFLATE_BLOCK_BYTES)

    check.add(packer.compress(bytes(module.INFLATE_BLOCK_BYTES)) + packer.flush() + more)

    assert check.problem == "other bytes follow its compressed data"


@given(st.data())
@settings(max_examples=300)
def test_whatever_stands_in_an_archive_it_is_judged_and_nothing_else_happens(data: st.DataObject) -> None:
    """Bytes of headers, directory and end records are made into anything, and claims among them very large."""
    archive = bytearray(data.draw(st.sampled_from([OURS, COMPRESSED, WIDE])))
    places = [at for at in range(len(archive) - 4) if archive[at : at + 2] == b"PK"]
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.sampled_from(places)) + data.draw(st.integers(0, 80))
        value = data.draw(st.sampled_from([b"\xff" * 8, b"\0" * 8, b"\xff" * 2, b"\xff" * 4, b"\x7f", b"PK\5\6"]))
        archive[at : at + len(value)] = value
    deep = data.draw(st.booleans())

    try:
        report = judged(bytes(archive), deep=deep, stored=data.draw(st.sampled_from([None, 1])))
    except UnreadableError:
        return
    assert report.problems or report.unchecked or report.proof


def test_encrypted_members_are_said_to_be_unchecked_and_not_damaged() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("secret", b"x" * 20)
    data = bytearray(out.getvalue())
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1

    report = judged(bytes(data), deep=True)

    assert report.problems == []
    assert report.unchecked == ["secret: is encrypted: only its place was checked"]


WRITERS = {
    "7z": ["7z", "a", "-tzip", "-bso0", "-bsp0", "out.zip", "tree"],
    "bsdtar": ["bsdtar", "--format", "zip", "-cf", "out.zip", "tree"],
    "jar": ["jar", "--create", "--file", "out.zip", "tree"],
}


@pytest.mark.parametrize("program", WRITERS)
def test_archives_of_other_programs_are_whole_and_found_broken(program: str, tmp_path: Path) -> None:
    if shutil.which(program) is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{program} is not installed: see .ci/run")
    tree = tmp_path / "tree" / "ünter"
    tree.mkdir(parents=True)
    (tree / "text.txt").write_bytes(b"words and words " * 2000)
    (tree / "noise.bin").write_bytes(random_bytes(100_000))
    (tree / "empty").touch()
    subprocess.run(WRITERS[program], cwd=tmp_path, check=True, capture_output=True)
    data = (tmp_path / "out.zip").read_bytes()

    whole = judged(data, deep=True)
    middle = bytearray(data)
    middle[
        data.index(random_bytes(100_000)[500:520]) if random_bytes(100_000)[500:520] in data else len(data) // 2
    ] ^= 4

    assert (whole.problems, whole.unchecked) == ([], [])
    assert whole.members >= 3
    assert found(bytes(middle), deep=True, stored=None)
