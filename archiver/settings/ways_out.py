"""The settings of answers that go further than to queues."""

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings

from archiver.core.setting_types import EventBus, Function, SnsTopic, WebhookAddress, WebhookSecret


class WaysOutSettings(BaseSettings):
    """Who gets all answers, successes and failures alike."""

    notify_sns_topic: SnsTopic | None = Field(
        None, validation_alias="NOTIFY_SNS_TOPIC", description="ARN of an SNS topic that gets all answers, failures too"
    )
    notify_event_bus: EventBus | None = Field(
        None,
        validation_alias="NOTIFY_EVENT_BUS",
        description="EventBridge bus (a name or ARN) that gets all answers as events",
    )
    notify_lambda: Function | None = Field(
        None, validation_alias="NOTIFY_LAMBDA", description="Lambda function (a name or ARN) that gets all answers"
    )
    notify_lambda_type: Literal["Event", "RequestResponse"] = Field(
        "Event",
        validation_alias="NOTIFY_LAMBDA_TYPE",
        description="`Event`: Lambda queues the answer; `RequestResponse`: the function is waited for, best effort",
    )
    notify_webhook_url: WebhookAddress | None = Field(
        None,
        validation_alias="NOTIFY_WEBHOOK_URL",
        description="URL that all answers are posted to, best effort, in the form of Standard Webhooks",
    )
    notify_webhook_secret: WebhookSecret | None = Field(
        None,
        validation_alias="NOTIFY_WEBHOOK_SECRET",
        description="`whsec_` and the base64 of 24 to 64 random bytes: signs what is posted, callbacks of requests too",
    )
