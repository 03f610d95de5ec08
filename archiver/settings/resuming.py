"""The setting of builds that resume."""

from pydantic import Field
from pydantic_settings import BaseSettings


class ResumeSettings(BaseSettings):
    """Which builds are left for the next worker when they are interrupted."""

    resume_from_mib: int = Field(
        256,
        ge=0,
        validation_alias="RESUME_FROM_MIB",
        description="MiB of files from which on the next worker resumes an interrupted build; 0: it begins anew",
    )
