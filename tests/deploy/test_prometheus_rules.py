"""The alert rules look at numbers that a worker has, under labels that they have."""

import re
from typing import Any, get_args

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from telemetry.samples import DONE, LOST, REJECTED, STANDING

from archiver.errors import Code
from archiver.telemetry.prometheus import Prometheus

from .template import DEPLOY

(GROUP,) = yaml.safe_load((DEPLOY / "prometheus-rules.yaml").read_text())["groups"]
RULES = {rule["alert"]: rule for rule in GROUP["rules"]}

each = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


def served() -> dict[str, set[str]]:
    """Every sample that a worker serves, and the labels that it has."""
    numbers = Prometheus("zips", lambda: STANDING)
    for job in (DONE, REJECTED, LOST):
        numbers.ended(job)
    families = text_string_to_metric_families(numbers.page().decode())
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


def test_each_alert_is_there_once() -> None:
    assert len(RULES) == len(GROUP["rules"]) > 4


@each
def test_a_rule_has_what_prometheus_asks_of_one_and_says_what_to_do(rule: dict[str, Any]) -> None:
    assert {"alert", "expr", "labels", "annotations"} <= set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"\d+m", rule.get("for", "1m"))
    assert rule["expr"].count("(") == rule["expr"].count(")")
    assert len(rule["annotations"]["summary"]) > 15


@each
def test_a_rule_looks_at_numbers_that_a_worker_serves(rule: dict[str, Any]) -> None:
    told = served()
    looked = re.findall(r"\b(archiver_\w+)(?:\{([^}]*)\})?", rule["expr"])

    assert looked
    for name, labels in looked:
        assert name in told, name
        assert set(re.findall(r"(\w+)=", labels)) <= told[name]


def test_codes_that_wake_somebody_are_codes() -> None:
    (codes,) = set(re.findall(r'code=~"([^"]+)"', RULES["ArchiverDefectOrDenied"]["expr"]))

    assert set(codes.split("|")) <= set(get_args(Code))
