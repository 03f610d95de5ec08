"""The documents say what is: the matrix names every test of a row, the runbook every code and event."""

import ast
import re
from pathlib import Path
from typing import get_args

from archiver.errors import Code
from archiver.settings import Settings

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"((?:[A-G]\d+(?:, )?)+)(?:, promise \d+)?(?::|$)")


def rows() -> list[str]:
    """The lines of the matrix, from the docstrings of the tests in tests/faults."""
    lines = []
    for path in sorted((ROOT / "tests/faults").glob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            doc = ast.get_docstring(node) if isinstance(node, ast.FunctionDef) else None
            if isinstance(node, ast.FunctionDef) and doc and (told := ROW.match(doc)):
                sentence = node.name.removeprefix("test_").replace("_", " ")
                lines += [f"| {row} | {sentence} | `{path.name}` |" for row in told[1].strip(", ").split(", ")]
    return sorted(lines, key=lambda line: (line[2], int(re.findall(r"\d+", line)[0])))


def test_the_matrix_names_every_test_of_a_row() -> None:
    """To write it anew: `python tests/top/test_docs.py`."""
    told = [line for line in (ROOT / "docs/reliability.md").read_text().splitlines() if re.match(r"\| [A-G]\d", line)]

    assert told == rows()


def test_the_runbook_has_a_line_for_every_code_and_every_event_that_needs_a_person() -> None:
    runbook = (ROOT / "docs/operating.md").read_text()
    source = "\n".join(path.read_text() for path in (ROOT / "archiver").rglob("*.py"))
    events = set(re.findall(r'log\.(?:warning|error|exception)\(\s*"([a-z_.]+)"', source))

    assert [code for code in get_args(Code) if f"`{code}`" not in runbook] == []
    assert [event for event in sorted(events) if f"`{event}`" not in runbook] == []
    assert len(events) > 10


def test_the_readme_has_a_line_for_every_setting() -> None:
    readme = (ROOT / "README.md").read_text()
    names = [
        str(getattr(field.validation_alias, "choices", [field.validation_alias])[0])
        for field in Settings.model_fields.values()
    ]

    assert [name for name in names if f"| `{name}`" not in readme] == []
    assert len(names) > 12


if __name__ == "__main__":
    document = ROOT / "docs/reliability.md"
    head = document.read_text().partition("| row | what the test shows")[0].partition("@@ROWS@@")[0]
    table = ["| row | what the test shows | in |", "| --- | --- | --- |", *rows()]
    document.write_text(head + "\n".join(table) + "\n")
