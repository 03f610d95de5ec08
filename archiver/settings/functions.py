"""The settings of the Lambda function."""

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings

from archiver.core.setting_types import OrdersPrefix, RequestTemplate


class FunctionSettings(BaseSettings):
    """What new objects stand for, and where long jobs run."""

    orders_prefix: OrdersPrefix | None = Field(
        None,
        validation_alias="ORDERS_PREFIX",
        description="`bucket/prefix/`: new objects there that end in `.json` are requests (Lambda)",
    )
    event_request: RequestTemplate | None = Field(
        None,
        validation_alias="EVENT_REQUEST",
        description="JSON request without `files`: other new objects are archived by it, each alone (Lambda)",
    )
    lambda_runs: Literal["here", "ecs", "ecs-always"] = Field(
        "here",
        validation_alias="LAMBDA_RUNS",
        description="`ecs`: jobs that would outlast the invocation run as ECS tasks; `ecs-always`: all jobs (Lambda)",
    )
