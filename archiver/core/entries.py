"""The entries of a request's `files`: one object, the objects under a prefix, or text that the request itself has."""

import re
from collections.abc import Callable
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema, model_validator

MAX_TEXT_LENGTH = 4096
"""Maximum characters of a `destination`, `name` or `archive_name`; also the maximum bytes of a path in the zip."""

MAX_PATTERN_LENGTH = 256
"""Maximum characters of a regular expression, and of the text that replaces its matches."""

MAX_ROLE_ARN_LENGTH = 2048
"""Maximum characters of an ARN ("RoleArn" of AssumeRole, STS API reference)."""

_SIZE = re.compile(r"([0-9]{1,15}) ?(|B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)")
_UNITS: dict[str, int] = {"": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12} | {
    f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGT", 1)
}


_NOT_A_SIZE = "should be a number of bytes, or text such as 10MiB (B, kB, MB, GB, TB; KiB, MiB, GiB, TiB)"
_MAX_NUMBER = 2**53  # exact in every JSON parser


def _check_length(text: str) -> str:
    """Check the length. `max_length` would refuse half a surrogate pair before the path rules can."""
    if len(text) > MAX_TEXT_LENGTH:
        raise ValueError(f"should have at most {MAX_TEXT_LENGTH} characters")
    return text


def parse_size(size: int | str) -> int:
    """Return *size* in bytes: a number, or text with a unit such as `10MiB` (1024²) or `10MB` (1000²)."""
    if isinstance(size, int):
        return size
    parsed = _SIZE.fullmatch(size)
    if parsed is None:
        raise ValueError(_NOT_A_SIZE)
    number, unit = int(parsed[1]), str(parsed[2])
    return number * _UNITS[unit]


def _check_size(size: object) -> int | str:
    if not isinstance(size, int | str) or isinstance(size, bool):
        raise ValueError(_NOT_A_SIZE)  # noqa: TRY004 - pydantic reports this one
    if not 0 <= parse_size(size) <= _MAX_NUMBER:
        raise ValueError(f"should be from 0 to {_MAX_NUMBER} bytes")
    return size


def _check_unicode(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("contains half of a surrogate pair, which is not text") from None
    return text


Text = Annotated[str, AfterValidator(_check_length), Field(json_schema_extra={"maxLength": MAX_TEXT_LENGTH})]
_Pattern = Annotated[str, Field(min_length=1, max_length=MAX_PATTERN_LENGTH)]
_RoleArn = Annotated[str, Field(min_length=1, max_length=MAX_ROLE_ARN_LENGTH)]
_Number = Annotated[int, Field(ge=0, le=_MAX_NUMBER)]
_Size = Annotated[
    int | str,
    PlainValidator(_check_size),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": f"^{_SIZE.pattern}$"}]}),
]


class Model(BaseModel):
    """Frozen and strict: a number is not text. Unknown fields are ignored; null counts as absent."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: object) -> object:
        if not isinstance(data, dict) or None not in data.values():
            return data
        return {key: value for key, value in data.items() if value is not None}


class _Entry(Model):
    """An entry has exactly one of `source`, `prefix` and `inline`, its *kind*, and no field of another kind."""

    kind: ClassVar[str]
    foreign: ClassVar[frozenset[str]]

    @model_validator(mode="before")
    @classmethod
    def _refuse_foreign_fields(cls, data: object) -> object:
        """Such a field used to be unknown, and ignored. A filter that is ignored would archive what it should not."""
        if isinstance(data, dict) and not cls.foreign.isdisjoint(data):
            for name in sorted(cls.foreign):
                if data.get(name) is not None:
                    raise ValueError(f"has both {cls.kind} and {name}: {_RULES.get(name, 'it goes with prefix')}")
        return data


def _join_destination(data: dict[str, Any]) -> dict[str, Any]:
    """Accept `directory` as another name of `destination`. Refuse contradictory fields."""
    given = {**data, "name": None if data.get("name") == "" else data.get("name")}
    directory, destination = given.pop("directory", None), given.get("destination")
    if directory is not None and destination is not None and directory != destination:
        raise ValueError("has both destination and directory, which are two names of the same field")
    given["destination"] = directory if destination is None else destination
    if given["destination"] not in (None, "") and given["name"] is not None:
        raise ValueError("has both destination and name: name is the complete path")
    return given


class _Placed(_Entry):
    """An entry of one file. An empty *destination* or *name* counts as absent."""

    destination: Text | None = None
    name: Text | None = None

    @model_validator(mode="before")
    @classmethod
    def _normalize_destination(cls, data: object) -> object:
        if not isinstance(data, dict) or not ("directory" in data or ("name" in data and "destination" in data)):
            return data
        return _join_destination(data)


_RULES = {
    **dict.fromkeys(("source", "prefix", "inline"), "an entry has one of source, prefix and inline"),
    "role_arn": "it goes with source or prefix",
}
_SELECTION_FIELDS = frozenset({"recursive", "regex", "where", "rename", "folders"})


class File(_Placed):
    """
    One object and its path in the archive. *source*: a key or an `s3://` URI. An empty *role_arn* does not count as
    absent: the object would be read with other rights than the sender meant.
    """

    kind = "source"
    foreign = frozenset({"prefix", "inline"}) | _SELECTION_FIELDS

    source: Annotated[str, Field(min_length=1)]
    role_arn: _RoleArn | None = None


class Inline(_Placed):
    """A file whose content is *inline*. It needs a *name*, or a *destination* with an extension."""

    kind = "inline"
    foreign = frozenset({"source", "prefix", "role_arn"}) | _SELECTION_FIELDS

    inline: Annotated[str, AfterValidator(_check_unicode)]

    @property
    def source(self) -> str:
        """Empty: no object's source is."""
        return ""


class _Filter(Model):
    """Unknown fields are refused: a filter that is ignored would archive what it should not."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="after")
    def _require_any(self) -> "_Filter":
        if not self.model_fields_set:
            raise ValueError(f"should have {' or '.join(type(self).model_fields)}")
        return self


def _check_order(low: int | None, high: int | None, *, strict: bool) -> None:
    if low is not None and high is not None and (low >= high if strict else low > high):
        raise ValueError("allows nothing: its bounds exclude each other")


class SizeBounds(_Filter):
    """Bytes, both bounds exclusive."""

    gt: _Size | None = None
    lt: _Size | None = None

    @property
    def bounds(self) -> tuple[int | None, int | None]:
        """Both in bytes."""
        return None if self.gt is None else parse_size(self.gt), None if self.lt is None else parse_size(self.lt)

    @model_validator(mode="after")
    def _check(self) -> "SizeBounds":
        _check_order(*self.bounds, strict=True)
        return self


class AgeBounds(_Filter):
    """Seconds between an object's date and the request's, both bounds exclusive."""

    gt: _Number | None = None
    lt: _Number | None = None

    @model_validator(mode="after")
    def _check(self) -> "AgeBounds":
        _check_order(self.gt, self.lt, strict=True)
        return self


class CountBounds(_Filter):
    """How many objects an entry may select, both bounds inclusive; otherwise it selects none."""

    min: _Number | None = None
    max: _Number | None = None

    @model_validator(mode="after")
    def _check(self) -> "CountBounds":
        _check_order(self.min, self.max, strict=False)
        return self


class Where(_Filter):
    """Which objects under a prefix. *count* is applied after everything else."""

    size: SizeBounds | None = None
    age: AgeBounds | None = None
    count: CountBounds | None = None


class Rename(_Filter):
    r"""Replace each match of *pattern* (RE2) by *sub*, where `\1` is the first group and `\0` the whole match."""

    pattern: _Pattern
    sub: Annotated[str, Field(max_length=MAX_PATTERN_LENGTH)]


class Selection(_Entry):
    """
    The objects under a prefix. *prefix*: the beginning of keys, or an `s3://` URI. Their paths below the prefix's last
    `/` are kept, in the folder *destination*. *regex* (RE2) must match that whole path. *folders*: folder markers are
    selected, too. *role_arn*: as of a `File`.
    """

    kind = "prefix"
    foreign = frozenset({"source", "inline"})

    prefix: Annotated[str, Field(min_length=1)]
    destination: Text | None = None
    recursive: bool = True
    regex: _Pattern | None = None
    where: Where | None = None
    rename: Rename | None = None
    folders: bool = False
    role_arn: _RoleArn | None = None

    @model_validator(mode="before")
    @classmethod
    def _normalize_destination(cls, data: object) -> object:
        if not isinstance(data, dict) or not ("directory" in data or "name" in data):
            return data
        if data.get("name") not in (None, ""):
            raise ValueError("has both prefix and name: write the folder of its files as destination")
        return _join_destination(data)

    @property
    def source(self) -> str:
        """What problems with the whole entry name."""
        return self.prefix


Entry = File | Selection | Inline


def role_of(entry: Entry) -> str:
    """Return the ARN of the role that *entry* is read with; "": the worker's own."""
    if isinstance(entry, File):  # asked first: most are, and pydantic's classes take long to say no
        return entry.role_arn or ""
    return "" if isinstance(entry, Inline) else entry.role_arn or ""


_MODELS: dict[str, Callable[[object], Entry]] = {
    "prefix": Selection.model_validate,
    "inline": Inline.model_validate,
}


def read_entry(data: object) -> Entry:
    """Read one entry of `files`. Raises pydantic's ValidationError."""
    if isinstance(data, dict) and data.get("source") is None:
        for kind, validate in _MODELS.items():
            if data.get(kind) is not None:
                return validate(data)
    return File.model_validate(data)


PLACEHOLDER_FILE = File(source="-")  # replaces an invalid entry; its request is rejected
