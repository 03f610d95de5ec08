"""
`argv` and `accepts` of a command in the operator's policy file: the words that run, and those that requests may send.
"""

from collections.abc import Mapping

from archiver.core.command_templates import parse_line, parse_word
from archiver.core.commands import ALL_ARGUMENTS, Command, Parameter, Placeholder, Template
from archiver.core.operator_code import check_code
from archiver.core.policy_fields import Fields, texts

_ARGV = 'write argv = ["program", "{parameter}"], with each word in quotes of its own'
_NO_TEXTS: tuple[str, ...] = ()


def read_argv(fields: Fields) -> tuple[Template, ...]:
    """Return the words of `argv`; what is wrong with them is reported."""
    words = fields.take("argv", texts, _NO_TEXTS, f"a list of words: {_ARGV}")
    if "argv" not in fields.table:
        fields.report_all(f"has no argv: {_ARGV}")
    found = []
    for word in words:
        try:
            found.append(parse_word(word))
        except ValueError as error:
            fields.report("argv", str(error))
    return tuple(found)


def check_argv(fields: Fields, command: Command) -> None:
    """Report placeholders that stand where they can't, or for nothing, and values that would go nowhere."""
    if not command.argv:
        return
    _check_placeholders(fields, command)
    _check_program(fields, command)
    check_code(fields, command)
    named = _names(command)
    if named.count(ALL_ARGUMENTS.name) > 1:
        fields.report("argv", "has {arguments} twice")
    if (command.arguments or command.positional) and ALL_ARGUMENTS.name not in named:
        fields.report("argv", "has no {arguments}: add it where the arguments of requests belong")
    for name in command.parameters:
        if name not in named:
            fields.report("argv", f"has no {{{name}}}: the parameter would go nowhere")


def _names(command: Command) -> list[str]:
    return [piece.name for word in command.argv for piece in word if isinstance(piece, Placeholder)]


def _check_placeholders(fields: Fields, command: Command) -> None:
    for name in _names(command):
        if name not in command.parameters and name != ALL_ARGUMENTS.name:
            fields.report(
                "argv", f"has {{{name}}}, which is no parameter: add it to parameters; write {{{{ for a brace"
            )
    for word in command.argv:
        for piece in word:
            if isinstance(piece, Placeholder) and len(word) > 1 and _takes_many(piece, command.parameters):
                fields.report(
                    "argv", f"has {{{piece.name}}} inside a word: it becomes several words, and needs one of its own"
                )


def _takes_many(piece: Placeholder, parameters: Mapping[str, Parameter]) -> bool:
    return piece == ALL_ARGUMENTS or (piece.name in parameters and parameters[piece.name].type == "text_list")


def _check_program(fields: Fields, command: Command) -> None:
    """Nothing of a request may choose the program, and none may come from the run's own directory."""
    first = command.argv[0]
    if command.container is not None and first == (ALL_ARGUMENTS,):
        return
    if len(first) > 1 or isinstance(first[0], Placeholder):
        fields.report("argv", "begins with a placeholder: the first word is the program, and yours alone")
    elif "/" in first[0] and not first[0].startswith("/"):
        fields.report("argv", f"begins with {first[0]}: write an absolute path, or a name that PATH finds")


def read_accepts(fields: Fields, parameters: Mapping[str, Parameter]) -> tuple[tuple[str | Placeholder, ...], ...]:
    """Return the command lines of `accepts`; what is wrong with them is reported."""
    told = 'a list of command lines, such as ["aws s3 cp {source} {target}"]'
    found = []
    for line in fields.take("accepts", texts, _NO_TEXTS, told):
        try:
            words = parse_line(line)
        except ValueError as error:
            fields.report("accepts", str(error))
            continue
        named = {word.name for word in words if isinstance(word, Placeholder)}
        for name in sorted(named):
            if name not in parameters or parameters[name].type == "text_list":
                fields.report("accepts", f"has {{{name}}}, which is no parameter of one word: add it to parameters")
        for name, parameter in parameters.items():
            if name not in named and parameter.default is None:
                fields.report("accepts", f"has no {{{name}}} in {line[:80]}, and the parameter has no default")
        found.append(words)
    return tuple(found)
