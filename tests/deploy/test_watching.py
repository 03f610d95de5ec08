"""Scaling, alarms and the dashboard: that they look at metrics that are there, and what their formulas come to."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from telemetry.numbers import DONE, LOST, REJECTED, STANDING
from telemetry.test_emf import metrics

from archiver.telemetry.emf import job_line, standing_lines

from .template import EVERYTHING, REQUIRED, STACK, Stack, parsed

QUEUE = frozenset({"QueueName"})
SERVICE = frozenset({"ClusterName", "ServiceName"})
NOT_OURS = {
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible", QUEUE),
    ("AWS/SQS", "ApproximateNumberOfMessagesNotVisible", QUEUE),
    ("AWS/SQS", "ApproximateAgeOfOldestMessage", QUEUE),
    ("AWS/SQS", "NumberOfMessagesDeleted", QUEUE),
    ("ECS/ContainerInsights", "RunningTaskCount", SERVICE),
    ("ECS/ContainerInsights", "DesiredTaskCount", SERVICE),
    ("AWS/ECS", "CPUUtilization", SERVICE),
    ("AWS/ECS", "MemoryUtilization", SERVICE),
}
"""Metrics that AWS has, by the names of their dimensions."""

Looked = tuple[str, str, dict[str, str]]


def emitted() -> set[tuple[str, str, frozenset[str]]]:
    """Every metric that a worker has, by the names of its dimensions."""
    lines = [job_line(STACK, job, 1) for job in (DONE, REJECTED, LOST)]
    lines += standing_lines(STACK, STANDING, STANDING.resumes, 1)
    return {("Archiver", name, frozenset(key for key, _ in told)) for line in lines for name, told in metrics(line)}


def stated(node: Any) -> Iterator[Looked]:
    """Every metric that alarms and policies look at."""
    if isinstance(node, list):
        for one in node:
            yield from stated(one)
    elif isinstance(node, dict):
        if "MetricName" in node and "Namespace" in node:
            yield node["Namespace"], node["MetricName"], {one["Name"]: one["Value"] for one in node["Dimensions"]}
        for one in node.values():
            yield from stated(one)


def dashboard(stack: Stack) -> dict[str, Any]:
    (made,) = stack.of_type("AWS::CloudWatch::Dashboard").values()
    told: dict[str, Any] = json.loads(made["DashboardBody"])
    return told


def shown(stack: Stack) -> Iterator[Looked]:
    """Every metric of the dashboard, with CloudWatch's abbreviations (`.`: as above, `...`: all as above) undone."""
    for widget in dashboard(stack)["widgets"]:
        above: list[str] = []
        for line in widget["properties"].get("metrics", []):
            words = [word for word in line if isinstance(word, str)]
            if words and words[0] == "...":
                words = above[: len(above) - len(words) + 1] + words[1:]
            words = [above[n] if word == "." else word for n, word in enumerate(words)]
            if words:
                yield words[0], words[1], dict(zip(words[2::2], words[3::2], strict=True))
                above = words


@pytest.mark.parametrize("given", [REQUIRED, EVERYTHING], ids=["required", "everything"])
def test_only_metrics_that_are_there_are_looked_at(given: Mapping[str, str]) -> None:
    stack = Stack(given)
    looked = [*stated(stack.resources), *shown(stack)]
    there = emitted() | NOT_OURS

    assert [one for one in looked if (one[0], one[1], frozenset(one[2])) not in there] == []
    assert {told["Service"] for name, _, told in looked if name == "Archiver"} == {STACK}
    assert len(looked) > 30


def test_metrics_carry_the_name_that_alarms_look_for() -> None:
    (container,) = Stack(REQUIRED).resources["TaskDefinition"]["ContainerDefinitions"]

    assert {"Name": "SERVICE_NAME", "Value": STACK} in container["Environment"]
    assert {"Name": "METRICS", "Value": "emf"} in container["Environment"]


# ---- formulas


def worth(metrics: list[dict[str, Any]], values: Mapping[str, float]) -> float:
    """What the metric math of *metrics* returns where CloudWatch has *values*; NaN: it has none (yet)."""

    def fill(value: float, instead: float) -> float:
        return instead if math.isnan(value) else value

    known: dict[str, Any] = {
        "FILL": fill,
        "IF": lambda condition, then, other: then if condition else other,
        "REPEAT": values.get("before", 0.0),
        **{one["Id"]: values.get(one["Id"], math.nan) for one in metrics if "MetricStat" in one},
    }
    result = math.nan
    for one in metrics:
        if "Expression" in one:
            known[one["Id"]] = eval(one["Expression"].replace(" AND ", " and "), {}, known)
        if one["ReturnData"]:
            result = float(known[one["Id"]])
    assert [one["ReturnData"] for one in metrics].count(True) == 1
    return result


def backlog(**values: float) -> float:
    policy = Stack(REQUIRED).resources["BacklogScaling"]["TargetTrackingScalingPolicyConfiguration"]
    return worth(policy["CustomizedMetricSpecification"]["Metrics"], values)


def test_messages_in_work_count_so_that_working_tasks_are_not_scaled_away() -> None:
    assert backlog(visible=0, working=8, running=2) == 4
    assert backlog(visible=12, working=8, running=2) == 10
    assert backlog(visible=0, working=0, running=2) == 0


def test_a_number_of_tasks_that_is_late_or_0_makes_no_backlog_of_its_own() -> None:
    assert backlog(visible=6, working=2, running=math.nan, before=2) == 4
    assert backlog(visible=6, working=2, running=0) == 8


def test_the_target_is_by_default_a_busy_task_with_nothing_waiting() -> None:
    stack = Stack(REQUIRED)
    policy = stack.resources["BacklogScaling"]["TargetTrackingScalingPolicyConfiguration"]

    assert policy["TargetValue"] == stack.parameters["BacklogPerTask"] == stack.parameters["MaxConcurrentJobs"]
    assert int(parsed()["Parameters"]["MinTasks"]["MinValue"]) == 1, "nothing is divided by no tasks"


def test_more_tasks_can_be_there_ahead_of_a_burst_that_is_known() -> None:
    target = Stack(EVERYTHING).resources["ScalableTarget"]
    begun, ended = target["ScheduledActions"]

    assert (begun["Schedule"], begun["Timezone"]) == ("cron(50 8 * * ? *)", "Europe/Berlin")
    assert begun["ScalableTargetAction"] == {"MinCapacity": "8", "MaxCapacity": target["MaxCapacity"]}
    assert ended["ScalableTargetAction"] == {"MinCapacity": target["MinCapacity"], "MaxCapacity": target["MaxCapacity"]}
    assert "ScheduledActions" not in Stack(REQUIRED).resources["ScalableTarget"]


@pytest.mark.parametrize(
    ("values", "alarm"),
    [
        ({"waiting": 3.0}, True),
        ({"waiting": 3.0, "deleted": 0.0}, True),
        ({"waiting": 3.0, "deleted": 1.0}, False),
        ({"waiting": 0.0, "deleted": 0.0}, False),
    ],
)
def test_messages_that_wait_while_nothing_ends_are_an_alarm(values: dict[str, float], alarm: bool) -> None:
    told = Stack(REQUIRED).resources["NoCompletionsAlarm"]

    assert (worth(told["Metrics"], values) >= told["Threshold"]) is alarm
    assert told["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"


def test_the_alarm_of_no_completions_needs_no_worker_that_tells() -> None:
    """An image that does not start tells no metrics, and a metric that was never told can't be filled in."""
    metrics = Stack(REQUIRED).resources["NoCompletionsAlarm"]["Metrics"]

    assert {one["MetricStat"]["Metric"]["Namespace"] for one in metrics if "MetricStat" in one} == {"AWS/SQS"}


# ---- alarms


def alarms(given: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    return Stack(given).of_type("AWS::CloudWatch::Alarm")


def test_there_is_an_alarm_for_each_thing_that_nobody_would_see() -> None:
    made = alarms(REQUIRED | {"OldestMessageSeconds": "600"})

    assert set(made) == {
        "OldestMessageAlarm",
        "DeadLetterAlarm",
        "AnswerDeadLetterAlarm",
        "NoCompletionsAlarm",
        "LeasesLostAlarm",
        "PausedAlarm",
    }
    assert made["OldestMessageAlarm"]["Threshold"] == "600"
    assert made["DeadLetterAlarm"]["Dimensions"] == [{"Name": "QueueName", "Value": "DeadLetterQueue"}]
    assert made["LeasesLostAlarm"]["DatapointsToAlarm"] == 2


def test_alarms_go_to_the_topic_where_there_is_one_and_say_what_to_do() -> None:
    topic = [EVERYTHING["AlarmTopicArn"]]

    for alarm in alarms(EVERYTHING).values():
        assert alarm["AlarmActions"] == alarm["OKActions"] == topic
        assert alarm["TreatMissingData"] == "notBreaching"
        assert len(alarm["AlarmDescription"]) > 30
    assert not any("AlarmActions" in alarm for alarm in alarms(REQUIRED).values())


def test_the_dashboard_shows_every_alarm_and_the_log() -> None:
    stack = Stack(REQUIRED)
    widgets = dashboard(stack)["widgets"]
    (listed,) = (one["properties"]["alarms"] for one in widgets if one["type"] == "alarm")
    (log,) = (one["properties"]["query"] for one in widgets if one["type"] == "log")

    assert sorted(arn.rpartition(":")[2] for arn in listed) == sorted(alarms(REQUIRED))
    assert re.match(r"SOURCE 'LogGroup' \|", log)
    places = [(one["x"], one["y"]) for one in widgets]
    assert len(set(places)) == len(places) and all(one["x"] + one["width"] <= 24 for one in widgets)
