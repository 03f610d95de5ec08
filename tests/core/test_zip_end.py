"""A zip's last bytes, read back."""

import io
import zipfile

import pytest

from archiver.core.zip_end import TAIL_LENGTH, read_member_count
from archiver.core.zip_records import end_records


@pytest.mark.parametrize("members", [0, 1, 70_000])
def test_the_end_of_a_zip_that_another_program_wrote_tells_its_count(members: int) -> None:
    """Above 65,535 members the count stands in the zip64 record."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        if members:
            archive.writestr(zipfile.ZipInfo("empty"), b"")
            archive.filelist *= members  # the directory names it as often: only the count matters

    assert read_member_count(out.getvalue()[-TAIL_LENGTH:]) == members


def test_the_count_of_an_archive_beyond_four_gib_is_read_from_the_zip64_record() -> None:
    assert read_member_count(end_records(3, 150, 5 << 32)) == 3


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
    assert read_member_count(tail) is None
