"""The entries of a JSON document, piece by piece: of the list `files` in an object, or of a list alone."""

import re
from collections.abc import Iterator
from json import JSONDecodeError
from typing import Any

from archiver.core.strict_json import DECODER

MAX_FIELDS = 1000
"""Maximum fields of a document beside its entries: a manifest full of them would take minutes to read."""

_SPACE = re.compile(r"[ \t\n\r]*")


class ManifestError(ValueError):
    """The manifest is not one; the message says why, and mostly where."""


class _NeedMore(Exception):
    """The piece ends within a value."""


class Entries:
    """Values of JSON in text that arrives in pieces, of which each has at most *limit* characters."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._text = ""
        self._at = 0
        self._final = False
        self.line = 1

    @staticmethod
    def first_value(text: str) -> Any:
        """Return the value that *text* begins with; None if it has none that is complete."""
        try:
            return DECODER.raw_decode(text)[0]
        except (ValueError, RecursionError):
            return None

    def add(self, text: str, *, final: bool) -> None:
        self._text, self._at, self._final = self._text[self._at :] + text, 0, final

    def peek(self) -> str:
        """Return the next character that is no white space, without reading it; "" at the end."""
        self._move(_SPACE.match(self._text, self._at).end())  # type: ignore[union-attr]  # it always matches
        if self._at == len(self._text) and not self._final:
            raise _NeedMore
        return self._text[self._at : self._at + 1]

    def skip(self, expected: str) -> None:
        """Read the character *expected*."""
        if self.peek() != expected:
            raise ManifestError(f"line {self.line}: {expected!a} is missing" if self.peek() else "it ends too early")
        self._move(self._at + 1)

    def value(self) -> tuple[int, Any]:
        """Return the line and the next value."""
        self.peek()
        try:
            value, end = DECODER.raw_decode(self._text, self._at)
        except RecursionError:
            raise ManifestError(f"line {self.line}: nests too deep") from None
        except ValueError as error:
            if isinstance(error, JSONDecodeError) and not self._final and len(self._text) - self._at <= self._limit:
                raise _NeedMore from None
            reason = error.msg if isinstance(error, JSONDecodeError) else str(error).partition(";")[0]
            raise ManifestError(f"line {self.line}: is not JSON: {reason}") from None
        if not self._final and not self._text[end : end + 99].strip("0123456789+-.eE"):
            raise _NeedMore  # a number may go on
        line = self.line
        self._move(end)
        return line, value

    def _move(self, at: int) -> None:
        self.line += self._text.count("\n", self._at, at)
        self._at = at


class Document:
    """Splits a document into the entries of its `files`."""

    def __init__(self, limit: int) -> None:
        self._json = Entries(limit)
        self._steps = self._read()
        self._seen = False

    def feed(self, text: str, *, final: bool) -> Iterator[tuple[int, Any]]:
        """Yield the line and the value of each entry that *text*, the next piece, completes. Raises ManifestError."""
        self._json.add(text, final=final)
        for step in self._steps:
            if step is None:
                return  # more text is needed
            yield step
        if final and not self._seen:
            raise ManifestError("has no files")

    def _read(self) -> Iterator[tuple[int, Any] | None]:
        if (yield from self._until(self._json.peek)) == "[":
            yield from self._list()
        else:
            yield from self._object()
        if (yield from self._until(self._json.peek)):
            raise ManifestError(f"line {self._json.line}: more text follows the end")

    def _object(self) -> Iterator[tuple[int, Any] | None]:
        skip, peek = self._json.skip, self._json.peek
        yield from self._until(lambda: skip("{"))
        fields = 0
        while (yield from self._until(peek)) != "}":
            line, name = yield from self._until(self._json.value)
            yield from self._until(lambda: skip(":"))
            if (fields := fields + 1) > MAX_FIELDS:
                raise ManifestError(f"line {line}: has more than {MAX_FIELDS:,} fields; write its entries as files")
            if name == "manifest":
                raise ManifestError(f"line {line}: names another manifest, which is not read")
            if name == "files":
                yield from self._list()
            else:
                yield from self._until(self._json.value)
            if (yield from self._until(peek)) != "}":
                yield from self._until(lambda: skip(","))
        yield from self._until(lambda: skip("}"))

    def _list(self) -> Iterator[tuple[int, Any] | None]:
        skip, peek = self._json.skip, self._json.peek
        if self._seen:
            raise ManifestError(f"line {self._json.line}: has files twice")
        self._seen = True
        yield from self._until(lambda: skip("["))
        if (yield from self._until(peek)) != "]":
            yield (yield from self._until(self._json.value))
            while (yield from self._until(peek)) != "]":
                yield from self._until(lambda: skip(","))
                yield (yield from self._until(self._json.value))
        yield from self._until(lambda: skip("]"))

    def _until(self, read: Any) -> Any:
        """Call *read* until the text suffices; yield None whenever more is needed."""
        while True:
            try:
                return read()
            except _NeedMore:
                yield None
