"""What a worker serves to Prometheus, and what expressions of PromQL ask for."""

import asyncio
import re
from collections.abc import Iterator
from typing import get_args

import promql_parser
from aiohttp import ClientSession
from prometheus_client.parser import text_string_to_metric_families
from promql_parser import AggModifierType, AggregateExpr, Call, Expr, MatchOp, VectorSelector
from structlog.testing import capture_logs
from telemetry.samples import DONE, LOST, REJECTED, RETRIED, STANDING

from archiver.errors import Code
from archiver.ports import JobOutcome
from archiver.telemetry.health_server import open_health_server
from archiver.telemetry.prometheus import Prometheus

Samples = dict[str, set[str]]
"""The labels of every sample, by its name."""

OUTCOMES = set(get_args(JobOutcome))
CODES = set(get_args(Code)) | {"throttled", "interrupted"}
ADDED = {"job", "instance"}
"""Labels that Prometheus adds to what it scrapes."""


def scraped() -> Samples:
    """Every sample at /metrics of the health server of a worker that ended jobs in every way."""
    return asyncio.run(_scrape())


async def _scrape() -> Samples:
    numbers = Prometheus("zips", lambda: STANDING)
    for job in (DONE, REJECTED, RETRIED, LOST):
        numbers.ended(job)
    with capture_logs() as logs:
        async with open_health_server("127.0.0.1", 0, lambda: None, numbers.page), ClientSession() as session:
            answer = await session.get(f"http://127.0.0.1:{logs[0]['port']}/metrics")
            text = await answer.text()
    return {
        sample.name: set(sample.labels) for family in text_string_to_metric_families(text) for sample in family.samples
    }


def problems(text: str, served: Samples) -> list[str]:
    """
    What is wrong with the expression *text*: names, labels and values that no sample has, and labels to group by that
    are not there any more. Raises ValueError if Prometheus would not read it.
    """
    tree = promql_parser.parse(text)
    return [problem for node in _nodes(tree) for problem in _problems_of(node, served)]


def selectors(text: str) -> list[VectorSelector]:
    """The selectors in the expression *text*."""
    return [node for node in _nodes(promql_parser.parse(text)) if isinstance(node, VectorSelector)]


def _nodes(tree: Expr) -> list[Expr]:
    found: list[Expr] = []
    promql_parser.walk(tree, found.append)
    return found


def _problems_of(node: Expr, served: Samples) -> Iterator[str]:
    match node:
        case VectorSelector():
            yield from _problems_of_selector(node, served)
        case AggregateExpr() if node.modifier is not None:
            if node.modifier.type != AggModifierType.By:
                yield f"without: {node.prettify()}"
            for label in set(node.modifier.labels) - _labels(node.expr, served):
                yield f"{label}: nothing to group by in {node.prettify()}"
        case Call() if node.func.name == "histogram_quantile" and "le" not in _labels(node.args[1], served):
            yield f"no le: {node.prettify()}"
        case _:
            pass


def _problems_of_selector(node: VectorSelector, served: Samples) -> Iterator[str]:
    if node.name not in served:
        yield f"{node.name}: not served"
        return
    for matcher in node.matchers.matchers:
        if matcher.name not in served[node.name] | ADDED:
            yield f"{node.name}: has no label {matcher.name}"
        known = {"outcome": OUTCOMES, "code": CODES}.get(matcher.name)
        values = matcher.value.split("|") if matcher.op in (MatchOp.Re, MatchOp.NotRe) else [matcher.value]
        if known is not None:
            yield from (f"{node.name}: {matcher.name} is never {value}" for value in values if value not in known)


def _labels(node: Expr, served: Samples) -> set[str]:
    """The labels that the results of *node* have, as far as they are needed here."""
    inner = [one for one in _nodes(node) if isinstance(one, VectorSelector)]
    sums = [one for one in _nodes(node) if isinstance(one, AggregateExpr)]
    groups = [set(one.modifier.labels) if one.modifier else set() for one in sums]
    return set.intersection(*groups) if groups else set().union(*(served.get(one.name or "", set()) for one in inner))


def without_variables(text: str) -> str:
    """*text* as Grafana sends it: one service of two chosen, and five minutes for each step."""
    return re.sub(r"\$\{?service\}?", "(zips|scans)", text).replace("$__rate_interval", "5m")
