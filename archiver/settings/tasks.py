"""The settings of one-off ECS tasks, which `archiver ecs-run` starts."""

from pydantic import Field
from pydantic_settings import BaseSettings

from archiver.core.setting_types import DsnText, Names, Text


class TaskSettings(BaseSettings):
    """Which ECS task is started, and where. Their options of `archiver ecs-run` take precedence."""

    ecs_cluster: Text | None = Field(
        None, validation_alias="ARCHIVER_ECS_CLUSTER", description="ECS cluster that one-off tasks run in"
    )
    ecs_task: Text | None = Field(
        None,
        validation_alias="ARCHIVER_ECS_TASK",
        description="task definition of one-off tasks: `family`, `family:revision` or an ARN",
    )
    ecs_container: Text | None = Field(
        None, validation_alias="ARCHIVER_ECS_CONTAINER", description="container of the task that does the order"
    )
    ecs_subnets: Names | None = Field(
        None, validation_alias="ARCHIVER_ECS_SUBNETS", description="subnets of one-off tasks, comma-separated"
    )
    ecs_security_groups: Names | None = Field(
        None,
        validation_alias="ARCHIVER_ECS_SECURITY_GROUPS",
        description="security groups of one-off tasks, comma-separated",
    )
    ecs_public_ip: bool = Field(
        False, validation_alias="ARCHIVER_ECS_PUBLIC_IP", description="one-off tasks get a public IP address"
    )
    ecs_dsn: DsnText | None = Field(
        None,
        validation_alias="ARCHIVER_ECS_DSN",
        description="`region=… credentials=…`: where and with which credentials tasks are started",
    )
