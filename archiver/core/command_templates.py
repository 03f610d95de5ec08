"""
Command lines with placeholders: the operator's words, and those of requests, which are matched with them.

The words of a request never run. They only tell which command is meant, and what its placeholders stand for.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence

from archiver.core.command_fields import MAX_VALUE_LENGTH
from archiver.core.command_values import as_text
from archiver.core.commands import Placeholder, Template
from archiver.errors import Rejected

MAX_TEMPLATE_LENGTH = 8192
"""Maximum characters of a command line: it is split in Python, a microsecond for each."""

MAX_WORDS = 256
"""Maximum words of a command line."""

_TOKENS = re.compile(r"\{\{|\}\}|\{(?P<id>[^{}]*)\}|\{")


class TemplateProblem(ValueError):
    """A command line can't be used. The text says why."""


def parse_word(text: str) -> Template:
    """Split one word of the operator at its placeholders; `{{` and `}}` are braces. Raises TemplateProblem."""
    pieces: list[str | Placeholder] = []
    for piece in _pieces(text):
        if isinstance(piece, str) and pieces and isinstance(pieces[-1], str):
            pieces[-1] += piece
        else:
            pieces.append(piece)
    return tuple(pieces) or ("",)


def split_words(text: str) -> list[str]:
    """Split a command line as a POSIX shell does, without expanding anything. Raises TemplateProblem."""
    if len(text) > MAX_TEMPLATE_LENGTH:
        raise TemplateProblem(f"has more than {MAX_TEMPLATE_LENGTH:,} characters")
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise TemplateProblem(f"can't be split into words: {str(error).lower()}") from None
    if not 0 < len(words) <= MAX_WORDS:
        raise TemplateProblem(f"should have 1 to {MAX_WORDS} words")
    return words


def parse_line(text: str) -> tuple[str | Placeholder, ...]:
    """
    Return the words of a command line that the operator accepts. Raises TemplateProblem: a placeholder takes a whole
    word.
    """
    words: list[str | Placeholder] = []
    for word in split_words(text):
        pieces = parse_word(word)
        if len(pieces) > 1:
            raise TemplateProblem(f"has a placeholder inside the word {word[:80]}: it takes a whole word")
        words.append(pieces[0])
    return tuple(words)


def fill_template(template: str, values: Mapping[str, str | float]) -> list[str]:
    """
    Return the words of a request's command line with its *values* in them. It is split before any value is known, and
    placeholders are replaced once: no value becomes two words, or is looked at for placeholders.

    Raises Rejected (`invalid_request`).
    """
    try:
        return [_fill(word, values) for word in split_words(template)]
    except TemplateProblem as problem:
        raise Rejected("invalid_request", f"command_template {problem}") from None


def _fill(word: str, values: Mapping[str, str | float]) -> str:
    filled = []
    for piece in _pieces(word):
        if isinstance(piece, str):
            filled.append(piece)
        elif piece.name not in values:
            raise TemplateProblem(
                f"has {{{piece.name[:80]}}}, for which the request has no value; write {{{{ for a brace"
            )
        elif len(value := as_text(values[piece.name])) > MAX_VALUE_LENGTH:
            raise TemplateProblem(f"has {{{piece.name}}}, whose value has more than {MAX_VALUE_LENGTH:,} characters")
        else:
            filled.append(value)
    return "".join(filled)


def _pieces(word: str) -> Iterator[str | Placeholder]:
    """Yield literal texts and placeholders of *word*."""
    end = 0
    for token in _TOKENS.finditer(word):
        if token.start() > end:
            yield word[end : token.start()]
        end = token.end()
        if token["id"] is not None:
            yield Placeholder(token["id"])
        elif len(token[0]) == 1:
            raise TemplateProblem(f"has a {{ without }} in the word {word[:80]}: write {{{{ for a brace")
        else:
            yield token[0][0]
    if end < len(word):
        yield word[end:]


def unify(words: Sequence[str], accepted: Sequence[str | Placeholder]) -> dict[str, str] | None:
    """
    Return what the placeholders of an *accepted* command line stand for in *words*; None if they are not that line: it
    has as many words, and its literal ones are equal. A placeholder that occurs twice stands for one text.
    """
    if len(words) != len(accepted):
        return None
    bound: dict[str, str] = {}
    for word, pattern in zip(words, accepted, strict=True):
        if isinstance(pattern, Placeholder):
            if bound.setdefault(pattern.name, word) != word:
                return None
        elif word != pattern:
            return None
    return bound
