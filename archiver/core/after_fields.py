"""The fields of a request that say what is done once its archive is there."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from archiver.core.entries import MAX_PATTERN_LENGTH, Model

MAX_URI_LENGTH = 2048

Uri = Annotated[str, Field(min_length=1, max_length=MAX_URI_LENGTH)]


class After(Model):
    """
    What is done with the archived objects. *destination*: the folder of `move` and `rename`. *pattern* (RE2), *sub*: of
    `rename`, applied to the objects' file names.
    """

    model_config = ConfigDict(extra="forbid")  # an action that is half understood could do what nobody wants

    action: Literal["delete", "move", "rename", "none", ""]
    destination: Uri | None = None
    pattern: Annotated[str, Field(min_length=1, max_length=MAX_PATTERN_LENGTH)] | None = None
    sub: Annotated[str, Field(max_length=MAX_PATTERN_LENGTH)] | None = None

    @model_validator(mode="after")
    def _check_fields(self) -> "After":
        needed = {"move": {"destination"}, "rename": {"destination", "pattern", "sub"}}.get(self.action, set())
        given = {name for name in ("destination", "pattern", "sub") if getattr(self, name) is not None}
        if absent := sorted(needed - given):
            raise ValueError(f"needs {' and '.join(absent)} for the action {self.action}")
        if surplus := sorted(given - needed):
            raise ValueError(f"has {' and '.join(surplus)}, which the action {self.action or 'none'} does not take")
        return self

    @property
    def asks_for_something(self) -> bool:
        return self.action not in ("none", "")
