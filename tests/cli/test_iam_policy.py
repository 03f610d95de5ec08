"""`archiver iam-policy`: of a worker with these settings, and of the programs beside it."""

import json
from pathlib import Path

import pytest
from processes.archiver_process import run_command
from processes.worker_env import WorkerEnv

from archiver.cli.policy_worker import _after_statements, _attribute_actions
from archiver.doors.policy import load_policy
from archiver.settings import load_settings


def test_the_policy_for_these_settings_names_their_queues_and_buckets(worker_env: WorkerEnv) -> None:
    ended = run_command("iam-policy", env=worker_env.settings())

    statements = {one["Sid"]: one for one in json.loads(ended.stdout)["Statement"]}
    assert (ended.returncode, ended.stderr) == (0, "")
    assert statements["ReceiveJobs"]["Resource"] == [worker_env.aws.arn(worker_env.source)]
    assert set(statements["SendAnswers"]["Resource"]) == {
        worker_env.aws.arn(queue) for queue in (worker_env.answers, worker_env.failures, worker_env.dead)
    }
    assert f"arn:aws:s3:::{worker_env.sources}/*" in statements["ReadObjects"]["Resource"]
    assert statements["WriteArchives"]["Resource"] == [f"arn:aws:s3:::{worker_env.archives}/*"]
    assert "ProtectTask" not in statements


def test_the_policy_needs_no_aws_where_all_is_said() -> None:
    settings = {
        "AWS_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "SQS_SOURCE_QUEUE": "jobs",
        "S3_DESTINATION_BUCKET": "archives",
    }
    dead = "arn:aws:sqs:eu-west-1:123456789012:jobs-dlq"

    ended = run_command("iam-policy", "--account", "123456789012", "--dead-letter-queue", dead, "--ecs", env=settings)

    statements = {one["Sid"]: one for one in json.loads(ended.stdout)["Statement"]}
    assert (ended.returncode, ended.stderr) == (0, "")
    assert statements["ReceiveJobs"]["Resource"] == ["arn:aws:sqs:eu-west-1:123456789012:jobs"]
    assert statements["SendAnswers"]["Resource"] == [dead]
    assert "ProtectTask" in statements


KEY = "arn:aws:kms:eu-west-1:123456789012:key/1"


def test_a_producer_and_a_consumer_have_a_policy_of_their_own_each() -> None:
    """Nothing of the worker's: none receives requests, reads sources, or writes archives."""
    settings = {
        "AWS_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "SQS_SOURCE_QUEUE": "jobs",
        "SQS_DESTINATION_QUEUE": "answers",
        "SQS_FAILURE_QUEUE": "answers",
        "PROGRESS_QUEUE": "progress",
        "S3_DESTINATION_BUCKET": "archives",
    }

    def allowed(*arguments: str, **other: str) -> dict[str, list[str]]:
        ended = run_command("iam-policy", "--account", "123456789012", *arguments, env={**settings, **other})
        assert (ended.returncode, ended.stderr) == (0, "")
        statements = json.loads(ended.stdout)["Statement"]
        return {action: one["Resource"] for one in statements for action in one["Action"]}

    queue = "arn:aws:sqs:eu-west-1:123456789012:"
    sending = {"sqs:SendMessage": [f"{queue}jobs"], "sqs:GetQueueUrl": [f"{queue}jobs"]}
    looking = {"s3:GetObject": ["arn:aws:s3:::archives/*"], "s3:ListBucket": ["arn:aws:s3:::archives"]}
    heard = [f"{queue}answers", f"{queue}progress"]
    hearing = {f"sqs:{action}": heard for action in ("ReceiveMessage", "DeleteMessage", "GetQueueUrl")}
    assert allowed("--producer") == sending | looking
    assert allowed("--producer", S3_DESTINATION_BUCKET="") == sending
    assert allowed("--producer", "--kms-key", KEY, S3_DESTINATION_BUCKET="") == sending | {
        "kms:Decrypt": [KEY],
        "kms:GenerateDataKey": [KEY],
    }
    lists = {"s3:PutObject": ["arn:aws:s3:::lists/orders/*"]}
    assert allowed("--producer", "--manifest-to", "s3://lists/orders/") == sending | looking | lists
    assert allowed("--consumer", SQS_SOURCE_QUEUE="", S3_DESTINATION_BUCKET="") == hearing
    assert allowed("--consumer", "--kms-key", KEY) == hearing | {"kms:Decrypt": [KEY]}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--producer",), "SQS_SOURCE_QUEUE: is required (queue to read: a name, URL or ARN)"),
        (("--consumer",), "no queue to receive from; set SQS_DESTINATION_QUEUE, SQS_FAILURE_QUEUE or PROGRESS_QUEUE"),
        (("--producer", "--consumer"), "--producer and --consumer can't be combined; print one policy at a time"),
        (("--manifest-to", "s3://lists/"), "--manifest-to goes with --producer: a worker reads manifests as sources"),
        (("--producer", "--ecs"), "--producer and --ecs can't be combined; print one policy at a time"),
    ],
)
def test_a_policy_that_is_of_nobody_is_refused(arguments: tuple[str, ...], told: str) -> None:
    ended = run_command("iam-policy", *arguments, env={})

    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", f"{told}\n")


def test_the_policy_says_what_it_lacks() -> None:
    ended = run_command("iam-policy", env={"SQS_SOURCE_QUEUE": "jobs"})

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "S3_DESTINATION_BUCKET: is required (bucket of the archives)\n"


def test_the_roles_of_the_policy_file_may_be_assumed(worker_env: WorkerEnv, tmp_path: Path) -> None:
    role, file = "arn:aws:iam::210987654321:role/exports", tmp_path / "policy.toml"
    file.write_text(f'[roles."{role}"]\nsources = ["partner"]\n')

    ended = run_command("iam-policy", env=worker_env.settings(POLICY_FILE=str(file)))

    statements = {one["Sid"]: one for one in json.loads(ended.stdout)["Statement"]}
    assert (statements["AssumeRoles"]["Action"], statements["AssumeRoles"]["Resource"]) == (["sts:AssumeRole"], [role])


@pytest.mark.parametrize(
    ("policy", "settings", "actions"),
    [
        ("", {}, []),
        ('acl = ["private"]', {}, ["s3:PutObjectAcl"]),
        ('tags = ["team"]', {"S3_ARCHIVE_ACL": "private"}, ["s3:PutObjectAcl", "s3:PutObjectTagging"]),
        ('expires_in = ["1d"]', {}, ["s3:PutObjectTagging"]),
        ("", {"S3_ARCHIVE_TAGS": "team=web"}, ["s3:PutObjectTagging"]),
    ],
)
def test_the_policy_has_the_actions_for_the_attributes_that_archives_may_have(
    tmp_path: Path, policy: str, settings: dict[str, str], actions: list[str]
) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(f"[archives]\n{policy}\n")
    read = load_settings(
        {"SQS_SOURCE_QUEUE": "q", "S3_DESTINATION_BUCKET": "zips", "POLICY_FILE": str(file), **settings}
    )
    assert _attribute_actions(read, load_policy(read)) == actions


def test_references_of_the_settings_are_in_the_policy(worker_env: WorkerEnv, tmp_path: Path) -> None:
    import boto3  # noqa: PLC0415  # slow to import

    aws = worker_env.aws
    ssm, secrets = (
        boto3.client(name, endpoint_url=aws.endpoint, verify=aws.bundle) for name in ("ssm", "secretsmanager")
    )
    ssm.put_parameter(Name="/policy/prefix", Value="photos", Type="String", Overwrite=True)
    secrets.create_secret(Name="policy/keys", SecretString='{"hmac": "hunter2"}')
    ssm.close()
    secrets.close()
    policy = tmp_path / "policy.toml"
    policy.write_text(
        '[roles."arn:aws:iam::210987654321:role/exports"]\nsources = ["partner"]\n'
        'external_id = "secretsmanager:policy/roles#exports"\n'
    )
    settings = worker_env.settings(
        S3_FILE_PREFIX="ssm:/policy/prefix",
        ARCHIVE_KEY_SECRET="secretsmanager:policy/keys#hmac",
        POLICY_FILE=str(policy),
    )

    ended = run_command("iam-policy", env=settings)

    statements = {one["Sid"]: one["Resource"] for one in json.loads(ended.stdout)["Statement"]}
    assert (ended.returncode, ended.stderr) == (0, "")
    assert statements["ReadParameters"] == ["arn:aws:ssm:eu-west-1:123456789012:parameter/policy/prefix"]
    assert statements["ReadSecrets"] == [
        f"arn:aws:secretsmanager:eu-west-1:123456789012:secret:policy/{name}-??????" for name in ("keys", "roles")
    ]
    assert "hunter2" not in ended.stdout


def test_the_policy_covers_what_may_be_done_after_archives(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text('[after]\ndelete = ["tmp"]\n')
    settings = {"SQS_SOURCE_QUEUE": "q", "S3_DESTINATION_BUCKET": "zips", "POLICY_FILE": str(file)}
    (statement,) = _after_statements(load_policy(load_settings(settings)), "aws")
    assert (statement.actions, statement.resources) == (("s3:DeleteObject",), ("arn:aws:s3:::tmp/*",))
    assert _after_statements(None, "aws") == []


ACCOUNT = ("--account", "123456789012")
PLACE = {
    "AWS_REGION": "eu-west-1",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    "S3_SOURCE_BUCKET": "photos",
    "S3_DESTINATION_BUCKET": "archives",
    "ARCHIVER_ECS_CLUSTER": "tools",
    "ARCHIVER_ECS_TASK": "archiver",
}
ROLE = "arn:aws:iam::123456789012:role/task"
DEAD = "arn:aws:sqs:eu-west-1:123456789012:jobs-dlq"


def of_mode(*arguments: str, **env: str) -> dict[str, list[str]]:
    """The actions that are allowed, with their resources."""
    ended = run_command("iam-policy", *arguments, env={**PLACE, **env})
    assert ended.returncode == 0, ended.stderr
    return {action: one["Resource"] for one in json.loads(ended.stdout)["Statement"] for action in one["Action"]}


def test_each_mode_has_a_policy_of_its_own() -> None:
    arn = "arn:aws:{}:eu-west-1:123456789012:{}".format
    task = of_mode("--mode=task", "--dead-letter-queue", DEAD, *ACCOUNT, SQS_DESTINATION_QUEUE="answers")
    starts = of_mode("--mode=ecs-run", "--pass-role", ROLE, "--log-group=/zips", *ACCOUNT)
    function = of_mode(
        "--mode=lambda", "--function=zips:live", "--dead-letter-queue", DEAD, *ACCOUNT, SQS_SOURCE_QUEUE="jobs"
    )

    assert "sqs:ReceiveMessage" not in task and task["sqs:SendMessage"] == [arn("sqs", "answers"), DEAD]
    assert task["s3:PutObject"] == ["arn:aws:s3:::archives/*"]
    assert starts == {
        "ecs:RunTask": [arn("ecs", "task-definition/archiver:*")],
        "iam:PassRole": [ROLE],
        "s3:PutObject": ["arn:aws:s3:::archives/orders/*"],
        "ecs:DescribeTasks": [arn("ecs", "task/tools/*")],
        "ecs:StopTask": [arn("ecs", "task/tools/*")],
        "ecs:DescribeTaskDefinition": ["*"],
        "logs:GetLogEvents": [arn("logs", "log-group:/zips:log-stream:*")],
    }
    assert function["sqs:ReceiveMessage"] == [arn("sqs", "jobs")]
    assert function["sqs:SendMessage"] == [DEAD]
    assert function["logs:PutLogEvents"] == [arn("logs", "log-group:/aws/lambda/zips:log-stream:*")]
    assert "ecs:RunTask" not in function
    assert of_mode("--mode=invoke", "--function=zips", *ACCOUNT) == {
        "lambda:InvokeFunction": [arn("lambda", "function:zips")]
    }
    assert of_mode("--mode=invoke", ARCHIVER_LAMBDA_FUNCTION=arn("lambda", "function:z")) == {
        "lambda:InvokeFunction": [arn("lambda", "function:z")]
    }


def test_a_function_without_a_queue_receives_nothing_and_one_with_a_task_starts_it() -> None:
    function = of_mode("--mode=lambda", "--function=zips", "--pass-role", ROLE, *ACCOUNT)

    assert "sqs:ReceiveMessage" not in function
    assert function["iam:PassRole"] == [ROLE]
    assert "ecs:StopTask" not in function


@pytest.mark.parametrize(
    "source", [{"AMQP_QUEUE": "jobs"}, {"SOURCE_ORDERS": "order.json"}], ids=["RabbitMQ", "order files"]
)
def test_a_worker_without_an_sqs_queue_needs_no_sqs(source: dict[str, str]) -> None:
    """Nor an account, unless something in it is named."""
    settings = {"S3_DESTINATION_BUCKET": "archives", "S3_SOURCE_BUCKET": "photos", "AWS_REGION": "cn-north-1", **source}
    ended = run_command("iam-policy", env=settings)
    statements = {one["Sid"]: one["Resource"] for one in json.loads(ended.stdout)["Statement"]}
    ways_out = run_command("iam-policy", env={**settings, "NOTIFY_EVENT_BUS": "jobs"})
    dead = run_command("iam-policy", "--dead-letter-queue", DEAD, env=settings)

    assert "sqs:" not in ended.stdout
    assert statements["WriteArchives"] == ["arn:aws-cn:s3:::archives/*"]
    assert "arn:aws-cn:s3:::photos/*" in statements["ReadObjects"]
    assert ways_out.stderr == "the account is not known; name it with --account\n"
    assert dead.stderr.startswith("--dead-letter-queue goes with SQS_SOURCE_QUEUE")


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("iam-policy --producer", "RabbitMQ has permissions of its own"),
        ("dlq list", "look at AMQP_DEAD_LETTER_QUEUE with RabbitMQ's own tools (docs/rabbitmq.md)"),
        ("send --file a.jpg", "send the request to RabbitMQ with --amqp"),
        ("sweep", "its workers sweep by themselves"),
    ],
)
def test_commands_for_sqs_say_so_where_the_worker_reads_rabbitmq_or_files(command: str, told: str) -> None:
    settings = {"S3_DESTINATION_BUCKET": "archives", "S3_SOURCE_BUCKET": "photos", "AWS_REGION": "eu-west-1"}
    rabbit = run_command(*command.split(), env={**settings, "AMQP_QUEUE": "jobs"})
    files = run_command(*command.split(), env={**settings, "SOURCE_ORDERS": "order.json"})

    only = "this command works with SQS queues only"
    assert (rabbit.returncode, rabbit.stderr) == (2, f"AMQP_QUEUE is set, and {only}: {told}\n")
    assert (files.returncode, files.stderr) == (2, f"SOURCE_ORDERS is set, and {only}: order files have no queue\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["--mode=wroker"],
            "--mode wroker: should be one of worker, task, ecs-run, lambda, invoke (did you mean worker?)",
        ),
        (["--mode=task", "--producer"], "--producer and --mode task can't be combined"),
        (["--mode=task", "--ecs"], "--mode task and --ecs can't be combined"),
        (["--mode=task", "--pass-role", ROLE], "--pass-role goes with --mode ecs-run or lambda, not with task"),
        (["--function=f"], "--function goes with --mode lambda or invoke, not with worker"),
        (["--mode=invoke", *ACCOUNT], "no function; name it with --function"),
        (["--mode=invoke", "--function=f"], "the account is not known; name it with --account"),
        (["--mode=ecs-run", *ACCOUNT], "no roles of the task"),
    ],
)
def test_what_a_mode_lacks_or_does_not_take_is_told(arguments: list[str], told: str) -> None:
    ended = run_command("iam-policy", *arguments, env=PLACE)

    assert (ended.returncode, ended.stdout) == (2, "")
    assert told in ended.stderr
