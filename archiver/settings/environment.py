"""All settings: each with its variable, its type, and the description that the documentation's table has."""

from typing import Literal

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import SettingsConfigDict

from archiver.core.attributes import Acl, Attributes, StorageClass, parse_tags
from archiver.core.setting_types import (
    Account,
    BaseUrl,
    BucketName,
    FilePrefix,
    RestoreTiers,
    Tags,
    Text,
)
from archiver.settings.amqp import AmqpSettings
from archiver.settings.functions import FunctionSettings
from archiver.settings.orders import OrderSettings
from archiver.settings.resuming import ResumeSettings
from archiver.settings.tasks import TaskSettings
from archiver.settings.traces import TraceSettings
from archiver.settings.ways_out import WaysOutSettings

MIB = 1024 * 1024


_DESTINATION_BUCKET = "S3_DESTINATION_BUCKET"
_DESTINATION_BUCKET_DESCRIPTION = "bucket of the archives"


class Environment(
    WaysOutSettings, ResumeSettings, FunctionSettings, AmqpSettings, TaskSettings, OrderSettings, TraceSettings
):
    """
    Settings for commands that need only some of them: all are optional. The field descriptions are the text of the
    settings table in the documentation.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", case_sensitive=True, env_ignore_empty=True)

    source_queue: Text | None = Field(
        None,
        validation_alias=AliasChoices("SQS_SOURCE_QUEUE", "SQS_SOURCE"),
        description="queue to read: a name, URL or ARN",
    )
    destination_queue: Text | None = Field(
        None,
        validation_alias=AliasChoices("SQS_DESTINATION_QUEUE", "SQS_DESTINATION"),
        description="queue to answer on",
    )
    failure_queue: Text | None = Field(
        None, validation_alias="SQS_FAILURE_QUEUE", description="queue for failure answers"
    )
    progress_queue: Text | None = Field(
        None,
        validation_alias="PROGRESS_QUEUE",
        description="queue for the progress of every job: accepted, building, and the answer",
    )
    source_bucket: BucketName | None = Field(
        None, validation_alias="S3_SOURCE_BUCKET", description="bucket of sources that are plain keys"
    )
    allowed_sources: Text | None = Field(
        None,
        validation_alias="S3_ALLOWED_SOURCES",
        description="`bucket` and `bucket/prefix/`, comma-separated: what requests may name",
    )
    policy_file: Text | None = Field(
        None,
        validation_alias="POLICY_FILE",
        description="TOML file of what else requests may use: roles, attributes, later actions, callbacks, commands",
    )
    destination_bucket: BucketName | None = Field(
        None, validation_alias=_DESTINATION_BUCKET, description=_DESTINATION_BUCKET_DESCRIPTION
    )
    file_prefix: FilePrefix = Field(
        "download", validation_alias="S3_FILE_PREFIX", description="start of the archive's default file name"
    )
    key_secret: SecretStr | None = Field(
        None, validation_alias="ARCHIVE_KEY_SECRET", description="HMAC key of the digest in archive keys"
    )
    compression: Literal["store", "deflate", "auto"] = Field(
        "store", validation_alias="S3_COMPRESSION", description="default of `compression`: store, deflate or auto"
    )
    strategy: Literal["auto", "stream", "copy"] | None = Field(
        None,
        validation_alias="S3_STRATEGY",
        description="default of `strategy`: auto, copy (what the store can copy itself is not downloaded) or stream",
    )
    archive_sse: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = Field(
        None,
        validation_alias="S3_ARCHIVE_SSE",
        description="server-side encryption of archives: AES256, aws:kms or aws:kms:dsse; unset: the bucket's default",
    )
    archive_kms_key: Text | None = Field(
        None,
        validation_alias="S3_ARCHIVE_KMS_KEY_ID",
        description="KMS key of archives (an ARN if another account owns it); unset: the AWS managed key for S3",
    )
    archive_bucket_key: bool = Field(
        False,
        validation_alias="S3_ARCHIVE_BUCKET_KEY",
        description="encrypt archives with an S3 bucket key: fewer calls to KMS",
    )
    archive_acl: Acl | None = Field(
        None,
        validation_alias="S3_ARCHIVE_ACL",
        description="ACL of archives and receipts; left out, with a warning, where the bucket has no ACLs",
    )
    archive_storage_class: StorageClass | None = Field(
        None,
        validation_alias="S3_ARCHIVE_STORAGE_CLASS",
        description="storage class of archives, one that can be downloaded from at any time",
    )
    archive_tags: Tags | None = Field(
        None,
        validation_alias="S3_ARCHIVE_TAGS",
        description="tags of archives and receipts: `key=value`, comma-separated",
    )
    cancellation: bool = Field(
        False,
        validation_alias="CANCELLATION",
        description="jobs can be cancelled: each looks for a mark in S3 at its start and at each lease renewal",
    )
    request_payer: Literal["requester"] | None = Field(
        None,
        validation_alias="S3_REQUEST_PAYER",
        description="`requester`: this account pays for reads from requester-pays buckets",
    )
    bucket_owner: Account | None = Field(
        None, validation_alias="S3_EXPECTED_BUCKET_OWNER", description="account that must own S3_DESTINATION_BUCKET"
    )
    source_owner: Account | None = Field(
        None, validation_alias="S3_EXPECTED_SOURCE_OWNER", description="account that must own S3_SOURCE_BUCKET"
    )
    max_files: int = Field(
        100_000,
        ge=1,
        validation_alias="MAX_FILES",
        description="files that one request may name or select; more are `too_large`",
    )
    max_archive_bytes: int | None = Field(
        None,
        ge=1,
        validation_alias="MAX_ARCHIVE_BYTES",
        description="total uncompressed bytes of the objects of one request; more are `too_large`",
    )
    max_concurrent_jobs: int = Field(
        4, ge=1, le=1000, validation_alias="MAX_CONCURRENT_JOBS", description="concurrent jobs in one worker"
    )
    max_parked_jobs: int = Field(
        100,
        ge=0,
        le=10_000,
        validation_alias="MAX_PARKED_JOBS",
        description="jobs that wait for objects without a slot",
    )
    wait_limit: int = Field(
        3600, ge=0, le=36_000, validation_alias="WAIT_LIMIT", description="seconds that a request may wait; 0: none may"
    )
    restore_tiers: RestoreTiers | None = Field(
        None, validation_alias="RESTORE_TIERS", description="tiers in which requests may restore archived objects"
    )
    restore_max_days: int = Field(
        1, ge=1, le=365, validation_alias="RESTORE_MAX_DAYS", description="days that requests may keep restored copies"
    )
    restore_wait_limit: int = Field(
        21_600, ge=1, le=36_000, validation_alias="RESTORE_WAIT_LIMIT", description="seconds that a restore may take"
    )
    memory_budget_mib: int = Field(
        64,
        ge=15,
        validation_alias="MEMORY_BUDGET_MIB",
        description="memory for all object bodies in flight, shared by all jobs (at least 15: three parts of 5 MiB)",
    )
    wait_seconds: int = Field(
        5,
        ge=1,
        le=20,
        validation_alias="SQS_WAIT_SECONDS",
        description="seconds of a long poll, 1 to 20; also how long an idle worker takes to stop",
    )
    grace_seconds: float = Field(
        90,
        ge=0,
        allow_inf_nan=False,
        validation_alias="SHUTDOWN_GRACE_SECONDS",
        description="seconds that running jobs have after SIGTERM; keep it below the container's stop timeout",
    )
    base_url: BaseUrl | None = Field(
        None, validation_alias="ARCHIVE_BASE_URL", description="base of the links; without it links are `s3://` URIs"
    )
    cloudfront_key_id: Text | None = Field(
        None,
        validation_alias="CLOUDFRONT_KEY_ID",
        description="id of the CloudFront public key for signed links; without it links are not signed",
    )
    cloudfront_private_key: SecretStr | None = Field(
        None,
        validation_alias="CLOUDFRONT_PRIVATE_KEY",
        description="RSA private key of that public key: PEM text, or the path of a file that contains it",
    )
    links: Literal["presigned"] | None = Field(
        None,
        validation_alias="LINKS",
        description="`presigned`: S3 links signed with the worker's credentials; they expire with these credentials",
    )
    link_expires_in: int = Field(
        7 * 24 * 3600,
        ge=60,
        le=366 * 24 * 3600,
        validation_alias="LINK_EXPIRES_IN",
        description="seconds for which a signed link works after its answer; at most 604800 for a presigned link",
    )
    heartbeat_file: Text | None = Field(
        None,
        validation_alias="HEARTBEAT_FILE",
        description="file that a healthy worker touches; `archiver health` checks it",
    )
    metrics: Literal["emf"] | None = Field(
        None,
        validation_alias="METRICS",
        description="`emf`: write metrics to the log as lines in CloudWatch's embedded metric format",
    )
    service_name: Text = Field(
        "archiver",
        validation_alias="SERVICE_NAME",
        description="value of the dimension `Service` of all metrics",
    )
    health_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        validation_alias="HEALTH_PORT",
        description="port of `/health/live`, `/health/ready` and `/metrics`; 0 chooses a free port and logs it",
    )
    health_host: Text = Field(
        "127.0.0.1",
        validation_alias="HEALTH_HOST",
        description="address that HEALTH_PORT listens on; `0.0.0.0` for other hosts (restrict which can connect)",
    )
    ecs_agent_uri: BaseUrl | None = Field(
        None,
        validation_alias="ECS_AGENT_URI",
        description="set by ECS: endpoint of the agent that turns on scale-in protection while jobs run",
    )
    debug: bool = Field(False, validation_alias=AliasChoices("DEBUG", "APP_DEBUG"), description="debug log level")
    dev_mode: bool = Field(False, validation_alias="DEV_MODE", description="console log lines instead of JSON")

    @property
    def archive_attributes(self) -> Attributes:
        """What the settings say of every archive."""
        tags = parse_tags(self.archive_tags) if self.archive_tags else {}
        return Attributes(self.archive_acl, self.archive_storage_class, tags)

    @property
    def memory_budget(self) -> int:
        """The memory for object bodies, in bytes."""
        return self.memory_budget_mib * MIB


class Settings(Environment):
    """The settings of a worker: `S3_DESTINATION_BUCKET` is required, and one source of messages."""

    destination_bucket: BucketName = Field(
        validation_alias=_DESTINATION_BUCKET, description=_DESTINATION_BUCKET_DESCRIPTION
    )

    @property
    def source_name(self) -> str:
        """Where messages come from, for the log."""
        return self.source_queue or self.amqp_queue or "order files"

    @property
    def exit_code_unstarted(self) -> int:
        """The exit code of a worker that was stopped before it began: 3 if it leaves orders undone."""
        return 0 if self.source_orders is None else 3
