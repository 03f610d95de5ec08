"""
What the emulator can deploy of the template is deployed and looked at from outside. In templates it knows neither
CloudFront, Secrets Manager, scaling, alarms nor the policies of queues and buckets: those are left out, and what refers
to them gets names that were made up. Scaling and alarms are given to it by API instead. Of a bucket it makes no more
than its name, and of a task it forgets the roles: test_worker looks at those.
"""

import ast
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from .template import ACCOUNT, EVERYTHING, REGION, REQUIRED, STACK, BothStacks, Stack, load_template

DEPLOYED = {
    "AWS::SQS::Queue",
    "AWS::S3::Bucket",
    "AWS::IAM::Role",
    "AWS::Logs::LogGroup",
    "AWS::EC2::SecurityGroup",
    "AWS::ECS::Cluster",
    "AWS::ECS::TaskDefinition",
    "AWS::ECS::Service",
}


class Deployed:
    """Both stacks in the emulator, one after the other, and clients for what they made."""

    def __init__(self, given: dict[str, str]) -> None:
        session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
        self.client: Any = session.client
        ec2 = self.client("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        nets = [ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24")["Subnet"]["SubnetId"] for n in (0, 1)]
        given = given | {"VpcId": vpc, "SubnetIds": ",".join(nets)}
        self.id: dict[str, str] = {}
        self.resolved: Stack = self._deploy("data", given)
        told = dict(pair.split("=", 1) for pair in str(self.resolved.outputs["ForWorker"]).split())
        for name in ("SourceQueue", "DeadLetterQueue", "AnswerQueue", "FailureQueue", "AnswerDeadLetterQueue"):
            told[f"{name}Arn"] = self.queue(name)["QueueArn"]
        told["ArchiveBucketName"] = self.id["ArchiveBucket"]
        self.data = self.resolved
        self.resolved = self._deploy("worker", given | told)

    def _deploy(self, which: str, given: dict[str, str]) -> Stack:
        self.resolved = Stack(which, given)
        cloudformation = self.client("cloudformation")
        cloudformation.create_stack(
            StackName=f"{STACK}-{which}",
            TemplateBody=json.dumps(self._deployable(which)),
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in self.resolved.given.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
        told = cloudformation.describe_stacks(StackName=f"{STACK}-{which}")["Stacks"][0]
        assert told["StackStatus"] == "CREATE_COMPLETE"
        pages = cloudformation.describe_stack_resources(StackName=f"{STACK}-{which}")["StackResources"]
        # The emulator lists a resource whose condition is false, too, without a name.
        self.id |= {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in pages if "LogicalResourceId" in one}
        return self.resolved

    def _deployable(self, which: str) -> dict[str, Any]:
        template = {
            key: value for key, value in load_template(which).items() if key not in ("Outputs", "Rules", "Metadata")
        }
        kept = {name: told for name, told in template["Resources"].items() if told["Type"] in DEPLOYED}
        gone = set(template["Resources"]) - set(kept)
        resources = {name: self._without(gone, told) for name, told in kept.items()}
        for told in resources.values():
            for attribute in ("DependsOn", "DeletionPolicy", "UpdateReplacePolicy"):
                told.pop(attribute, None)
        return template | {"Resources": resources}

    def _without(self, gone: set[str], node: Any) -> Any:
        """*node* with made-up names in place of what refers to resources that are *gone*."""
        if isinstance(node, list):
            return [self._without(gone, one) for one in node]
        if not isinstance(node, dict):
            return node
        if node.keys() == {"Ref"} and node["Ref"] in gone:
            return self.resolved.value(node) if node["Ref"] in self.resolved.types else "gone"
        return {key: self._without(gone, value) for key, value in node.items()}

    def queue(self, name: str) -> dict[str, str]:
        told: dict[str, str] = self.client("sqs").get_queue_attributes(QueueUrl=self.id[name], AttributeNames=["All"])[
            "Attributes"
        ]
        return told


@pytest.fixture(scope="module")
def plain() -> Iterator[Deployed]:
    with mock_aws():
        yield Deployed(REQUIRED)


@pytest.mark.slow
def test_everything_optional_is_deployed_too() -> None:
    with mock_aws():
        deployed = Deployed(EVERYTHING)

    types = deployed.data.types | deployed.resolved.types
    assert set(deployed.id) == {name for name, kind in types.items() if kind in DEPLOYED}


def test_a_message_that_fails_five_times_goes_to_a_queue_that_keeps_it_for_14_days(plain: Deployed) -> None:
    source, dead = plain.queue("SourceQueue"), plain.queue("DeadLetterQueue")

    policy = json.loads(source["RedrivePolicy"])
    assert (policy["deadLetterTargetArn"], int(policy["maxReceiveCount"])) == (dead["QueueArn"], 5)
    assert source["VisibilityTimeout"] == "120"
    assert dead["MessageRetentionPeriod"] == str(14 * 24 * 3600)


def test_answers_that_their_consumer_fails_at_are_kept_too(plain: Deployed) -> None:
    policy = json.loads(plain.queue("AnswerQueue")["RedrivePolicy"])

    assert policy["deadLetterTargetArn"] == plain.queue("AnswerDeadLetterQueue")["QueueArn"]


def test_the_roles_can_be_assumed_by_tasks_of_this_account_alone(plain: Deployed) -> None:
    for name in ("TaskRole", "ExecutionRole"):
        role = plain.client("iam").get_role(RoleName=plain.id[name])["Role"]
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}
        assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}


def test_the_task_role_names_the_queues_and_buckets_that_were_made(plain: Deployed) -> None:
    told = plain.client("iam").get_role_policy(RoleName=plain.id["TaskRole"], PolicyName="archiver")["PolicyDocument"]
    # The emulator keeps Python's text of it, with None where AWS::NoValue stood.
    statements = {one["Sid"]: one for one in ast.literal_eval(told)["Statement"] if one is not None}

    bucket = f"arn:aws:s3:::{plain.id['ArchiveBucket']}"
    assert statements["ReceiveJobs"]["Resource"] == [plain.queue("SourceQueue")["QueueArn"]]
    assert [arn for arn in statements["SendAnswers"]["Resource"] if arn is not None] == [
        plain.queue(name)["QueueArn"] for name in ("AnswerQueue", "FailureQueue", "DeadLetterQueue")
    ]
    assert statements["ReadObjects"]["Resource"] == ["arn:aws:s3:::photos/*", "arn:aws:s3:::scans/*", f"{bucket}/*"]
    assert statements["TellMissingFromDenied"]["Resource"] == ["arn:aws:s3:::photos", "arn:aws:s3:::scans", bucket]


def test_log_lines_are_kept_for_a_month(plain: Deployed) -> None:
    (group,) = plain.client("logs").describe_log_groups()["logGroups"]

    assert int(group["retentionInDays"]) == 30


def test_nobody_can_connect_to_a_task(plain: Deployed) -> None:
    told = plain.client("ec2").describe_security_groups(GroupIds=[plain.id["SecurityGroup"]])["SecurityGroups"]

    assert told[0]["IpPermissions"] == []


def test_the_service_runs_the_image_on_the_queues_and_the_bucket_that_were_made(plain: Deployed) -> None:
    ecs = plain.client("ecs")
    service = ecs.describe_services(cluster=plain.id["Cluster"], services=[plain.id["Service"]])["services"][0]
    task = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"]

    assert task["containerDefinitions"][0]["image"] == REQUIRED["Image"]
    environment = {one["name"]: one["value"] for one in task["containerDefinitions"][0]["environment"] if one}
    assert environment["SQS_SOURCE_QUEUE"] == plain.queue("SourceQueue")["QueueArn"]
    assert environment["S3_DESTINATION_BUCKET"] == plain.id["ArchiveBucket"]


def test_cloudwatch_takes_every_alarm(plain: Deployed) -> None:
    cloudwatch = plain.client("cloudwatch")
    alarms = BothStacks(EVERYTHING).of_type("AWS::CloudWatch::Alarm")
    for name, told in alarms.items():
        numbers = {key: float(told[key]) for key in ("Threshold",)}
        cloudwatch.put_metric_alarm(AlarmName=name, **(told | numbers))

    assert {one["AlarmName"] for one in cloudwatch.describe_alarms()["MetricAlarms"]} == set(alarms)


def test_application_auto_scaling_takes_the_policy(plain: Deployed) -> None:
    scaling = plain.client("application-autoscaling")
    cluster, service = plain.id["Cluster"], plain.id["Service"].rpartition("/")[2]
    where = {
        "ServiceNamespace": "ecs",
        "ResourceId": f"service/{cluster}/{service}",
        "ScalableDimension": "ecs:service:DesiredCount",
    }
    scaling.register_scalable_target(**where, MinCapacity=1, MaxCapacity=10)
    told = dict(plain.resolved.resources["BacklogScaling"])
    del told["ScalingTargetId"]
    tracking = told["TargetTrackingScalingPolicyConfiguration"]
    tracking = tracking | {"TargetValue": float(tracking["TargetValue"])}
    scaling.put_scaling_policy(**where, **(told | {"TargetTrackingScalingPolicyConfiguration": tracking}))

    (policy,) = scaling.describe_scaling_policies(ServiceNamespace="ecs")["ScalingPolicies"]
    assert policy["TargetTrackingScalingPolicyConfiguration"] == tracking
