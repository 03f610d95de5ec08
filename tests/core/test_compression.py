"""`auto` compresses text and stores what is compressed already."""

import pytest

from archiver.core.compression import is_compressible


@pytest.mark.parametrize(
    ("content_type", "path", "expected"),
    [
        ("text/plain", "a", True),
        ("Text/CSV; charset=utf-8", "a.bin", True),
        ("application/json", "a", True),
        ("application/json; charset=utf-8", "a.bin", True),
        ("application/geo+json", "a", True),
        ("image/svg+xml", "a", True),
        ("image/bmp", "a", True),
        ("image/jpeg", "a.txt", False),
        ("application/zip", "a.csv", False),
        ("application/pdf", "a.pdf", False),
        ("video/mp4", "a.mp4", False),
        ("", "a/b.CSV", True),
        ("binary/octet-stream", "a/b.json", True),
        ("application/octet-stream", "b.jpg", False),
        ("", "csv", False),
        ("", "a.csv/b", False),
        ("application/x-unheard-of", "a.txt", False),
    ],
)
def test_auto_goes_by_the_type_and_where_that_says_nothing_by_the_extension(
    content_type: str, path: str, expected: bool
) -> None:
    assert is_compressible(content_type, path) is expected
