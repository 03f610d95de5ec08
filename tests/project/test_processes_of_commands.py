"""Processes are started in one room."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2] / "archiver"
STARTS = re.compile(
    r"create_subprocess|\bsubprocess\b|posix_spawn|os\.(fork|exec|spawn|system|popen)|shell=|import pty|\bprctl\b"
)


def test_only_the_room_of_commands_starts_processes() -> None:
    """And nothing in the service names a shell."""
    found = {path.relative_to(ROOT).parts[0] for path in ROOT.rglob("*.py") if STARTS.search(path.read_text())}

    assert {"command"} == found


def test_nothing_starts_a_shell() -> None:
    """`shell=True` and its kin are nowhere."""
    assert not [path for path in ROOT.rglob("*.py") if re.search(r"shell=|_shell\(|os\.system", path.read_text())]
