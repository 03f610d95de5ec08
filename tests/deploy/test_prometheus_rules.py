"""The alert rules look at numbers that a worker has, under labels that they have; and each fires when it should."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from archiver.errors import Code

from .exposition import Samples, problems, scraped, selectors
from .template import DEPLOY

FILE = DEPLOY / "prometheus-rules.yaml"
CASES = Path(__file__).with_name("prometheus-cases.yaml")
(GROUP,) = yaml.safe_load(FILE.read_text())["groups"]
RULES = {rule["alert"]: rule for rule in GROUP["rules"]}

each = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


@pytest.fixture(scope="module")
def served() -> Samples:
    return scraped()


def test_each_alert_is_there_once() -> None:
    assert len(RULES) == len(GROUP["rules"]) > 4


@each
def test_a_rule_has_what_prometheus_asks_of_one_and_says_what_to_do(rule: dict[str, Any]) -> None:
    assert {"alert", "expr", "labels", "annotations"} <= set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"\d+m", rule.get("for", "1m"))
    assert rule["expr"].count("(") == rule["expr"].count(")")
    assert len(rule["annotations"]["summary"]) > 15


@each
def test_a_rule_looks_at_numbers_that_a_worker_serves(rule: dict[str, Any], served: Samples) -> None:
    assert selectors(rule["expr"])
    assert problems(rule["expr"], served) == []


@each
def test_a_summary_names_labels_that_its_alert_has(rule: dict[str, Any], served: Samples) -> None:
    told = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))

    assert all(told <= served[selector.name or ""] for selector in selectors(rule["expr"]))


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("archiver_jobs", "archiver_jobs: not served"),
        ('archiver_jobs_total{queue="x"}', "archiver_jobs_total: has no label queue"),
        ('archiver_jobs_total{outcome=~"done|failed"}', "archiver_jobs_total: outcome is never failed"),
        ('archiver_jobs_total{code!="missing"}', "archiver_jobs_total: code is never missing"),
        ("sum by (code) (archiver_paused)", "code: nothing to group by in"),
        ("histogram_quantile(0.9, sum(rate(archiver_queue_seconds_bucket[5m])))", "no le: "),
        ("histogram_quantile(0.9, sum by (service) (rate(archiver_queue_seconds_bucket[5m])))", "no le: "),
    ],
)
def test_what_is_wrong_with_an_expression_is_found(text: str, wrong: str, served: Samples) -> None:
    """The judge itself: what it does not find, no test of this folder would."""
    assert [problem[: len(wrong)] for problem in problems(text, served)] == [wrong]


def test_what_prometheus_would_not_read_is_found(served: Samples) -> None:
    with pytest.raises(ValueError, match="expected type matrix"):
        problems("rate(archiver_jobs_total)", served)


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    cases = [test for case in yaml.safe_load(CASES.read_text())["tests"] for test in case["alert_rule_test"]]

    assert {case["alertname"] for case in cases if case["exp_alerts"]} == set(RULES)
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == set(RULES)


def test_promtool_has_nothing_against_the_rules_and_each_case_ends_as_it_says(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool (Debian's package prometheus)")
    for file in (FILE, CASES):
        shutil.copy(file, tmp_path)
    for command in (["check", "rules", FILE.name], ["test", "rules", CASES.name]):
        ran = subprocess.run(
            ["promtool", *command], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_codes_that_wake_somebody_are_codes() -> None:
    (codes,) = set(re.findall(r'code=~"([^"]+)"', RULES["ArchiverDefectOrDenied"]["expr"]))

    assert set(codes.split("|")) <= set(get_args(Code))
