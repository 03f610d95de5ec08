"""`_MISSING.txt` has one line for each problem, whatever keys look like."""

from hypothesis import given
from hypothesis import strategies as st

from archiver.core.missing_report import missing_text
from archiver.errors import SourceProblem

TEXT = st.one_of(st.text("ab\\\t\n\r\u2028nrt"), st.text())


def test_the_list_has_a_line_for_each_problem() -> None:
    problems = [SourceProblem("p/é.jpg", "source_missing", "detail"), SourceProblem("a\\\t\n\rb", "source_denied")]
    assert missing_text(problems) == "p/é.jpg\tsource_missing\na\\\\\\t\\n\\rb\tsource_denied\n".encode()


@given(st.lists(st.builds(SourceProblem, TEXT, st.sampled_from(["source_missing", "source_denied"]))))
def test_every_source_has_one_line_of_two_columns(problems: list[SourceProblem]) -> None:
    lines = missing_text(problems).decode().split("\n")
    assert len(lines) == len(problems) + 1
    assert [line.split("\t")[1:] for line in lines[:-1]] == [[problem.code] for problem in problems]
