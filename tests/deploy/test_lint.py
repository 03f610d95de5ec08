"""The templates as AWS's own linter sees them, in every commercial region."""

import subprocess
import sys
from pathlib import Path

import pytest

from .template import ALONE, FILES, load_template, merged_section

ELSEWHERE = ("cn-", "us-gov-", "us-iso", "eu-iso", "eusc-")  # China, GovCloud, and partitions that few can see


def batched(regions: list[str], count: int) -> list[list[str]]:
    """cfn-lint's time grows faster than the number of regions."""
    return [regions[start : start + count] for start in range(0, len(regions), count)]


def lint(template: Path, *regions: str) -> tuple[int, str]:
    """cfn-lint's exit code and its words."""
    ran = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), "--regions", *regions, "--", str(template)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return ran.returncode, ran.stdout + ran.stderr


@pytest.mark.slow
@pytest.mark.parametrize("which", FILES | ALONE)
def test_cfn_lint_finds_nothing_in_any_commercial_region(which: str) -> None:
    from cfnlint.helpers import REGIONS  # noqa: PLC0415 - slow to import, and the quick tests do not need it

    commercial = [region for region in REGIONS if not region.startswith(ELSEWHERE)]

    assert len(commercial) > 25
    for few in batched(commercial, 8):
        assert lint((FILES | ALONE)[which], *few) == (0, "")


@pytest.mark.slow
def test_the_worker_alone_can_be_in_china_and_in_govcloud() -> None:
    assert lint(FILES["worker"], "cn-north-1", "us-gov-west-1") == (0, "")


@pytest.mark.slow
def test_cfn_lint_would_find_a_property_that_is_not_there(tmp_path: Path) -> None:
    broken = tmp_path / "data.yaml"
    broken.write_text(FILES["data"].read_text().replace("SqsManagedSseEnabled: ", "SqsManagedSse: "))

    code, words = lint(broken, "eu-west-1")

    assert code != 0
    assert "SqsManagedSse" in words


def test_what_checkov_is_not_to_say_has_a_reason() -> None:
    """`make scan` runs it, in an environment of its own."""
    skipped = [
        one
        for resources in (merged_section("Resources"), *(load_template(which)["Resources"] for which in ALONE))
        for told in resources.values()
        for one in told.get("Metadata", {}).get("checkov", {}).get("skip", [])
    ]

    assert {one["id"] for one in skipped} == {f"CKV_AWS_{number}" for number in (21, 68, 86, 174, 116, 117, 173)}
    assert all(len(one["comment"]) > 40 for one in skipped)
