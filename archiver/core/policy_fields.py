"""The fields of one section of the operator's policy file: each is converted, or reported with what to write."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from archiver.core.entries import parse_size
from archiver.core.locations import AllowList
from archiver.core.policy_text import Path, PolicyText

T = TypeVar("T")

_MAX_SECONDS = 43_200  # SQS holds no message longer
_MAX_BYTES = 2**53


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of *table*, which is at *path* of *file*."""

    file: PolicyText
    path: Path
    table: Mapping[str, Any]

    def take(self, name: str, convert: Callable[[Any], T], default: T, told: str) -> T:
        """
        Return the field *name*, as *convert* returns it; *default* if it is absent, or reported. *told*: what it should
        be.
        """
        if name not in self.table:
            return default
        try:
            return convert(self.table[name])
        except (TypeError, ValueError) as error:
            self.report(name, f"should be {told}" + (f": {error}" if str(error) else ""))
            return default

    def report(self, name: str, told: str) -> None:
        """Add what is wrong with the field *name*."""
        self.file.report((*self.path, name), told)

    def report_all(self, told: str) -> None:
        """Add what is wrong with the whole section."""
        self.file.report(self.path, told)

    def section(self, name: str) -> "Fields":
        """Return the fields of the section *name* in this one; none if it is absent, or reported."""
        path = (*self.path, name)
        return Fields(self.file, path, self.file.table(path, self.table.get(name, {})))


def text(value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError
    return value


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError  # noqa: TRY004 - `Fields.take` reports it
    return value


def number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < _MAX_BYTES:
        raise ValueError
    return value


def above_zero(value: Any) -> float:
    if not number(value) > 0:
        raise ValueError
    return number(value)


def seconds(value: Any) -> float:
    if above_zero(value) > _MAX_SECONDS:
        raise ValueError
    return float(value)


def count(value: Any) -> int:
    if not isinstance(value, int) or above_zero(value) > 1_000_000:  # noqa: PLR2004 - more than anybody can mean
        raise ValueError
    return value


def size(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str) or not 0 < parse_size(value) < _MAX_BYTES:
        raise ValueError
    return parse_size(value)


def texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError
    return tuple(map(text, value))


def exit_codes(value: Any) -> frozenset[int]:
    if not isinstance(value, list) or not all(type(code) is int and 0 < code < 256 for code in value):  # noqa: PLR2004
        raise ValueError
    return frozenset(value)


def places(value: Any) -> AllowList:
    return AllowList.of(texts(value), "")
