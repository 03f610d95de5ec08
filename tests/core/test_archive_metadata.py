"""What stands beside an archive is ASCII and read back exactly, and a stranger's object is known for one."""

import pytest

from archiver.core.archive_metadata import Beside, MissingSpan, decode_beside, encode_beside

PLAIN = Beside("ab" * 32, "token", 3, "succeeded")


@pytest.mark.parametrize(
    ("beside", "missing"),
    [
        (PLAIN, None),
        (Beside("ab" * 32, "token", 3, "partial", MissingSpan(0, 12)), "0,12"),
        (Beside("ab" * 32, "token", 3, "partial", MissingSpan(2**44, 12)), "17592186044416,12"),
        (Beside("ab" * 32, "token", 3, "partial", MissingSpan(None, 12)), ",12"),
        (Beside("ab" * 32, "token", 3, "succeeded", message="5458d323-3f1e-4e4b-9c0a-0d6f4f1c9a11"), None),
        (Beside("ab" * 32, "token", 3, "succeeded", message="ünïcode %2F / \n\0"), None),
    ],
)
def test_what_is_written_beside_an_archive_is_read_back(beside: Beside, missing: str | None) -> None:
    metadata = encode_beside(beside)
    assert metadata.get("archiver-missing") == missing
    assert all(text.isascii() for item in metadata.items() for text in item)
    assert decode_beside(metadata) == beside
    assert decode_beside({**metadata, "someone-elses": "x"}) == beside


@pytest.mark.parametrize(
    "change",
    [
        {"archiver-request": ""},
        {"archiver-token": ""},
        {"archiver-files": "x"},
        {"archiver-files": "٣"},
        {"archiver-outcome": "failed"},
        {"archiver-missing": "12"},
        {"archiver-missing": "-1,12"},
    ],
)
def test_the_object_of_a_stranger_is_not_taken_for_an_archive(change: dict[str, str]) -> None:
    assert decode_beside({**encode_beside(PLAIN), **change}) is None
    assert decode_beside({}) is None


def test_an_archive_answers_its_request_and_the_message_that_asked_for_it() -> None:
    beside = Beside("ab" * 32, "token", 3, "succeeded", message="m1")
    assert beside.answers("ab" * 32, "m2")
    assert beside.answers("cd" * 32, "m1")
    assert not beside.answers("cd" * 32, "m2")
    assert not PLAIN.answers("cd" * 32, "")  # made by nobody's message, and asked for by nobody's
