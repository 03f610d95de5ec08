"""
Words of `argv` that a shell or an interpreter runs as code: no value of a request may stand in them.

The word after `-c` of a shell is read as a script, and so is a value in it: `x; rm -r /` would be two commands. A value
is safe in a word after the script, which gets it as `$1`.
"""

import re
from collections.abc import Iterator, Sequence

from archiver.core.commands import Command, Placeholder, Template
from archiver.core.policy_fields import Fields

_SHELLS = ("sh", "ash", "bash", "csh", "dash", "fish", "ksh", "mksh", "tcsh", "yash", "zsh")
_OPTIONS = {
    **dict.fromkeys(_SHELLS, "c"),
    "lua": "e",
    "node": "ep",
    "nodejs": "ep",
    "perl": "eE",
    "php": "r",
    "pypy": "c",
    "python": "c",
    "ruby": "e",
}
"""The options, by program, that code follows."""

_LONG = ("--command", "--eval", "--init-command", "--print", "--run", "--split-string")
_RUN_OTHERS = ("busybox", "chroot", "env", "ionice", "nice", "nohup", "setpriv", "setsid", "stdbuf", "sudo", "timeout")
"""Programs whose later words are the program that runs."""

_VERSION = re.compile(r"[-.\d]+$")
_TAKES_WORD = re.compile(r"[-+][a-zA-Z]*[oOWXI]")  # `-o pipefail`, `-W error`


def check_code(fields: Fields, command: Command) -> None:
    """Report a placeholder in a word of `argv` that runs as code."""
    for letters, words in _interpreters(command.argv):
        for word in _code(letters, words):
            named = next((piece.name for piece in word if isinstance(piece, Placeholder)), None)
            if named is not None:
                fields.report("argv", _TOLD.format(named=f"{{{named}}}", program=_literal(command.argv[0])))
                return


_TOLD = (
    "has {named} in what {program} runs as code: a value could be a command of its own. Write the code without it, and "
    'the value as a word behind it, such as ["sh", "-c", \'exec tool "$1"\', "sh", "{named}"]'
)


def _interpreters(words: Sequence[Template]) -> Iterator[tuple[str, Sequence[Template]]]:
    """Yield the options that code follows, and the words behind the program that has them."""
    first = _program(words[0])
    if first == "env":
        yield "S", words[1:]
    for at, word in enumerate(words):
        if _program(word) in _OPTIONS:
            yield _OPTIONS[_program(word)], words[at + 1 :]
            return
        if first not in _RUN_OTHERS:
            return


def _code(letters: str, words: Sequence[Template]) -> Iterator[Template]:
    """Yield the words that are code, or have some behind an option. Whatever follows the first operand is not."""
    is_option = re.compile(rf"-[A-Za-z]*[{letters}]")
    expected = skip = False
    for word in words:
        text = _literal(word)
        if skip:
            skip = False
        elif text[:1] in ("-", "+"):
            if is_option.match(text) or text.partition("=")[0] in _LONG:
                expected = True
                yield word
            skip = _TAKES_WORD.fullmatch(text) is not None
        elif expected:
            yield word
            expected = False
            if letters == "c":
                return
        else:
            return


def _program(word: Template) -> str:
    return _VERSION.sub("", _literal(word).rpartition("/")[2])


def _literal(word: Template) -> str:
    """Return what *word* begins with, up to its first placeholder."""
    return word[0] if isinstance(word[0], str) else ""
