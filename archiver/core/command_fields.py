"""The fields of a request that say which of the operator's commands is run, and on what."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from archiver.core.entries import Model

MAX_NAME_LENGTH = 128
"""Maximum characters of the name of a command, a parameter or an argument."""

MAX_VALUE_LENGTH = 4096
"""Maximum characters of a value that becomes a word of a command line, and of a URI."""

MAX_ITEMS = 1000
"""Maximum arguments of one command, and maximum entries of `input`, `output` and of a list."""

Runner = Literal["native", "docker"]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH)]
Value = Annotated[str, Field(max_length=MAX_VALUE_LENGTH)] | int | float | bool
_Uri = Annotated[str, Field(min_length=1, max_length=MAX_VALUE_LENGTH)]
_Uris = Annotated[tuple[_Uri, ...], Field(strict=False, max_length=MAX_ITEMS)]
_Values = Annotated[tuple[Value, ...], Field(strict=False, max_length=MAX_ITEMS)]


class _Known(Model):
    """Unknown fields are refused: a command that is half understood could do what nobody wants."""

    model_config = ConfigDict(extra="forbid")


class Stream(_Known):
    """Where standard input comes from, or an output goes: through the message (`pipe`), or an object (`uri`)."""

    type: Literal["pipe", "uri"]
    value: str | None = None

    @model_validator(mode="after")
    def _require_uri(self) -> "Stream":
        if self.type == "uri" and not self.value:
            raise ValueError("needs a value: the s3:// URI of an object")
        return self


class Argument(_Known):
    """
    One argument, in the request's order. *name*: None if it is positional. *value*: of an `input` or `output`, the
    `s3://` URI of an object; None: the name alone.
    """

    type: Literal["input", "output", "parameter"]
    name: Name | None = None
    value: Value | None = None


class CommandCall(_Known):
    """
    A command of the operator's file by its *name*, with values of its parameters. *input*, *output*: beginnings of
    `s3://` URIs of further files. *queue*: the runner that the request expects, if it says
    so.
    """

    name: Name
    parameters: Annotated[dict[Name, Value | _Values | None], Field(max_length=MAX_ITEMS)] = Field(default_factory=dict)
    arguments: Annotated[tuple[Argument, ...], Field(strict=False, max_length=MAX_ITEMS)] = ()
    stdin: Stream | None = None
    stdout: Stream | None = None
    stderr: Stream | None = None
    input: _Uris = ()
    output: _Uris = ()
    queue: Name | None = None


class TemplateCall(CommandCall):
    """
    A command line to be matched with those that the operator's commands accept; it is never run. *paths*: of local
    files that must exist first.
    """

    name: str = ""
    template: str
    paths: tuple[str, ...] = ()
