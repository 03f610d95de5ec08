"""The Grafana dashboard draws numbers that a worker serves, all of them, and Grafana can import it."""

import json
from typing import Any

import promql_parser
import pytest

from .exposition import Samples, problems, scraped, selectors, without_variables
from .template import DEPLOY

BOARD = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
PANELS: dict[str, dict[str, Any]] = {panel["title"]: panel for panel in BOARD["panels"]}
TARGETS = {f"{title} {target['refId']}": target for title, panel in PANELS.items() for target in panel["targets"]}
VARIABLES = {variable["name"]: variable for variable in BOARD["templating"]["list"]}

each = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)


@pytest.fixture(scope="module")
def served() -> Samples:
    return scraped()


@each
def test_an_expression_asks_for_numbers_that_a_worker_serves(target: dict[str, Any], served: Samples) -> None:
    expression = without_variables(target["expr"])

    assert "$" not in expression
    assert problems(expression, served) == []


@each
def test_an_expression_is_of_the_chosen_services_alone(target: dict[str, Any]) -> None:
    for selector in selectors(target["expr"].replace("$__rate_interval", "5m")):
        assert [m.value for m in selector.matchers.matchers if m.name == "service"] == ["$service"]


@each
def test_a_legend_names_labels_that_its_lines_have(target: dict[str, Any]) -> None:
    tree = promql_parser.parse(without_variables(target["expr"]))
    modifier = tree.modifier if isinstance(tree, promql_parser.AggregateExpr) else None
    labels = modifier.labels if modifier else []

    assert target["legendFormat"]
    assert all(f"{{{{{label}}}}}" in target["legendFormat"] for label in labels)
    assert target["legendFormat"].count("{{") == len(labels)


def test_every_metric_is_drawn(served: Samples) -> None:
    drawn = {selector.name for target in TARGETS.values() for selector in selectors(without_variables(target["expr"]))}
    kinds = {name for name in served if not name.endswith(("_created", "_sum", "_count"))}

    assert drawn == kinds


def test_panels_have_names_and_places_of_their_own() -> None:
    places = [
        (place["x"] + right, place["y"] + down)
        for place in (panel["gridPos"] for panel in BOARD["panels"])
        for right in range(place["w"])
        for down in range(place["h"])
    ]

    assert len(PANELS) == len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"]) > 10
    assert len(set(places)) == len(places)
    assert max(x for x, _ in places) == 23  # Grafana's grid has 24 columns


def test_grafana_asks_for_the_data_source_and_shows_services_that_are_there(served: Samples) -> None:
    """A dashboard that names a data source by its id works in the Grafana that it was made in."""
    assert "id" not in BOARD
    assert BOARD["uid"]
    assert BOARD["schemaVersion"] >= 39
    assert set(VARIABLES) == {"datasource", "service"}
    assert {panel["datasource"]["uid"] for panel in BOARD["panels"]} == {"${datasource}"}
    assert VARIABLES["service"]["query"]["query"] == "label_values(archiver_running_jobs, service)"
    assert "service" in served["archiver_running_jobs"]
