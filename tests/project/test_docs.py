"""Generated tables are current, and the reference pages list every code, event, metric and setting."""

import ast
import re
from pathlib import Path
from typing import get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from archiver.errors import Code
from archiver.settings import Environment, Settings
from archiver.telemetry.metrics import UNITS

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"((?:[A-K]\d+(?:, )?)+)(?:, promise \d+)?(?::|$)")


ELSEWHERE = (
    "tests/aws/test_signed_urls.py",
    "tests/command/test_docker_runs.py",
    "tests/command/test_programs.py",
    "tests/command/test_work_space.py",
    "tests/http_client/test_guard.py",
    "tests/jobs/test_command_jobs.py",
    "tests/jobs/test_long_answers.py",
    "tests/jobs/test_webhook.py",
    "tests/processes/test_command_workers.py",
    "tests/processes/test_links.py",
    "tests/worker/test_protection.py",
    "tests/worker/test_protected_service.py",
)
"""Tests of rows outside tests/faults: they need no proxy."""


def rows() -> list[str]:
    """Return the lines of the matrix, from the docstrings of the tests in tests/faults and ELSEWHERE."""
    lines = []
    for path in [*sorted((ROOT / "tests/faults").glob("test_*.py")), *(ROOT / name for name in ELSEWHERE)]:
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            doc = ast.get_docstring(node)
            if doc and (told := ROW.match(doc)):
                sentence = node.name.removeprefix("test_").replace("_", " ")
                lines += [f"| {row} | {sentence} | `{path.name}` |" for row in told[1].strip(", ").split(", ")]
    return sorted(lines, key=lambda line: (line[2], int(re.findall(r"\d+", line)[0])))


def test_the_matrix_names_every_test_of_a_row() -> None:
    """To regenerate it: `python tests/project/test_docs.py`."""
    told = [line for line in (ROOT / "docs/testing.md").read_text().splitlines() if re.match(r"\| [A-K]\d", line)]

    assert told == rows()


def test_the_tests_of_rabbitmq_that_are_named_exist() -> None:
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", (ROOT / "docs/testing.md").read_text())
    files = {path.name: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}

    assert len(named) > 20
    assert [f"{file}::{name}" for file, name in named if f"def {name}(" not in files.get(file, "")] == []


def test_the_runbook_has_a_line_for_every_code_and_every_event_that_needs_a_person() -> None:
    runbook = (ROOT / "docs/operating.md").read_text()
    source = "\n".join(path.read_text() for path in (ROOT / "archiver").rglob("*.py"))
    events = set(re.findall(r'log\.(?:warning|error|exception)\(\s*"([a-z_.]+)"', source))

    assert [code for code in get_args(Code) if f"`{code}`" not in runbook] == []
    assert [event for event in sorted(events) if f"`{event}`" not in runbook] == []
    assert len(events) > 10


def settings_table() -> list[str]:
    """Return the table of docs/settings.md, from the settings model."""
    lines = ["| variable | meaning | default |", "| --- | --- | --- |"]
    own = [name for name in Settings.model_fields if name in Environment.__annotations__]
    inherited = [name for name in Settings.model_fields if name not in own]  # a group with a module of its own
    for field in (Settings.model_fields[name] for name in own + inherited):
        name, *others = [str(choice) for choice in getattr(field.validation_alias, "choices", [field.validation_alias])]
        also = f" (also `{others[0]}`)" if others else ""
        lines.append(f"| `{name}`{also} | {field.description} | {_default(field)} |")
    return lines


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if isinstance(field.default, bool):
        return f"`{int(field.default)}`"
    if isinstance(field.default, SecretStr):
        return f"`{field.default.get_secret_value()}`"
    return (
        "none"
        if field.default is None
        else f"`{field.default:g}`"
        if isinstance(field.default, float)
        else f"`{field.default}`"
    )


def test_the_metrics_page_lists_every_metric_and_dimension() -> None:
    page = (ROOT / "docs/metrics.md").read_text()

    assert [name for name in (*UNITS, "Service", "Outcome", "Code") if f"`{name}`" not in page] == []


def test_the_settings_page_is_the_settings_model() -> None:
    """To regenerate it: `python tests/project/test_docs.py`."""
    page = (ROOT / "docs/settings.md").read_text().splitlines()
    table = settings_table()

    assert page[page.index(table[0]) :][: len(table)] == table
    assert len(table) > 12


def test_readme_names_the_settings_that_everyone_needs() -> None:
    readme = (ROOT / "README.md").read_text()
    required = [line.split("`")[1] for line in settings_table() if line.endswith("| required |")]

    assert required == ["S3_DESTINATION_BUCKET"]
    assert [name for name in ("SQS_SOURCE_QUEUE", *required) if name not in readme] == []


def _rewrite(page: str, header: str, table: list[str]) -> None:
    """Replace the table that begins with *header* with *table*."""
    lines = (ROOT / page).read_text().splitlines()
    start = lines.index(header)
    end = next((n for n in range(start, len(lines)) if not lines[n].startswith("|")), len(lines))
    (ROOT / page).write_text("\n".join([*lines[:start], *table, *lines[end:]]) + "\n")


MATRIX = "| row | what the test shows | in |"

if __name__ == "__main__":
    _rewrite("docs/testing.md", MATRIX, [MATRIX, "| --- | --- | --- |", *rows()])
    _rewrite("docs/settings.md", settings_table()[0], settings_table())
