"""A cluster, a task definition and a subnet on the emulated AWS."""

import itertools
from dataclasses import dataclass, field
from typing import Any

import boto3
from emulator import EmulatedAws

from archiver.core.tasks import StartedTask

SERVICES = ("ec2", "ecs", "logs")

_numbers = itertools.count()


@dataclass
class EmulatedCluster:
    """A cluster with the task definition *definition*; its container `archiver` logs to the group *name*."""

    aws: EmulatedAws
    name: str = field(default_factory=lambda: f"cluster-{next(_numbers)}")
    ecs: Any = None
    logs: Any = None
    subnet: str = ""
    group: str = ""
    definition: str = ""

    def __post_init__(self) -> None:
        ec2, self.ecs, self.logs = (
            boto3.client(name, endpoint_url=self.aws.endpoint, verify=self.aws.bundle) for name in SERVICES
        )
        self.subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
        self.group = ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]
        ec2.close()
        self.ecs.create_cluster(clusterName=self.name)
        options = {"awslogs-group": self.name, "awslogs-region": "eu-west-1", "awslogs-stream-prefix": "task"}
        container = {
            "name": "archiver",
            "image": "archiver",
            "memory": 512,
            "logConfiguration": {"logDriver": "awslogs", "options": options},
        }
        made = self.ecs.register_task_definition(
            family=self.name,
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            cpu="256",
            memory="512",
            containerDefinitions=[container],
        )
        self.definition = f"{self.name}:{made['taskDefinition']['revision']}"
        self.logs.create_log_group(logGroupName=self.name)

    def close(self) -> None:
        self.ecs.close()
        self.logs.close()

    def task(self, started: StartedTask) -> dict[str, Any]:
        """What ECS has of the task."""
        found: dict[str, Any] = self.ecs.describe_tasks(cluster=self.name, tasks=[started.arn])["tasks"][0]
        return found
