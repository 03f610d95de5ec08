"""The settings of order files, and of commands."""

from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode

from archiver.core.setting_types import OrderFiles, Text


class OrderSettings(BaseSettings):
    """Requests from files instead of a queue, and what a worker tells of itself."""

    source_orders: Annotated[OrderFiles | None, NoDecode] = Field(
        None,
        validation_alias="SOURCE_ORDERS",
        description="files with one request each, separated by `:`: done in order, without a queue",
    )
    describe: bool = Field(
        False, validation_alias="DESCRIBE", description="print what the worker does as JSON and exit: archiver describe"
    )
    work_dir: Text | None = Field(
        None,
        validation_alias="WORK_DIR",
        description="directory that commands work in; unset: `archiver-` and the user's number, in the temporary one",
    )
    work_disk_mib: int = Field(
        4096, ge=1, validation_alias="WORK_DISK_MIB", description="disk for the files of all commands at once"
    )
    profiles_credentials: SecretStr | None = Field(
        None,
        validation_alias="AWS_PROFILES_CREDENTIALS",
        description="credentials of commands with a `profile`: `name;key;secret;region`, separated by `#`",
    )
