"""The systemd unit, as systemd itself reads and rates it."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from archiver.settings import Settings

FILE = Path(__file__).parents[2] / "deploy" / "archiver.service"
WORST = 20  # of 100, in tenths of what `systemd-analyze security` tells: 2.0 is "OK"; a unit without any care has 9.6


def analyze(*arguments: str | Path) -> tuple[int, str]:
    """What systemd-analyze says, or its absence."""
    if shutil.which("systemd-analyze") is None:
        assert "CI" not in os.environ, "needs systemd-analyze: apt-get install systemd"
        pytest.skip("needs systemd-analyze (Debian's package systemd)")
    ran = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False)
    return ran.returncode, ran.stdout + ran.stderr


def setting_values(name: str) -> list[str]:
    """Every value of one setting of the unit."""
    return re.findall(rf"^{name}=(.*)$", FILE.read_text(), re.MULTILINE)


def installed_unit(tmp_path: Path, text: str) -> Path:
    """The unit with a program that is there."""
    unit = tmp_path / "archiver.service"
    unit.write_text(text.replace("/opt/archiver/bin/archiver", shutil.which("true") or ""))
    return unit


def test_systemd_reads_all_of_it(tmp_path: Path) -> None:
    assert analyze("verify", "--man=no", installed_unit(tmp_path, FILE.read_text())) == (0, "")


def test_systemd_would_say_what_it_does_not_know(tmp_path: Path) -> None:
    _, words = analyze(
        "verify", "--man=no", installed_unit(tmp_path, FILE.read_text().replace("ProtectHome", "ProtectHouse"))
    )

    assert "ProtectHouse" in words


def test_the_worker_is_given_no_more_than_it_needs() -> None:
    code, words = analyze("security", "--offline=true", f"--threshold={WORST}", "--no-pager", FILE)

    assert code == 0, words


def test_it_stops_later_than_the_worker_and_is_not_started_again_with_settings_that_can_not_work() -> None:
    grace = Settings.model_fields["grace_seconds"].default

    assert float(setting_values("TimeoutStopSec")[0]) >= grace + 15
    assert setting_values("RestartPreventExitStatus") == ["2"]
    assert setting_values("Restart") == ["on-failure"]


def test_it_has_the_memory_that_a_worker_with_the_defaults_takes() -> None:
    budget = Settings.model_fields["memory_budget_mib"].default

    assert int(setting_values("MemoryHigh")[0].removesuffix("M")) >= 2 * (145 + budget)
