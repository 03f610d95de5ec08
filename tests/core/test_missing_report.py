"""What `_MISSING.txt` says can be read back exactly, whatever keys look like."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.core.missing_report import missing_text, parse_missing
from archiver.errors import SourceProblem

TEXT = st.one_of(st.text("ab\\\t\n\r\u2028nrt"), st.text())


def test_the_list_has_a_line_for_each_problem() -> None:
    problems = [SourceProblem("p/é.jpg", "source_missing", "detail"), SourceProblem("a\\\t\n\rb", "source_denied")]
    assert missing_text(problems) == "p/é.jpg\tsource_missing\na\\\\\\t\\n\\rb\tsource_denied\n".encode()


@given(st.lists(st.builds(SourceProblem, TEXT, st.sampled_from(["source_missing", "source_denied"]))))
def test_every_list_is_read_back_as_it_was(problems: list[SourceProblem]) -> None:
    assert parse_missing(missing_text(problems)) == problems


@pytest.mark.parametrize("data", [b"a\tsource_missing", b"a\n", b"a\tunheard_of\n", b"\xff\tsource_missing\n"])
def test_a_list_that_we_did_not_write_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        parse_missing(data)
