"""Evaluate the AWS responses of `archiver check`: results, and what to fix."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["ok", "bad", "warning", "unknown"]

MIN_VISIBILITY_TIMEOUT, RECOMMENDED_VISIBILITY_TIMEOUT = 2, 30  # seconds
MIN_RECEIVE_COUNT = 3
RECEIVE_COUNT_FOR_LONG_WAITS, LONG_WAIT = 10, 3600  # seconds
RECOMMENDED_RETENTION = 14 * 24 * 3600  # seconds
MAX_SKEW_SECONDS, FATAL_SKEW_SECONDS = 30.0, 300.0  # seconds; S3 and SQS refuse requests that are 15 minutes off

_OPTIONAL = ("credentials", "lifecycle")  # some stores have no STS; the worker does not use the lifecycle rules


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check. *what* was checked, its *state*, details in *told*, and how to fix it in *remedy*."""

    what: str
    state: State
    told: str
    remedy: str = ""


def check_source_queue(attributes: Mapping[str, str], longest_wait: int = 0) -> list[CheckResult]:
    """
    Check the attributes of the source queue: visibility timeout and redrive policy. *longest_wait*: seconds for which
    requests may wait for objects.
    """
    seconds = int(attributes["VisibilityTimeout"])
    text = f"messages stay invisible for {seconds} s"
    remedy = f"set the queue's VisibilityTimeout to 120 (at least {RECOMMENDED_VISIBILITY_TIMEOUT})"
    state: State = (
        "bad" if seconds < MIN_VISIBILITY_TIMEOUT else "warning" if seconds < RECOMMENDED_VISIBILITY_TIMEOUT else "ok"
    )
    findings = [CheckResult("source queue", state, text, "" if state == "ok" else remedy)]
    redrive = json.loads(attributes.get("RedrivePolicy") or "{}")
    if not redrive.get("deadLetterTargetArn"):
        findings.append(
            CheckResult(
                "redrive policy",
                "bad",
                "the source queue has none: failing messages are redelivered until they expire",
                "give it a RedrivePolicy with a dead-letter queue and a maxReceiveCount of 5",
            )
        )
        return findings
    if redrive["deadLetterTargetArn"] == attributes.get("QueueArn"):
        text, remedy = "names the source queue itself", "give it a separate dead-letter queue"
        return [*findings, CheckResult("redrive policy", "bad", text, remedy)]
    receives = int(redrive.get("maxReceiveCount", 0))
    enough, advised = (RECEIVE_COUNT_FOR_LONG_WAITS,) * 2 if longest_wait > LONG_WAIT else (MIN_RECEIVE_COUNT, 5)
    few = receives < enough
    remedy = f"set its maxReceiveCount to {advised}: each deployment and each killed worker uses one receive"
    text = f"{receives} receives, then {redrive['deadLetterTargetArn'].rpartition(':')[2]}"
    findings.append(CheckResult("redrive policy", "warning" if few else "ok", text, remedy if few else ""))
    return findings


def find_queue_conflict(arn: str | None, source: str | None, dead_letters: str | None) -> str | None:
    """
    Return a description if the queue *arn*, which the worker sends to, is also the source queue *source* or its
    dead-letter queue *dead_letters*. None if it is neither. All are ARNs, None if unknown.
    """
    if arn is not None and arn == source:
        return "the source queue"
    if arn is not None and arn == dead_letters:
        return "the source queue's dead-letter queue"
    return None


def check_dead_letter_queue(attributes: Mapping[str, str]) -> CheckResult:
    """Check the attributes of the dead-letter queue: the retention period."""
    days = int(attributes.get("MessageRetentionPeriod", 0)) / 86_400
    if days * 86_400 < RECOMMENDED_RETENTION:
        remedy = "set its MessageRetentionPeriod to 1209600 (14 days): a message's age counts from its enqueue time"
        return CheckResult("dead-letter queue", "warning", f"keeps messages for {days:g} days", remedy)
    return CheckResult("dead-letter queue", "ok", f"keeps messages for {days:g} days")


def check_clock_skew(skew: float) -> CheckResult:
    """Check the clock. *skew*: seconds by which this machine's clock is ahead of AWS's."""
    text = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} AWS"
    if abs(skew) >= FATAL_SKEW_SECONDS:
        return CheckResult(
            "clock", "bad", text, "set this machine's clock (chrony or NTP): AWS refuses requests with a wrong time"
        )
    if abs(skew) >= MAX_SKEW_SECONDS:
        return CheckResult("clock", "warning", text, "set this machine's clock (chrony or NTP)")
    return CheckResult("clock", "ok", "agrees with AWS" if abs(skew) < 2 else text)  # noqa: PLR2004 - Date has whole seconds


def check_lifecycle(rules: Sequence[Mapping[str, Any]], bucket: str) -> CheckResult:
    """Check whether one of the bucket's lifecycle *rules* aborts incomplete multipart uploads."""
    for rule in rules:
        days = rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation")
        if days and rule.get("Status") == "Enabled":
            age = "1 day" if int(days) == 1 else f"{days} days"
            return CheckResult("lifecycle", "ok", f"incomplete uploads are aborted after {age}")
    return CheckResult(
        "lifecycle",
        "warning",
        f"no rule of {bucket} aborts incomplete uploads: a killed worker's parts cost money until its job ends",
        "add a lifecycle rule with AbortIncompleteMultipartUpload, DaysAfterInitiation 7",
    )


def check_links(base_url: str | None) -> CheckResult:
    """Check whether links are https URLs."""
    if base_url is None:
        return CheckResult("links", "warning", "are s3:// URIs", "set ARCHIVE_BASE_URL to the distribution's address")
    if not base_url.startswith(("https://", "http://localhost", "http://127.0.0.1")):
        return CheckResult("links", "warning", f"begin with {base_url}", "use https:// if people open them")
    return CheckResult("links", "ok", f"begin with {base_url}")


def has_unknown_results(findings: Sequence[CheckResult]) -> bool:
    """Return whether a check that a worker depends on has no result. It may have one later."""
    return any(finding.state == "unknown" and finding.what not in _OPTIONAL for finding in findings)


def all_passed(findings: Sequence[CheckResult]) -> bool:
    """Return whether no check failed, so that a worker can run."""
    return all(finding.state != "bad" for finding in findings)
