"""
`[defaults]` and `[commands.NAME]` of the operator's policy file: all that requests may have run.

    [commands.aws-s3-cp]
    argv    = ["aws", "s3", "cp", "--no-progress", "{source}", "{target}"]
    accepts = ["aws2 s3 cp {source} {target}", "aws s3 cp {source} {target}"]
    aws     = true
    [commands.aws-s3-cp.parameters]
    source = { type = "s3_uri", allowed = ["mybucket/"] }
    target = { type = "path", under = "/data" }
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast, get_args

from archiver.core.commands import NOWHERE, Command, CommandCredentials, Container, Limits, Pull
from archiver.core.operator_argv import check_argv, read_accepts, read_argv
from archiver.core.operator_parameters import read_arguments, read_parameters
from archiver.core.operator_roles import EXAMPLE, is_role_arn
from archiver.core.policy_fields import Fields, above_zero, count, exit_codes, flag, places, seconds, size, text
from archiver.core.policy_text import PolicyText

_LIMITS = {
    "timeout": (seconds, "a number of seconds, at most 43,200"),
    "disk": (size, "a number of bytes, or text such as 2GiB"),
    "memory": (size, "a number of bytes, or text such as 1GiB"),
    "cpus": (above_zero, "a number above 0"),
    "output": (size, "a number of bytes, or text such as 64KiB"),
    "max_inputs": (count, "a whole number above 0"),
}
_OF_DOCKER = ("image", "network", "pull")
_KNOWN = (
    *(
        "runner",
        "argv",
        "accepts",
        "description",
        *_OF_DOCKER,
        "aws",
        "role_arn",
        "profile",
        "env",
        "inputs",
        "outputs",
    ),
    *("overwrite", "retry_exit_codes", "at_most_once", "parameters", "arguments", *_LIMITS),
)
_PLACES = 'a list of places, such as ["bucket/prefix/"]'

_NAME = re.compile(r"[\w][\w./-]{0,127}", re.ASCII)
_IMAGE = re.compile(r"[a-z0-9][\w./:@-]{0,510}", re.ASCII)
_NETWORK = re.compile(r"[A-Za-z0-9][\w.:-]{0,127}", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def read_commands(file: PolicyText, document: Mapping[str, object]) -> dict[str, Command]:
    """Return the commands of *document*; what is wrong with `defaults` and `commands` is reported to *file*."""
    top = Fields(file, (), document)
    defaults = top.section("defaults")
    file.check_keys(("defaults",), defaults.table, list(_LIMITS))
    limits = _limits(defaults, Limits())
    found = {}
    section = top.section("commands")
    for name, value in section.table.items():
        fields = section.section(name)
        if not _NAME.fullmatch(name):
            section.report(
                name, "can't be a name: write letters, digits and _ . / -, beginning with one of the first three"
            )
        if fields.table is value:
            found[name] = _command(fields, name, limits)
    return found


def _limits(fields: Fields, defaults: Limits) -> Limits:
    given = {}
    for name, (convert, told) in _LIMITS.items():
        given[name] = fields.take(name, cast("Any", convert), getattr(defaults, name), told)
    return Limits(**given)


def _command(fields: Fields, name: str, defaults: Limits) -> Command:
    fields.file.check_keys(fields.path, fields.table, _KNOWN)
    named, positional = read_arguments(fields.section("arguments"))
    command = Command(
        name,
        argv=read_argv(fields),
        parameters=read_parameters(fields.section("parameters")),
        arguments=named,
        positional=positional,
        container=_container(fields),
        credentials=_credentials(fields),
        limits=_limits(fields, defaults),
        env=_env(fields.section("env")),
        inputs=fields.take("inputs", places, NOWHERE, _PLACES),
        outputs=fields.take("outputs", places, NOWHERE, _PLACES),
        overwrite=fields.take("overwrite", flag, False, "true or false"),
        retry_exit_codes=fields.take("retry_exit_codes", exit_codes, frozenset(), "a list of numbers from 1 to 255"),
        at_most_once=fields.take("at_most_once", flag, False, "true or false"),
        description=fields.take("description", text, "", "a text"),
    )
    check_argv(fields, command)
    return replace(command, accepts=read_accepts(fields, command.parameters))


def _container(fields: Fields) -> Container | None:
    runner = fields.take("runner", text, "native", "native or docker")
    if runner != "docker":
        if runner != "native":
            fields.report("runner", "should be native or docker")
        for name in _OF_DOCKER:
            if name in fields.table:
                fields.report(name, 'is of docker alone: add runner = "docker", or remove it')
        return None
    image = fields.take("image", _matching(_IMAGE), "", "the name of an image, such as registry.example.com/tool:1.2")
    if "image" not in fields.table:
        fields.report_all('has no image: write image = "registry.example.com/tool:1.2", or remove runner')
    for name, parameter in fields.section("parameters").table.items():
        if isinstance(parameter, dict) and parameter.get("type") == "path":
            fields.report("runner", f"can't be docker with the path {name}: a container sees only the files of its run")
    pull = fields.take("pull", _matching(re.compile("|".join(get_args(Pull)))), "never", "never or missing")
    network = fields.take("network", _matching(_NETWORK), "none", "the name of a network of docker, or none")
    return Container(image, network, cast("Pull", pull))


def _matching(pattern: re.Pattern[str]) -> Any:
    def convert(value: Any) -> str:
        if not pattern.fullmatch(text(value)):
            raise ValueError
        return str(value)

    return convert


def _credentials(fields: Fields) -> CommandCredentials | None:
    aws = fields.take("aws", flag, False, "true or false")
    role = fields.take("role_arn", text, None, "the ARN of a role")
    if role is not None and not is_role_arn(role):
        fields.report("role_arn", f'is not the ARN of a role: write role_arn = "{EXAMPLE}"')
    profile = fields.take("profile", text, None, "the name of a profile in AWS_PROFILES_CREDENTIALS")
    for name, value in (("role_arn", role), ("profile", profile)):
        if value is not None and not aws:
            fields.report(name, "has no effect without aws = true: add that, or remove it")
    if role is not None and profile is not None:
        fields.report("profile", "is there beside role_arn: a command has one of them")
    return CommandCredentials(role, profile) if aws else None


def _env(fields: Fields) -> dict[str, str]:
    found = {}
    for name in fields.table:
        if not _VARIABLE.fullmatch(name):
            fields.report(name, "is no name of a variable: write letters, digits and _")
        found[name] = fields.take(name, _env_value, "", "a text, in quotes, without NUL")
    return found


def _env_value(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError
    return value
