"""Every setting, read once from the environment, checked together, frozen."""

from collections.abc import Callable, Mapping
from typing import Annotated, Literal, TypeVar, cast

from pydantic import AliasChoices, Field, SecretStr, StringConstraints, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from archiver.core.locations import AllowList
from archiver.misread import Should, misread

MIB = 1024 * 1024

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
FilePrefix = Annotated[
    Text,
    StringConstraints(pattern=r"^[^/\\\x00-\x1f\x7f]*[^/\\\x00-\x1f\x7f.][^/\\\x00-\x1f\x7f]*$", max_length=128),
    Should("the beginning of a file name: at most 128 characters, no / or \\, no control characters, not dots alone"),
]
BucketName = Annotated[
    Text,
    StringConstraints(pattern=r"^[A-Za-z0-9.\-_]{3,255}$"),
    Should("a bucket's name alone: 3 to 63 letters, digits, dots and hyphens, without s3:// and without a key"),
]
BaseUrl = Annotated[
    Text,
    StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9+.-]*://[^\s]+$"),
    Should("a URL without spaces, like https://d111.cloudfront.net"),
]


class SettingsError(Exception):
    """The environment can't be used as it is. *problems*: one line each, beginning with the variable's name."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


_SOURCE_QUEUE = AliasChoices("SQS_SOURCE_QUEUE", "SQS_SOURCE")
_SOURCE_QUEUE_IS = "queue to read: a name, URL or ARN"
_DESTINATION_BUCKET = "S3_DESTINATION_BUCKET"
_DESTINATION_BUCKET_IS = "bucket of the archives"


class Environment(BaseSettings):
    """
    What the environment says, for commands that need only some of it. Field descriptions are the text of the settings
    table in the documentation.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", case_sensitive=True, env_ignore_empty=True)

    source_queue: Text | None = Field(None, validation_alias=_SOURCE_QUEUE, description=_SOURCE_QUEUE_IS)
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
        description="queue that is told how each job goes: accepted, building, and the answer",
    )
    source_bucket: BucketName | None = Field(
        None, validation_alias="S3_SOURCE_BUCKET", description="bucket of bare keys"
    )
    allowed_sources: Text | None = Field(
        None,
        validation_alias="S3_ALLOWED_SOURCES",
        description="`bucket` and `bucket/prefix/`, comma-separated: what requests may name",
    )
    destination_bucket: BucketName | None = Field(
        None, validation_alias=_DESTINATION_BUCKET, description=_DESTINATION_BUCKET_IS
    )
    file_prefix: FilePrefix = Field(
        "download", validation_alias="S3_FILE_PREFIX", description="first word of the archive's file name"
    )
    key_secret: SecretStr | None = Field(
        None, validation_alias="ARCHIVE_KEY_SECRET", description="key of the digest in archive keys"
    )
    compression: Literal["store", "deflate", "auto"] = Field(
        "store", validation_alias="S3_COMPRESSION", description="default of `compression`: store, deflate or auto"
    )
    max_concurrent_jobs: int = Field(
        4, ge=1, le=1000, validation_alias="MAX_CONCURRENT_JOBS", description="jobs at once in one worker"
    )
    memory_budget_mib: int = Field(
        64,
        ge=15,
        validation_alias="MEMORY_BUDGET_MIB",
        description="all bodies in flight, whatever the jobs and sizes (at least 15: three parts of 5 MiB)",
    )
    wait_seconds: int = Field(
        5,
        ge=1,
        le=20,
        validation_alias="SQS_WAIT_SECONDS",
        description="long poll, 1 to 20; also how long an idle worker takes to stop",
    )
    grace_seconds: float = Field(
        90,
        ge=0,
        allow_inf_nan=False,
        validation_alias="SHUTDOWN_GRACE_SECONDS",
        description="for running jobs after SIGTERM; keep it below the container's stop time-out",
    )
    base_url: BaseUrl | None = Field(
        None, validation_alias="ARCHIVE_BASE_URL", description="base of the links; without it links are `s3://` URIs"
    )
    cloudfront_key_id: Text | None = Field(
        None,
        validation_alias="CLOUDFRONT_KEY_ID",
        description="id of the CloudFront public key that links are signed for; without it links are not signed",
    )
    cloudfront_private_key: SecretStr | None = Field(
        None,
        validation_alias="CLOUDFRONT_PRIVATE_KEY",
        description="the RSA private key to it: PEM text, or the path of a file that holds it",
    )
    link_expires_in: int = Field(
        7 * 24 * 3600,
        ge=60,
        le=366 * 24 * 3600,
        validation_alias="LINK_EXPIRES_IN",
        description="seconds for which a signed link works, from its answer on",
    )
    heartbeat_file: Text | None = Field(
        None,
        validation_alias="HEARTBEAT_FILE",
        description="file that the worker touches while it is well: what `archiver health` looks at",
    )
    metrics: Literal["emf"] | None = Field(
        None,
        validation_alias="METRICS",
        description="`emf`: metrics as lines in CloudWatch's embedded metric format, among the log lines",
    )
    service_name: Text = Field(
        "archiver",
        validation_alias="SERVICE_NAME",
        description="what metrics call this service: their dimension `Service`",
    )
    health_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        validation_alias="HEALTH_PORT",
        description="port of `/health/live`, `/health/ready` and `/metrics`; 0 takes a free one and logs it",
    )
    health_host: Text = Field(
        "127.0.0.1",
        validation_alias="HEALTH_HOST",
        description="address that HEALTH_PORT listens on; `0.0.0.0` where others are to ask (let only those reach it)",
    )
    ecs_agent_uri: BaseUrl | None = Field(
        None,
        validation_alias="ECS_AGENT_URI",
        description="set by ECS: where protection from scaling in is asked for while jobs run",
    )
    debug: bool = Field(False, validation_alias=AliasChoices("DEBUG", "APP_DEBUG"), description="debug log level")
    dev_mode: bool = Field(False, validation_alias="DEV_MODE", description="console log lines instead of JSON")

    @property
    def memory_budget(self) -> int:
        """In bytes."""
        return self.memory_budget_mib * MIB


class Settings(Environment):
    """All that a worker needs."""

    source_queue: Text = Field(validation_alias=_SOURCE_QUEUE, description=_SOURCE_QUEUE_IS)
    destination_bucket: BucketName = Field(validation_alias=_DESTINATION_BUCKET, description=_DESTINATION_BUCKET_IS)


E = TypeVar("E", bound=Environment)


def load_settings(environ: Mapping[str, str]) -> Settings:
    """
    Read *environ* for a worker. An empty variable counts as unset.

    Raises SettingsError with every problem at once.
    """
    return _load(Settings, environ)


def load_environment(environ: Mapping[str, str]) -> Environment:
    """Read *environ* for a command that asks for what it needs itself, with `needed`. Raises SettingsError."""
    return _load(Environment, environ)


def needed(environment: Environment, *names: str) -> None:
    """Raises SettingsError for those of the variables *names* that are not set."""
    fields = {_names(field.validation_alias)[0]: (name, field) for name, field in Environment.model_fields.items()}
    absent = [name for name in names if getattr(environment, fields[name][0]) is None]
    if absent:
        raise SettingsError([f"{name}: is required ({fields[name][1].description})" for name in absent])


def _load(model: type[E], environ: Mapping[str, str]) -> E:
    class Given(model):  # type: ignore[valid-type, misc]
        @classmethod
        def settings_customise_sources(  # the signature is pydantic-settings'
            cls,
            settings_cls: type[BaseSettings],  # noqa: ARG003
            init_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            cast("EnvSettingsSource", env_settings).env_vars = {k: v for k, v in environ.items() if v.strip()}
            return (env_settings,)

    problems = _source_problems(environ) + _signing_problems(environ)
    try:
        settings = cast("Callable[[], E]", Given)()
    except ValidationError as error:
        problems = [_problem(environ, entry["loc"], entry["type"]) for entry in error.errors()] + problems
        raise SettingsError(problems) from None
    if problems:
        raise SettingsError(problems)
    return settings


def _problem(environ: Mapping[str, str], loc: tuple[int | str, ...], kind: str) -> str:
    name = str(loc[0])
    field = next(f for f in Environment.model_fields.values() if name in _names(f.validation_alias))
    given = next((n for n in _names(field.validation_alias) if environ.get(n, "").strip()), name)
    if kind == "missing":
        return f"{given}: is required ({field.description})"
    return f"{given}: {misread(field, environ[given])}"


def _names(alias: object) -> list[str]:
    if isinstance(alias, AliasChoices):
        return [str(choice) for choice in alias.choices]
    return [str(alias)]


def _signing_problems(environ: Mapping[str, str]) -> list[str]:
    """Signed links take two settings, and a base to sign."""
    key_id, key, base = (
        environ.get(name, "").strip() for name in ("CLOUDFRONT_KEY_ID", "CLOUDFRONT_PRIVATE_KEY", "ARCHIVE_BASE_URL")
    )
    if bool(key_id) != bool(key):
        absent, given = ("CLOUDFRONT_PRIVATE_KEY", "CLOUDFRONT_KEY_ID")[:: 1 if key_id else -1]
        return [f"{absent}: is required where {given} is set: links are signed with both"]
    if key_id and not base:
        return ["ARCHIVE_BASE_URL: is required where links are signed: it is the distribution's address"]
    return []


def _source_problems(environ: Mapping[str, str]) -> list[str]:
    """
    The rules between S3_ALLOWED_SOURCES and the two buckets, on the raw text: they hold even where other fields fail.
    """
    source, destination, allowed = (
        environ.get(name, "").strip() for name in ("S3_SOURCE_BUCKET", "S3_DESTINATION_BUCKET", "S3_ALLOWED_SOURCES")
    )
    if not allowed:
        if source and source == destination:
            problem = (
                "S3_ALLOWED_SOURCES: is required where S3_SOURCE_BUCKET and S3_DESTINATION_BUCKET are one bucket: "
                "say which prefixes requests may name"
            )
            return [problem]
        return []
    try:
        entries = AllowList.parse(allowed, destination)
    except ValueError as error:
        return [f"S3_ALLOWED_SOURCES: {error}"]
    if source and not entries.covers_some_of(source):
        return [f"S3_ALLOWED_SOURCES: no entry covers any of S3_SOURCE_BUCKET ({source}): add it, or a prefix in it"]
    return []
