"""The words of one run: values and arguments of a request, in the places that the operator's words give them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from archiver.core.command_fields import Argument
from archiver.core.command_order import Confined, Input, LocalPath, Output, Word, local_path
from archiver.core.command_values import (
    ValueProblem,
    as_text,
    check_place,
    check_uri,
    check_value,
    check_values,
    shown,
)
from archiver.core.commands import (
    ALL_ARGUMENTS,
    AllowedArgument,
    Command,
    CommandRules,
    Parameter,
    Placeholder,
    Template,
)
from archiver.core.locations import AllowList, Location
from archiver.errors import Rejected, SourceProblem

T = TypeVar("T")
Piece = str | LocalPath

_DIGEST_LENGTH = 64  # hex digits: the folder of an archive or result
_HEX = frozenset("0123456789abcdef")


@dataclass(slots=True)
class Files:
    """The objects of one run of *command*, as they come up; each once."""

    command: Command
    rules: CommandRules
    inputs: dict[tuple[Location, bool], Input] = field(default_factory=dict)
    outputs: dict[tuple[Location, bool], Output] = field(default_factory=dict)
    confined: list[Confined] = field(default_factory=list)

    def input(self, uri: object, *, prefix: bool = False) -> Input:
        """Take the object *uri* as an input. Raises ValueProblem, Rejected (`name_unsafe`, `source_not_allowed`)."""
        location = check_uri(uri, prefix=prefix)
        for allowed, told in ((self.command.inputs, "the command's inputs in POLICY_FILE"), _sources(self.rules)):
            if not allowed.allows(location):
                problem = SourceProblem(str(location), "source_not_allowed")
                raise Rejected("source_not_allowed", f"{str(location)[:200]} is outside {told}", [problem])
        path = "" if prefix else local_path("in", location)
        return self.inputs.setdefault((location, prefix), Input(str(uri), location, path, prefix))

    def output(self, uri: object, *, prefix: bool = False) -> Output:
        """Take *uri* as the place of an output. Raises ValueProblem, Rejected (`name_unsafe`)."""
        location = self.place(uri, prefix=prefix)
        path = f"out/{location.bucket}/{location.key}" if prefix else local_path("out", location)
        return self.outputs.setdefault((location, prefix), Output(str(uri), location, path, prefix))

    def place(self, uri: object, *, prefix: bool = False) -> Location:
        """Return the place *uri*, which the command may write. Raises ValueProblem."""
        location = check_uri(uri, prefix=prefix)
        check_place(location, self.command.outputs, "the command's outputs")
        if location.bucket == self.rules.destination_bucket and _may_be_of_jobs(location.key, prefix):
            raise ValueProblem(f"{str(location)[:200]} is where archives and results of jobs are")
        return location

    def confine(self, path: str, under: str) -> None:
        self.confined.append(Confined(path, under))


def _sources(rules: CommandRules) -> tuple[AllowList, str]:
    return rules.allowed, "the allowed sources (S3_ALLOWED_SOURCES)"


def _may_be_of_jobs(key: str, prefix: bool) -> bool:
    """Return whether *key*, or a file of the folder *key*, or what begins with it, is in the folder of a job."""
    digest, rest = key[:_DIGEST_LENGTH], key[_DIGEST_LENGTH:]
    if not set(digest) <= _HEX:
        return False
    return prefix if len(digest) < _DIGEST_LENGTH else rest[:1] in ("", "/")


def build_words(
    command: Command, values: Mapping[str, object], arguments: Sequence[Argument], files: Files
) -> tuple[Word, ...]:
    """
    Return the command line with *values* and *arguments* in it, and add the files that it names to *files*.

    Raises Rejected.
    """
    filled = _fill_parameters(command, values, files)
    given = _argument_words(command, arguments, files)
    words: list[Word] = []
    for template in command.argv:
        if template == (ALL_ARGUMENTS,):
            words += given
        else:
            words += _words_of(template, filled)
    return tuple(words)


def _words_of(template: Template, filled: Mapping[str, tuple[Piece, ...]]) -> list[Word]:
    """Return the words of *template*: one, unless it is a placeholder alone, whose parameter may be a list."""
    if len(template) == 1 and isinstance(template[0], Placeholder):
        return [Word((piece,)) for piece in filled[template[0].name]]
    return [Word(tuple(piece if isinstance(piece, str) else filled[piece.name][0] for piece in template))]


def _fill_parameters(command: Command, values: Mapping[str, object], files: Files) -> dict[str, tuple[Piece, ...]]:
    for name in values:
        if name not in command.parameters:
            raise Rejected("command_not_allowed", f"the command {command.name} has no parameter {shown(name)}")
    filled = {}
    for name, parameter in command.parameters.items():
        value = values.get(name)
        value = parameter.default if value is None else value
        if value is None:
            raise Rejected("invalid_request", f"the command {command.name} needs the parameter {name}")
        filled[name] = located(f"parameter {name}", _piece_maker(parameter, value, files))
    return filled


def _piece_maker(parameter: Parameter, value: object, files: Files) -> Callable[[], tuple[Piece, ...]]:
    def make() -> tuple[Piece, ...]:
        if parameter.type == "text_list":
            return check_values(parameter, value)
        if parameter.type == "input":
            return (LocalPath(files.input(value).path),)
        if parameter.type == "output":
            return (LocalPath(files.output(value).path),)
        word = check_value(parameter, value)
        if parameter.type == "path":
            files.confine(word, parameter.under or "/")
        return (word,)

    return make


def _argument_words(command: Command, arguments: Sequence[Argument], files: Files) -> list[Word]:
    words: list[Word] = []
    positional = iter(command.positional)
    for number, argument in enumerate(arguments, start=1):
        told = f"argument {number}" if argument.name is None else f"argument {number} ({shown(argument.name)})"
        allowed = next(positional, None) if argument.name is None else command.arguments.get(argument.name)
        if allowed is None:
            raise Rejected("command_not_allowed", f"{told} is not in the command {command.name} of POLICY_FILE")
        words += located(told, _word_maker(allowed, argument, files))
    if next(positional, None) is not None:
        count = len(command.positional)
        raise Rejected("invalid_request", f"the command {command.name} needs {count} arguments without a name")
    return words


def _word_maker(allowed: AllowedArgument, argument: Argument, files: Files) -> Callable[[], list[Word]]:
    def make() -> list[Word]:
        if argument.type != allowed.type:
            raise ValueProblem(f"is of the type {argument.type}; POLICY_FILE says {allowed.type}")
        if argument.value is None:
            if argument.name is None or not allowed.flag:
                raise ValueProblem("needs a value", "invalid_request")
            return [Word((argument.name,))]
        piece = _piece_of(allowed, argument.value, files)
        if argument.name is None:
            return [Word((piece,))]
        return [Word((f"{argument.name}=", piece))] if allowed.joined else [Word((argument.name,)), Word((piece,))]

    return make


def _piece_of(allowed: AllowedArgument, value: str | float, files: Files) -> Piece:
    if allowed.type == "input":
        return LocalPath(files.input(value).path)
    if allowed.type == "output":
        return LocalPath(files.output(value).path)
    if allowed.value is None:
        raise ValueProblem("takes no value")
    return check_value(allowed.value, as_text(value))


def located(told: str, decide: Callable[[], T]) -> T:
    """Call *decide*; what it says of a value is said of what is *told*. Raises Rejected."""
    try:
        return decide()
    except ValueProblem as problem:
        raise Rejected(problem.code, f"{told} {problem}") from None
    except Rejected as rejected:
        raise Rejected(rejected.code, f"{told}: {rejected.message}", rejected.sources) from None
