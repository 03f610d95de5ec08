"""`archiver check` on settings that are well and on each that is not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults.rules import Rule, Status
from faults.scenario import Scenario
from processes.archiver_process import run_command
from processes.worker_env import WorkerEnv

from archiver.core import preflight
from archiver.core.preflight import (
    check_clock_skew,
    check_dead_letter_queue,
    check_lifecycle,
    check_links,
    check_source_queue,
)

from .cli_process import cli_environment


def check(worker_env: WorkerEnv, **settings: str) -> tuple[int, dict[str, dict[str, str]]]:
    """The exit code, and the findings by what they are about."""
    ended = run_command("check", "--json", env=worker_env.settings(**settings))
    assert ended.stderr == ""
    return ended.returncode, {finding["what"]: finding for finding in json.loads(ended.stdout)}


def test_what_is_well_is_a_table_of_ticks_with_warnings_and_their_remedy(worker_env: WorkerEnv) -> None:
    worker_env.put("a.jpg")

    ended = run_command("check", env=worker_env.settings())

    lines = ended.stdout.splitlines()
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [line for line in lines if line.startswith("✗")] == []
    assert any(line.startswith("✓ source bucket") and "can be read" in line for line in lines)
    assert any(line.startswith("! lifecycle") for line in lines)
    assert any("→ add a lifecycle rule with AbortIncompleteMultipartUpload" in line for line in lines)


def test_nothing_is_left_behind(worker_env: WorkerEnv) -> None:
    assert check(worker_env)[0] == 0
    assert "Uploads" not in worker_env.aws.s3.list_multipart_uploads(Bucket=worker_env.archives)
    assert "Contents" not in worker_env.aws.s3.list_objects_v2(Bucket=worker_env.archives)


@pytest.mark.parametrize(
    ("settings", "what", "told"),
    [
        ({"SQS_SOURCE_QUEUE": "nowhere"}, "source queue", "does not exist"),
        ({"SQS_DESTINATION_QUEUE": "nowhere"}, "answer queue", "does not exist"),
        ({"SQS_FAILURE_QUEUE": "nowhere"}, "failure queue", "does not exist"),
        ({"PROGRESS_QUEUE": "nowhere"}, "progress queue", "does not exist"),
        ({"S3_SOURCE_BUCKET": "no-such-bucket", "S3_ALLOWED_SOURCES": ""}, "source bucket", "does not exist"),
        ({"S3_DESTINATION_BUCKET": "no-such-bucket"}, "destination bucket", "does not exist"),
        ({"S3_DESTINATION_BUCKET": "no-such-bucket"}, "archives", "does not exist"),
    ],
)
def test_what_does_not_exist_is_bad_and_the_rest_is_looked_at(
    worker_env: WorkerEnv, settings: dict[str, str], what: str, told: str
) -> None:
    code, found = check(worker_env, **settings)

    assert (code, found[what]["state"]) == (1, "bad")
    assert told in found[what]["told"]
    assert found[what]["remedy"] == "check its name and AWS_REGION"
    assert found["credentials"]["state"] == "ok"


@pytest.mark.parametrize(
    ("settings", "state", "told"),
    [
        ({}, "ok", "off: S3_STRATEGY is not set"),
        ({"S3_STRATEGY": "stream"}, "ok", "off: S3_STRATEGY=stream"),
        ({"S3_STRATEGY": "auto"}, "warning", "all bytes go through the worker: "),
        ({"S3_STRATEGY": "copy", "MEMORY_BUDGET_MIB": "15"}, "warning", "MEMORY_BUDGET_MIB is below 30"),
    ],
)
def test_copies_have_a_row_that_says_whether_the_store_of_the_archives_makes_them(
    worker_env: WorkerEnv, settings: dict[str, str], state: str, told: str
) -> None:
    """The embedded store does not; tests/e2e asks those that do."""
    code, found = check(worker_env, **settings)

    assert (code, found["copies"]["state"]) == (0, state)
    assert told in found["copies"]["told"]
    assert "Contents" not in worker_env.aws.s3.list_objects_v2(Bucket=worker_env.archives)


def test_answers_that_would_come_back_as_requests_are_bad(worker_env: WorkerEnv) -> None:
    code, found = check(worker_env, SQS_DESTINATION_QUEUE=worker_env.source)

    assert (code, found["answer queue"]["told"]) == (1, f"{worker_env.source} is the source queue")


def test_failure_queue_that_is_the_dead_letter_queue_is_bad(worker_env: WorkerEnv) -> None:
    code, found = check(worker_env, SQS_FAILURE_QUEUE=worker_env.dead)

    assert (code, found["failure queue"]["told"]) == (1, f"{worker_env.dead} is the source queue's dead-letter queue")


@pytest.mark.parametrize(
    ("arn", "told"),
    [
        ("arn:source", "the source queue"),
        ("arn:dead", "the source queue's dead-letter queue"),
        ("arn:x", None),
        (None, None),
    ],
)
def test_queue_that_is_sent_to_clashes_with_source_and_dead_letters(arn: str | None, told: str | None) -> None:
    assert preflight.find_queue_conflict(arn, "arn:source", "arn:dead") == told


def test_redrive_policy_that_names_the_queue_itself_is_bad() -> None:
    redrive = json.dumps({"deadLetterTargetArn": "arn:jobs", "maxReceiveCount": 5})

    policy = check_source_queue({"QueueArn": "arn:jobs", "VisibilityTimeout": "60", "RedrivePolicy": redrive})[1]

    assert (policy.state, policy.told) == ("bad", "names the source queue itself")


def test_what_could_not_be_told_is_unsettled_where_a_worker_needs_it() -> None:
    unknown = [preflight.CheckResult(what, "unknown", "") for what in ("credentials", "lifecycle", "archives")]
    assert not preflight.has_unknown_results(unknown[:2])
    assert preflight.has_unknown_results(unknown)


AGENT = {
    "AWS_ACCESS_KEY_ID": "",
    "AWS_SECRET_ACCESS_KEY": "",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/creds",
}
TOKEN = {
    "AWS_ACCESS_KEY_ID": "",
    "AWS_SECRET_ACCESS_KEY": "",
    "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/x",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere/token",
}


@pytest.mark.parametrize("provider", [AGENT, TOKEN], ids=["agent", "token file"])
def test_credentials_that_are_not_there_yet_are_a_row_and_exit_3(
    worker_env: WorkerEnv, provider: dict[str, str]
) -> None:
    code, found = check(worker_env, **provider)

    assert (code, found["credentials"]["state"]) == (3, "unknown")
    assert found["credentials"]["told"].startswith("no credentials available: ")


COMMANDS = (
    ("plan", "{folder}/request.json"),
    ("create", "{folder}/request.json", "--output", "{folder}/a.zip"),
    ("send", "{folder}/request.json"),
    ("dlq", "list"),
    ("verify", "s3://archives/a.zip"),
)


@pytest.mark.parametrize(
    ("provider", "arguments"),
    [
        *(pytest.param(TOKEN, command, id=f"{command[0]}-token file") for command in COMMANDS),
        pytest.param(AGENT, COMMANDS[0], id="plan-agent"),
        *(
            pytest.param(AGENT, command, id=f"{command[0]}-agent", marks=pytest.mark.slow)  # 3 s of the SDK's tries
            for command in COMMANDS[1:]
        ),
    ],
)
def test_every_command_says_the_same_of_credentials_that_are_not_there_yet(
    worker_env: WorkerEnv, provider: dict[str, str], arguments: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "request.json").write_text('{"files": [{"source": "a.jpg"}]}')

    ended = run_command(*[one.format(folder=tmp_path) for one in arguments], env=worker_env.settings(**provider))

    assert ended.returncode == 3, ended.stderr
    assert ended.stderr.startswith("no credentials available: ")
    assert len(ended.stderr.splitlines()) == 1


def test_a_queue_without_redrive_policy_is_bad(emulated: Any) -> None:
    with WorkerEnv(emulated, dead_letters=False) as worker_env:
        code, found = check(worker_env)

        assert (code, found["redrive policy"]["state"]) == (1, "bad")


def test_wrong_settings_are_findings_and_exit_2(worker_env: WorkerEnv) -> None:
    code, found = check(worker_env, SQS_SOURCE_QUEUE="", MAX_CONCURRENT_JOBS="many")

    assert code == 2
    assert set(found) == {"SQS_SOURCE_QUEUE", "MAX_CONCURRENT_JOBS"}


@pytest.mark.parametrize(
    ("seconds", "state"), [(1, "bad"), (2, "warning"), (29, "warning"), (30, "ok"), (43_200, "ok")]
)
def test_visibility_is_judged(seconds: int, state: str) -> None:
    redrive = json.dumps({"deadLetterTargetArn": "arn:aws:sqs:r:1:dead", "maxReceiveCount": 5})

    queue, policy = check_source_queue({"VisibilityTimeout": str(seconds), "RedrivePolicy": redrive})

    assert (queue.state, policy.state, policy.told) == (state, "ok", "5 receives, then dead")
    assert bool(queue.remedy) == (state != "ok")


@pytest.mark.parametrize(("receives", "state"), [(1, "warning"), (2, "warning"), (3, "ok")])
def test_a_redrive_policy_of_few_receives_is_a_warning(receives: int, state: str) -> None:
    redrive = json.dumps({"deadLetterTargetArn": "arn:aws:sqs:r:1:dead", "maxReceiveCount": receives})

    assert check_source_queue({"VisibilityTimeout": "60", "RedrivePolicy": redrive})[1].state == state


@pytest.mark.parametrize(("receives", "wait", "state"), [(9, 3600, "ok"), (9, 3601, "warning"), (10, 36_000, "ok")])
def test_queues_of_long_waits_need_more_receives(receives: int, wait: int, state: str) -> None:
    redrive = json.dumps({"deadLetterTargetArn": "arn:aws:sqs:r:1:dead", "maxReceiveCount": receives})
    result = check_source_queue({"VisibilityTimeout": "60", "RedrivePolicy": redrive}, wait)[1]

    assert (result.state, "maxReceiveCount to 10" in result.remedy) == (state, state == "warning")


@pytest.mark.parametrize(("skew", "state"), [(0, "ok"), (-29, "ok"), (30, "warning"), (-299, "warning"), (300, "bad")])
def test_a_clock_that_is_off_is_judged_by_how_far(skew: float, state: str) -> None:
    assert check_clock_skew(skew).state == state


def test_rules_retention_and_links_are_judged() -> None:
    days = {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}
    assert check_lifecycle([{"Status": "Disabled", **days}, {"Status": "Enabled"}], "b").state == "warning"
    assert check_lifecycle([{"Status": "Enabled", **days}], "b").state == "ok"
    assert check_dead_letter_queue({"MessageRetentionPeriod": "345600"}).state == "warning"
    assert check_dead_letter_queue({"MessageRetentionPeriod": "1209600"}).state == "ok"
    assert [check_links(base).state for base in (None, "http://x", "https://x")] == ["warning", "warning", "ok"]
    assert preflight.all_passed([check_links(None)])
    assert not preflight.all_passed([check_clock_skew(999)])


@pytest.mark.parametrize(
    ("operation", "what", "action"),
    [
        ("GetQueueAttributes", "source queue", "sqs:GetQueueAttributes and sqs:GetQueueUrl on arn:aws:sqs:"),
        ("HeadBucket", "destination bucket", "s3:ListBucket on arn:aws:s3:::"),
        ("CreateMultipartUpload", "archives", "s3:PutObject and s3:AbortMultipartUpload on arn:aws:s3:::"),
    ],
)
def test_what_is_denied_is_told_with_the_action_and_the_arn_to_allow(
    operation: str, what: str, action: str, open_scenario: Callable[..., Scenario]
) -> None:
    scenario = open_scenario()
    scenario.proxy.add(Rule(Status(403, "AccessDenied"), op=operation, times=None))

    ended = run_command("check", "--json", env=cli_environment(scenario))

    found = {finding["what"]: finding for finding in json.loads(ended.stdout)}
    assert (ended.returncode, found[what]["state"]) == (1, "bad")
    assert found[what]["remedy"].startswith(f"allow {action}")


def test_a_listing_that_is_denied_is_a_warning_of_what_requests_can_not_do(
    open_scenario: Callable[..., Scenario],
) -> None:
    """The row of the source bucket is bad; all other buckets have this row alone."""
    scenario = open_scenario()
    denied = Rule(Status(403, "AccessDenied"), op="ListObjects", bucket=scenario.sources, times=None)
    scenario.proxy.add(denied)

    ended = run_command("check", "--json", env=cli_environment(scenario))

    found = {finding["what"]: finding for finding in json.loads(ended.stdout)}
    assert found["listings"]["state"] == "warning"
    assert f"{scenario.sources} can't be listed" in found["listings"]["told"]
    assert found["listings"]["remedy"].startswith(f"allow s3:ListBucket on arn:aws:s3:::{scenario.sources} ")
    assert found["patterns"]["state"] == "ok"


def test_a_dead_letter_queue_that_is_gone_is_bad(worker_env: WorkerEnv) -> None:
    worker_env.aws.sqs.delete_queue(QueueUrl=worker_env.dead)

    code, found = check(worker_env)

    assert (code, found["dead-letter queue"]["state"]) == (1, "bad")
    assert found["dead-letter queue"]["remedy"].startswith("create it, or name another queue")
