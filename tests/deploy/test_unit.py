"""The systemd units, as systemd itself reads and rates them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from archiver.core.commands import Limits
from archiver.settings import Settings

MIB = 1024 * 1024
DEPLOY = Path(__file__).parents[2] / "deploy"
PLAIN, COMMANDS = DEPLOY / "archiver.service", DEPLOY / "archiver-commands.service"
every_unit = pytest.mark.parametrize("file", [PLAIN, COMMANDS], ids=lambda file: file.stem)
WORST = 20  # of 100, in tenths of what `systemd-analyze security` tells: 2.0 is "OK"; a unit without any care has 9.6


def analyze(*arguments: str | Path) -> tuple[int, str]:
    """What systemd-analyze says, or its absence."""
    if shutil.which("systemd-analyze") is None:
        assert "CI" not in os.environ, "needs systemd-analyze: apt-get install systemd"
        pytest.skip("needs systemd-analyze (Debian's package systemd)")
    ran = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False)
    return ran.returncode, ran.stdout + ran.stderr


def setting_values(file: Path, name: str) -> list[str]:
    """Every value of one setting of the unit."""
    return re.findall(rf"^{name}=(.*)$", file.read_text(), re.MULTILINE)


def installed_unit(tmp_path: Path, text: str) -> Path:
    """The unit with a program that is there."""
    unit = tmp_path / "archiver.service"
    unit.write_text(text.replace("/opt/archiver/bin/archiver", shutil.which("true") or ""))
    return unit


@every_unit
def test_systemd_reads_all_of_it(file: Path, tmp_path: Path) -> None:
    assert analyze("verify", "--man=no", installed_unit(tmp_path, file.read_text())) == (0, "")


def test_systemd_would_say_what_it_does_not_know(tmp_path: Path) -> None:
    _, words = analyze(
        "verify", "--man=no", installed_unit(tmp_path, PLAIN.read_text().replace("ProtectHome", "ProtectHouse"))
    )

    assert "ProtectHouse" in words


@every_unit
def test_the_worker_is_given_no_more_than_it_needs(file: Path) -> None:
    code, words = analyze("security", "--offline=true", f"--threshold={WORST}", "--no-pager", file)

    assert code == 0, words


@every_unit
def test_it_stops_later_than_the_worker_and_is_not_started_again_with_settings_that_can_not_work(file: Path) -> None:
    grace = Settings.model_fields["grace_seconds"].default

    assert float(setting_values(file, "TimeoutStopSec")[0]) >= grace + 15
    assert setting_values(file, "RestartPreventExitStatus") == ["2"]
    assert setting_values(file, "Restart") == ["on-failure"]


def test_it_has_the_memory_that_a_worker_with_the_defaults_takes() -> None:
    budget = Settings.model_fields["memory_budget_mib"].default
    programs = Settings.model_fields["max_concurrent_jobs"].default * Limits().memory // MIB

    assert int(setting_values(PLAIN, "MemoryHigh")[0].removesuffix("M")) >= 2 * (145 + budget)
    assert int(setting_values(COMMANDS, "MemoryHigh")[0].removesuffix("M")) >= 2 * (145 + budget) + programs


def test_programs_may_be_limited_and_are_not_signalled_before_the_worker() -> None:
    """The worker sets their limits, finds them in /proc, and ends them itself; it is killed last."""
    assert setting_values(COMMANDS, "SystemCallFilter")[-1].split() == ["prlimit64", "setrlimit"]
    assert setting_values(COMMANDS, "KillMode") == ["mixed"]
    assert setting_values(COMMANDS, "OOMPolicy") == ["continue"]


def test_the_two_units_differ_in_what_commands_need_alone() -> None:
    """What hardens one hardens the other."""
    plain, commands = (
        {line for line in file.read_text().splitlines() if "=" in line and not line.startswith("#")}
        for file in (PLAIN, COMMANDS)
    )
    changed = {line.partition("=")[0] for line in plain - commands}

    assert changed == {"Description", "MemoryHigh", "MemoryMax", "TasksMax"}
