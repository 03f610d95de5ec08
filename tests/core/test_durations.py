import pytest

from archiver.core.durations import format_seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (43_200, "12 hours"),
        (3600, "1 hour"),
        (5400, "90 minutes"),
        (61, "61 seconds"),
        (1, "1 second"),
        (0.07, "0 seconds"),
    ],
)
def test_durations_are_written_in_the_largest_unit_that_divides_them(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
