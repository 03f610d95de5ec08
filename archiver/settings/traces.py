"""The settings of traces."""

from pydantic import Field
from pydantic_settings import BaseSettings

from archiver.core.setting_types import BaseUrl


class TraceSettings(BaseSettings):
    """Where traces go, and of how many jobs. Needs the extra `archiver[otel]`."""

    traces_endpoint: BaseUrl | None = Field(
        None,
        validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        description="URL of an OTLP collector (HTTP, without /v1/traces): jobs are traced (extra `archiver[otel]`)",
    )
    traces_sampled: float = Field(
        0.01,
        ge=0,
        le=1,
        allow_inf_nan=False,
        validation_alias="TRACES_SAMPLED",
        description="fraction of jobs that are traced, 0 to 1; a job whose sender decided that already follows it",
    )
