"""A zip's last bytes, read back."""

import io
import zipfile

import pytest

from archiver.core.zip_end import TAIL_LENGTH, EndRecord, read_end_record
from archiver.core.zip_records import end_records


@pytest.mark.parametrize("members", [0, 1, 70_000])
def test_the_end_of_a_zip_that_another_program_wrote_tells_its_count_and_directory(members: int) -> None:
    """Above 65,535 members the count stands in the zip64 record."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number in range(members):
            archive.writestr(zipfile.ZipInfo(str(number)), b"")
        offset = out.tell()

    assert read_end_record(out.getvalue()[-TAIL_LENGTH:]) == EndRecord(members, offset)


def test_offsets_beyond_four_gib_are_read_from_the_zip64_record() -> None:
    assert read_end_record(end_records(3, 150, 5 << 32)) == EndRecord(3, 5 << 32)


@pytest.mark.parametrize(
    "tail",
    [
        b"",
        b"PK\5\6",
        bytes(TAIL_LENGTH),
        end_records(1, 50, 100)[:-1],
        end_records(1, 50, 100)[:-2] + b"\1\0",
        b"PK\6\5" + end_records(3, 150, 5 << 32)[4:],
    ],
)
def test_bytes_that_are_not_the_end_of_a_zip_are_told_apart(tail: bytes) -> None:
    assert read_end_record(tail) is None
