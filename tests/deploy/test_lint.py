"""The template as AWS's own linter sees it."""

import subprocess
import sys
from pathlib import Path

from .template import FILE


def lint(template: Path) -> tuple[int, str]:
    """cfn-lint's exit code and its words."""
    ran = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), str(template)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return ran.returncode, ran.stdout + ran.stderr


def test_cfn_lint_finds_nothing() -> None:
    assert lint(FILE) == (0, "")


def test_cfn_lint_would_find_a_property_that_is_not_there(tmp_path: Path) -> None:
    broken = tmp_path / "archiver.yaml"
    broken.write_text(FILE.read_text().replace("SqsManagedSseEnabled: true", "SqsManagedSse: true"))

    code, words = lint(broken)

    assert code != 0
    assert "SqsManagedSse" in words
