"""What stands beside an archive is ASCII and read back exactly, and a stranger's object is known for one."""

import pytest

from archiver.core.archive_metadata import ArchiveMetadata, from_s3_metadata, to_s3_metadata

PLAIN = ArchiveMetadata("ab" * 32, "token", 3, "succeeded")


@pytest.mark.parametrize(
    "beside",
    [
        PLAIN,
        ArchiveMetadata("ab" * 32, "token", 3, "partial"),
        ArchiveMetadata("ab" * 32, "token", 3, "succeeded", message="5458d323-3f1e-4e4b-9c0a-0d6f4f1c9a11"),
        ArchiveMetadata("ab" * 32, "token", 3, "succeeded", message="ünïcode %2F / \n\0"),
    ],
)
def test_what_is_written_beside_an_archive_is_read_back(beside: ArchiveMetadata) -> None:
    metadata = to_s3_metadata(beside)
    assert all(text.isascii() for item in metadata.items() for text in item)
    assert from_s3_metadata(metadata) == beside
    assert from_s3_metadata({**metadata, "someone-elses": "x"}) == beside


@pytest.mark.parametrize(
    "change",
    [
        {"archiver-request": ""},
        {"archiver-token": ""},
        {"archiver-files": "x"},
        {"archiver-files": "٣"},
        {"archiver-outcome": "failed"},
    ],
)
def test_the_object_of_a_stranger_is_not_taken_for_an_archive(change: dict[str, str]) -> None:
    assert from_s3_metadata({**to_s3_metadata(PLAIN), **change}) is None
    assert from_s3_metadata({}) is None


def test_an_archive_answers_its_request_and_the_message_that_asked_for_it() -> None:
    beside = ArchiveMetadata("ab" * 32, "token", 3, "succeeded", message="m1")
    assert beside.matches_request("ab" * 32, "m2")
    assert beside.matches_request("cd" * 32, "m1")
    assert not beside.matches_request("cd" * 32, "m2")
    assert not PLAIN.matches_request("cd" * 32, "")  # made by nobody's message, and asked for by nobody's
