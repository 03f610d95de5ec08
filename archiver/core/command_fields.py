"""The fields of a request that say which of the operator's commands is run, and on what."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema, model_validator

from archiver.core.entries import Model

MAX_NAME_LENGTH = 128
"""Maximum characters of the name of a command, a parameter or an argument."""

MAX_VALUE_LENGTH = 4096
"""Maximum characters of a value that becomes a word of a command line, and of a URI."""

MAX_ITEMS = 1000
"""Maximum arguments of one command, and maximum entries of `input`, `output` and of a list."""

Runner = Literal["native", "docker"]
Scalar = str | int | float | bool

_SCALAR = "text, a number, true or false"
_SCALAR_SCHEMA = {"type": ["string", "number", "boolean"], "maxLength": MAX_VALUE_LENGTH}


def _check_scalar(value: object) -> Scalar:
    if not isinstance(value, Scalar):
        raise ValueError(f"should be {_SCALAR}")  # noqa: TRY004 - pydantic reports this one
    if isinstance(value, str) and len(value) > MAX_VALUE_LENGTH:
        raise ValueError(f"should have at most {MAX_VALUE_LENGTH:,} characters")
    return value


def _drop_nulls(values: object) -> object:
    """Null counts as absent, for a parameter as for a field."""
    return {name: value for name, value in values.items() if value is not None} if isinstance(values, dict) else values


def _check_value(value: object) -> Scalar | tuple[Scalar, ...]:
    if not isinstance(value, list):
        return _check_scalar(value)
    if len(value) > MAX_ITEMS:
        raise ValueError(f"should have at most {MAX_ITEMS:,} items")
    return tuple(map(_check_scalar, value))


Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH)]
_Argument = Annotated[Scalar, PlainValidator(_check_scalar), WithJsonSchema(_SCALAR_SCHEMA)]
_Value = Annotated[
    Scalar | tuple[Scalar, ...],
    PlainValidator(_check_value),
    WithJsonSchema({"anyOf": [_SCALAR_SCHEMA, {"type": "array", "items": _SCALAR_SCHEMA, "maxItems": MAX_ITEMS}]}),
]
_Values = Annotated[dict[Name, _Value], BeforeValidator(_drop_nulls), Field(max_length=MAX_ITEMS)]
_Uri = Annotated[str, Field(min_length=1, max_length=MAX_VALUE_LENGTH)]
_Uris = Annotated[tuple[_Uri, ...], Field(strict=False, max_length=MAX_ITEMS)]


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
    value: _Argument | None = None


class CommandCall(_Known):
    """
    A command of the operator's file by its *name*, with values of its parameters. *input*, *output*: beginnings of
    `s3://` URIs of further files. *queue*: the runner that the request expects, if it says
    so.
    """

    name: Name
    parameters: Annotated[dict[Name, _Value], BeforeValidator(_drop_nulls), Field(max_length=MAX_ITEMS)] = Field(
        default_factory=dict
    )
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
