"""Dates in every form that servers write them."""

from datetime import UTC, datetime

import pytest

from archiver.http.dates import http_date

MOMENT = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",  # IMF-fixdate
        "Sunday, 06-Nov-94 08:49:37 GMT",  # RFC 850
        "Sun Nov  6 08:49:37 1994",  # asctime
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 06 Nov 1994 09:49:37 +0100",
        "Sun, 06 Nov 1994 08:49:37 -0000",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "06 Nov 1994 08:49:37 GMT",
        "1994-11-06T08:49:37Z",
        "1994-11-06T08:49:37",
        "1994-11-06 08:49:37",
        "1994-11-06T09:49:37+01:00",
        "19941106T084937Z",
    ],
)
def test_one_moment_is_read_in_every_form(text: str) -> None:
    assert http_date(text) == MOMENT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "0",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nox 1994 08:49:37 GMT",
        "0001-01-01T00:00:00+14:00",  # before there were years
        "9999-12-31T23:59:59-14:00",
        "Sun, 06 Nov 1994 08:49:37 +9999",
        ",",
        ", ,",
        "\x00",
        "-" * 64,
        "1" * 30_000,
    ],
)
def test_what_is_no_date_is_none(text: str) -> None:
    assert http_date(text) is None
