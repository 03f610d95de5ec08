"""Scaling, alarms and the dashboard: that they look at metrics that are there, and what their formulas come to."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from telemetry.samples import COPIED, DONE, LOST, REJECTED, STANDING
from telemetry.test_emf import metrics

from archiver.telemetry.emf import job_line, process_lines

from .template import EVERYTHING, REQUIRED, STACK, WITH_EXISTING_RESOURCES, BothStacks, Stack, merged_section

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
    ("AWS/CloudFront", "5xxErrorRate", frozenset({"DistributionId", "Region"})),
}
"""Metrics that AWS has, by the names of their dimensions."""

Looked = tuple[str, str, dict[str, str]]


def emitted() -> set[tuple[str, str, frozenset[str]]]:
    """Every metric that a worker has, by the names of its dimensions."""
    lines = [job_line(STACK, job, 1) for job in (DONE, COPIED, REJECTED, LOST)]
    lines += process_lines(STACK, STANDING, STANDING.resumes, 1)
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


def dashboard(stack: Stack | BothStacks) -> dict[str, Any]:
    (made,) = stack.of_type("AWS::CloudWatch::Dashboard").values()
    told: dict[str, Any] = json.loads(made["DashboardBody"])
    return told


def shown(stack: Stack | BothStacks) -> Iterator[Looked]:
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
    stack = BothStacks(given)
    looked = [*stated(stack.resources), *shown(stack)]
    there = emitted() | NOT_OURS

    assert [one for one in looked if (one[0], one[1], frozenset(one[2])) not in there] == []
    assert {told["Service"] for name, _, told in looked if name == "Archiver"} == {STACK}
    assert len(looked) > 30


def test_metrics_carry_the_name_that_alarms_look_for() -> None:
    (container,) = BothStacks(REQUIRED).resources["TaskDefinition"]["ContainerDefinitions"]

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
    policy = BothStacks(REQUIRED).resources["BacklogScaling"]["TargetTrackingScalingPolicyConfiguration"]
    return worth(policy["CustomizedMetricSpecification"]["Metrics"], values)


def test_messages_in_work_count_so_that_working_tasks_are_not_scaled_away() -> None:
    assert backlog(visible=0, working=8, running=2) == 4
    assert backlog(visible=12, working=8, running=2) == 10
    assert backlog(visible=0, working=0, running=2) == 0


def test_a_number_of_tasks_that_is_late_or_0_makes_no_backlog_of_its_own() -> None:
    assert backlog(visible=6, working=2, running=math.nan, before=2) == 4
    assert backlog(visible=6, working=2, running=0) == 8


def test_jobs_that_wait_for_objects_start_no_tasks() -> None:
    """Their messages are in flight, and need no slot. `Parked` is the mean of the tasks."""
    assert backlog(visible=0, working=208, running=2, parked=100) == 4
    assert backlog(visible=12, working=208, running=2, parked=100) == 10
    assert backlog(visible=0, working=8, running=2, parked=math.nan) == 4


def test_the_target_is_by_default_a_busy_task_with_nothing_waiting() -> None:
    stack = BothStacks(REQUIRED)
    policy = stack.resources["BacklogScaling"]["TargetTrackingScalingPolicyConfiguration"]

    assert policy["TargetValue"] == stack.parameters["BacklogPerTask"] == stack.parameters["MaxConcurrentJobs"]
    assert int(merged_section("Parameters")["MinTasks"]["MinValue"]) == 1, "nothing is divided by no tasks"


def test_more_tasks_can_be_there_ahead_of_a_burst_that_is_known() -> None:
    target = BothStacks(EVERYTHING).resources["ScalableTarget"]
    begun, ended = target["ScheduledActions"]

    assert (begun["Schedule"], begun["Timezone"]) == ("cron(50 8 * * ? *)", "Europe/Berlin")
    assert begun["ScalableTargetAction"] == {"MinCapacity": "8", "MaxCapacity": target["MaxCapacity"]}
    assert ended["ScalableTargetAction"] == {"MinCapacity": target["MinCapacity"], "MaxCapacity": target["MaxCapacity"]}
    assert "ScheduledActions" not in BothStacks(REQUIRED).resources["ScalableTarget"]


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
    told = BothStacks(REQUIRED).resources["NoCompletionsAlarm"]

    assert (worth(told["Metrics"], values) >= told["Threshold"]) is alarm
    assert told["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"


def test_the_alarm_of_no_completions_needs_no_worker_that_tells() -> None:
    """An image that does not start tells no metrics, and a metric that was never told can't be filled in."""
    metrics = BothStacks(REQUIRED).resources["NoCompletionsAlarm"]["Metrics"]

    assert {one["MetricStat"]["Metric"]["Namespace"] for one in metrics if "MetricStat" in one} == {"AWS/SQS"}


@pytest.mark.parametrize(
    ("values", "alarm"),
    [
        ({"visible": 1.0, "age": 1000.0}, True),
        ({"visible": 1.0, "age": 100.0}, False),
        ({"visible": 0.0, "age": 40_000.0}, False),  # a long job: its message is not deleted yet
    ],
)
def test_a_long_job_is_no_message_that_waits(values: dict[str, float], alarm: bool) -> None:
    told = BothStacks(REQUIRED).resources["OldestMessageAlarm"]

    assert (worth(told["Metrics"], values) > float(told["Threshold"])) is alarm
    assert told["ComparisonOperator"] == "GreaterThanThreshold"


@pytest.mark.parametrize(
    ("values", "alarm"),
    [
        ({"rejected": 60.0, "jobs": 100.0}, True),
        ({"rejected": 40.0, "jobs": 100.0}, False),
        ({"rejected": 9.0, "jobs": 9.0}, False),  # a photo deleted between click and job wakes nobody
    ],
)
def test_a_few_rejected_requests_wake_nobody_and_many_at_once_do(values: dict[str, float], alarm: bool) -> None:
    told = BothStacks(REQUIRED).resources["RejectionsAlarm"]

    assert (worth(told["Metrics"], values) >= told["Threshold"]) is alarm


@pytest.mark.parametrize(("running", "alarm"), [(3.0, True), (4.0, False), (5.0, False), (math.nan, True)])
def test_tasks_that_do_not_come_up_are_an_alarm(running: float, alarm: bool) -> None:
    told = BothStacks(REQUIRED).resources["TasksMissingAlarm"]

    assert (worth(told["Metrics"], {"running": running, "desired": 4.0}) >= told["Threshold"]) is alarm


# ---- alarms

WAKES = {
    "OldestMessageAlarm",
    "NoCompletionsAlarm",
    "TasksMissingAlarm",
    "PausedAlarm",
    "LeasesLostAlarm",
    "InternalAlarm",
    "RetriesExhaustedAlarm",
    "SourceDeniedAlarm",
    "SourceNotAllowedAlarm",
    "RejectionsAlarm",
}
TICKETS = {"DeadLetterAlarm", "AnswerDeadLetterAlarm", "AnswerAgeAlarm", "FailureAgeAlarm"}


def alarms(given: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    return BothStacks(given).of_type("AWS::CloudWatch::Alarm")


def test_there_is_an_alarm_for_each_thing_that_nobody_would_see() -> None:
    made = alarms(REQUIRED | {"OldestMessageSeconds": "600", "UnreadSeconds": "7200"})

    assert set(made) == WAKES | TICKETS
    assert made["OldestMessageAlarm"]["Threshold"] == "600"
    assert made["AnswerAgeAlarm"]["Threshold"] == made["FailureAgeAlarm"]["Threshold"] == "7200"
    assert made["DeadLetterAlarm"]["Dimensions"] == [{"Name": "QueueName", "Value": "DeadLetterQueue"}]
    assert made["LeasesLostAlarm"]["DatapointsToAlarm"] == 2


def test_what_a_person_can_mend_at_once_wakes_somebody_by_its_code() -> None:
    dimensions = [one.get("Dimensions", []) for name, one in alarms(REQUIRED).items() if name in WAKES]
    codes = {told["Value"] for one in dimensions for told in one if told["Name"] == "Code"}

    assert codes == {"internal", "retries_exhausted", "source_denied", "source_not_allowed"}


def test_an_alarm_goes_to_its_topic_where_there_is_one_and_says_what_to_do() -> None:
    for name, alarm in alarms(EVERYTHING).items():
        topic = EVERYTHING["TicketTopicArn" if name in TICKETS else "AlarmTopicArn"]
        assert alarm["AlarmActions"] == alarm["OKActions"] == [topic]
        assert alarm["TreatMissingData"] == "notBreaching"
        assert len(alarm["AlarmDescription"]) > 30
    assert not any(alarm["AlarmActions"] for alarm in alarms(REQUIRED).values())


def test_errors_of_cloudfront_are_an_alarm_in_the_only_region_that_has_its_metrics() -> None:
    there = BothStacks(REQUIRED, region="us-east-1")

    assert there.resources["DownloadErrorsAlarm"]["Dimensions"][0] == {
        "Name": "DistributionId",
        "Value": "Distribution",
    }
    assert "DownloadErrorsAlarm" not in BothStacks(REQUIRED).resources
    assert "DownloadErrorsAlarm" not in BothStacks(REQUIRED | {"CloudFront": "no"}, region="us-east-1").resources


def test_the_worker_alone_watches_what_it_has() -> None:
    stack = Stack("worker", WITH_EXISTING_RESOURCES)

    assert set(stack.of_type("AWS::CloudWatch::Alarm")) == (WAKES | TICKETS) - {
        "AnswerDeadLetterAlarm",
        "FailureAgeAlarm",
    }
    assert listed(stack) == sorted(stack.of_type("AWS::CloudWatch::Alarm"))
    assert {one[2]["QueueName"] for one in shown(stack) if one[0] == "AWS/SQS"} == {"theirs"}


def listed(stack: Stack | BothStacks) -> list[str]:
    """The alarms that the dashboard shows."""
    (arns,) = (one["properties"]["alarms"] for one in dashboard(stack)["widgets"] if one["type"] == "alarm")
    return sorted(arn.rpartition(":")[2] for arn in arns)


@pytest.mark.parametrize("region", ["eu-west-1", "us-east-1"])
def test_the_dashboard_shows_every_alarm_and_the_log(region: str) -> None:
    stack = BothStacks(REQUIRED, region=region)
    widgets = dashboard(stack)["widgets"]
    (log,) = (one["properties"]["query"] for one in widgets if one["type"] == "log")

    assert listed(stack) == sorted(stack.of_type("AWS::CloudWatch::Alarm"))
    assert re.match(r"SOURCE 'LogGroup' \|", log)
    places = [(one["x"], one["y"]) for one in widgets]
    assert len(set(places)) == len(places) and all(one["x"] + one["width"] <= 24 for one in widgets)
