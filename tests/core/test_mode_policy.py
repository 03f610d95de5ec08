"""The permissions of what is not a worker: exactly what each mode calls."""

from archiver.core.mode_policy import (
    Account,
    TaskResources,
    follower_statements,
    function_statements,
    invoker_statements,
    one_off_statements,
    starter_statements,
)
from archiver.core.policy import WorkerResources, policy_document, worker_statements

HERE = Account("eu-west-1", "123456789012")
CHINA = Account("cn-north-1", "123456789012", "aws-cn")
ROLE = "arn:aws:iam::123456789012:role/task"
QUEUE = "arn:aws:sqs:eu-west-1:123456789012:in"
WORKER = WorkerResources(QUEUE, [f"{QUEUE}-dlq"], ["photos"], "zips")


def test_who_starts_tasks_may_pass_their_roles_to_ecs_and_to_nothing_else() -> None:
    document = policy_document(starter_statements(HERE, TaskResources("tools", "archiver:3", [ROLE, ROLE])))

    assert [one["Action"] for one in document["Statement"]] == [["ecs:RunTask"], ["iam:PassRole"]]
    run, passing = document["Statement"]
    assert run["Resource"] == ["arn:aws:ecs:eu-west-1:123456789012:task-definition/archiver:3"]
    assert "Condition" not in run
    assert passing["Resource"] == [ROLE]
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}


def test_a_family_means_all_its_revisions_and_an_arn_is_taken_as_it_is() -> None:
    arn = "arn:aws-cn:ecs:cn-north-1:123456789012:task-definition/archiver:3"

    family, whole = (starter_statements(CHINA, TaskResources("c", task, [ROLE]))[0] for task in ("archiver", arn))
    assert family.resources == ("arn:aws-cn:ecs:cn-north-1:123456789012:task-definition/archiver:*",)
    assert whole.resources == (arn,)


def test_long_requests_need_a_place_below_orders() -> None:
    *_, put = starter_statements(CHINA, TaskResources("c", "t", [ROLE], orders="zips"))

    assert (put.actions, put.resources) == (("s3:PutObject",), ("arn:aws-cn:s3:::zips/orders/*",))


def test_who_follows_tasks_sees_those_of_their_cluster_and_one_log() -> None:
    cluster = "arn:aws:ecs:eu-west-1:123456789012:cluster/tools"
    blind, sees = (
        {
            one.sid: one.resources
            for one in follower_statements(HERE, TaskResources(cluster, "t", [ROLE], log_group=log))
        }
        for log in (None, "/zips")
    )

    assert blind == {"FollowTask": ("arn:aws:ecs:eu-west-1:123456789012:task/tools/*",)}
    assert sees["ReadLog"] == ("arn:aws:logs:eu-west-1:123456789012:log-group:/zips:log-stream:*",)
    assert sees["FindLog"] == ("*",)


def test_a_one_off_task_is_a_worker_that_receives_nothing() -> None:
    lacks = [one for one in worker_statements(WORKER) if one not in one_off_statements(WORKER)]

    assert [one.sid for one in lacks] == ["ReceiveJobs"]


def test_a_function_is_a_worker_that_writes_its_own_log() -> None:
    adds = [
        one for one in function_statements(HERE, WORKER, "/aws/lambda/zips") if one not in worker_statements(WORKER)
    ]

    assert [(one.actions, one.resources) for one in adds] == [
        (
            ("logs:CreateLogStream", "logs:PutLogEvents"),
            ("arn:aws:logs:eu-west-1:123456789012:log-group:/aws/lambda/zips:log-stream:*",),
        )
    ]


def test_who_invokes_a_function_may_do_nothing_else() -> None:
    (live,) = invoker_statements(HERE, "zips:live")

    assert live.actions == ("lambda:InvokeFunction",)
    assert live.resources == ("arn:aws:lambda:eu-west-1:123456789012:function:zips:live",)
