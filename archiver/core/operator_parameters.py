"""
`[commands.NAME.parameters]` and `[commands.NAME.arguments]` of the operator's policy file: what requests may fill in.

    [commands.thumbnails.parameters]
    width = { type = "integer", min = 16, max = 4096, default = 256 }
    [commands.thumbnails.arguments]
    "--format" = { type = "parameter", choices = ["jpg", "png"] }
    positional = [{ type = "input" }, { type = "output" }]
"""

import posixpath
from dataclasses import replace
from typing import Any, cast, get_args

from archiver.core.command_fields import MAX_NAME_LENGTH
from archiver.core.command_values import ValueProblem, check_value, check_values
from archiver.core.commands import NOWHERE, AllowedArgument, ArgumentType, Parameter, ParameterType
from archiver.core.entries import MAX_PATTERN_LENGTH
from archiver.core.patterns import Pattern
from archiver.core.policy_fields import Fields, flag, number, places, text, texts

_TEXT, _NUMBER = ("pattern", "choices", "dash", "default"), ("min", "max", "dash", "default")
_KEYS: dict[ParameterType, tuple[str, ...]] = {
    "text": _TEXT,
    "text_list": _TEXT,
    "integer": _NUMBER,
    "number": _NUMBER,
    "boolean": ("default",),
    "s3_uri": ("allowed", "default"),
    "path": ("under", "default"),
    "input": (),
    "output": (),
}
_NO_TEXTS: tuple[str, ...] = ()
_PATTERN = f"an expression of RE2 of at most {MAX_PATTERN_LENGTH} characters, for the whole value"
_FREE_TEXT = 'has neither pattern nor choices: write pattern = "[a-z]+" or choices = ["a", "b"], all that it may be'


def read_parameters(fields: Fields) -> dict[str, Parameter]:
    """Return the parameters of one command; what is wrong with them is reported."""
    found = {}
    for name in fields.table:
        if name == "arguments" or not 0 < len(name) <= MAX_NAME_LENGTH or set(name) & set("{}"):
            fields.report(
                name, f"can't be a name: write 1 to {MAX_NAME_LENGTH} characters, no braces, and not arguments"
            )
        found[name] = _parameter(fields.section(name))
    return found


def _parameter(fields: Fields) -> Parameter:
    kind = fields.take("type", text, "", f"one of {', '.join(_KEYS)}")
    if kind not in _KEYS:
        fields.report("type", f"should be one of {', '.join(_KEYS)}")
        return Parameter("boolean")
    before = len(fields.file.problems)
    fields.file.check_keys(fields.path, fields.table, ("type", *_KEYS[kind]))
    parameter = replace(_text_rules(fields, kind), min=_bound(fields, "min"), max=_bound(fields, "max"))
    if kind == "s3_uri":
        allowed = fields.take("allowed", places, NOWHERE, 'a list of places, such as ["bucket/prefix/"]')
        if "allowed" not in fields.table:
            fields.report_all('has no allowed: write allowed = ["bucket/prefix/"], all that it may name')
        parameter = replace(parameter, allowed=allowed)
    if kind == "path":
        under = fields.take("under", _folder, "", 'an absolute path other than /, without . and .., such as "/data"')
        if "under" not in fields.table:
            fields.report_all('has no under: write under = "/data", the folder that it must be in')
        parameter = replace(parameter, under=under or "/")
    if parameter.min is not None and parameter.max is not None and parameter.min > parameter.max:
        fields.report("min", "is above max")
    return parameter if len(fields.file.problems) > before else _with_default(fields, parameter)


def _bound(fields: Fields, name: str) -> float | None:
    return fields.take(name, number, None, "a number")


def _folder(value: Any) -> str:
    folder = text(value).rstrip("/")
    if not folder.startswith("/") or folder.startswith("//") or posixpath.normpath(folder) != folder:
        raise ValueError
    return folder


def _text_rules(fields: Fields, kind: ParameterType) -> Parameter:
    """Return a parameter with what a text may be. Without any, whoever sends requests could write anything."""
    pattern = fields.take("pattern", _pattern, None, _PATTERN)
    choices = fields.take("choices", texts, _NO_TEXTS, 'a list of texts, such as ["a", "b"]')
    dash = fields.take("dash", flag, False, "true or false")
    if kind in ("text", "text_list") and not {"pattern", "choices"} & set(fields.table):
        fields.report_all(_FREE_TEXT)
    if not dash and any(choice.startswith("-") for choice in choices):
        fields.report("choices", "has one that begins with -, as an option does: add dash = true")
    return Parameter(kind, pattern, choices, dash=dash)


def _pattern(value: Any) -> str:
    if len(text(value)) > MAX_PATTERN_LENGTH:
        raise ValueError
    Pattern(value)
    return str(value)


def _with_default(fields: Fields, parameter: Parameter) -> Parameter:
    if "default" not in fields.table:
        return parameter
    default = fields.table["default"]
    try:
        if parameter.type == "text_list":
            return replace(parameter, default=check_values(parameter, default))
        check_value(parameter, default)
    except ValueProblem as problem:
        fields.report("default", f"can't be used: it {problem}")
    return replace(parameter, default=default)


def read_arguments(fields: Fields) -> tuple[dict[str, AllowedArgument], tuple[AllowedArgument, ...]]:
    """Return the arguments of one command with a name, and those without; what is wrong with them is reported."""
    named = {name: _argument(fields.section(name), named=True) for name in fields.table if name != "positional"}
    listed = fields.table.get("positional", [])
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        fields.report("positional", 'should be a list: write positional = [{ type = "input" }, { type = "output" }]')
        listed = []
    path = (*fields.path, "positional")
    return named, tuple(_argument(Fields(fields.file, path, one), named=False) for one in listed)


def _argument(fields: Fields, *, named: bool) -> AllowedArgument:
    kinds = get_args(ArgumentType)
    kind = fields.take("type", text, "", f"one of {', '.join(kinds)}")
    if kind not in kinds:
        fields.report("type", f"should be one of {', '.join(kinds)}")
        return AllowedArgument("input")
    more = [*(["joined"] if named else []), *(["pattern", "choices", "dash"] if kind == "parameter" else [])]
    if named and kind == "parameter":
        more.append("flag")
    fields.file.check_keys(fields.path, fields.table, ("type", *more))
    joined = fields.take("joined", flag, False, "true or false")
    if kind != "parameter":
        return AllowedArgument(cast("ArgumentType", kind), joined=joined)
    bare = fields.take("flag", flag, False, "true or false")
    if bare and not {"pattern", "choices"} & set(fields.table):
        return AllowedArgument("parameter", flag=True)
    return AllowedArgument("parameter", _text_rules(fields, "text"), bare, joined)
