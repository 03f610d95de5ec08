"""
Commands: what the operator's policy file lets requests run.

A request chooses a command and fills in values. Program, image, options and limits are the operator's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from archiver.core.command_fields import Runner
from archiver.core.locations import AllowList

NOWHERE = AllowList("", {})

ParameterType = Literal["text", "integer", "number", "boolean", "s3_uri", "path", "text_list", "input", "output"]
ArgumentType = Literal["input", "output", "parameter"]
Pull = Literal["never", "missing"]

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A part of a command line that a request fills in: the parameter *name*."""

    name: str


ALL_ARGUMENTS = Placeholder("arguments")
"""A whole word of `argv` that all arguments of a request replace, in its order."""

Template = tuple[str | Placeholder, ...]
"""One word of the operator's command line."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """
    What a value may be. *pattern* (RE2, for the whole text) or *choices*: of text; *min*, *max*: of numbers, inclusive;
    *allowed*: of an S3 URI; *under*: the folder of a path, absolute. *default* None: a request must give a value.
    *dash*: it may begin with `-`.
    """

    type: ParameterType
    pattern: str | None = None
    choices: tuple[str, ...] = ()
    min: float | None = None
    max: float | None = None
    allowed: AllowList = NOWHERE
    under: str | None = None
    default: str | int | float | bool | tuple[str, ...] | None = None
    dash: bool = False


@dataclass(frozen=True, slots=True)
class AllowedArgument:
    """
    An argument that requests may give. *value*: what its value may be, of type `parameter`; None: it has none. *flag*:
    it may be its name alone. *joined*: name and value are one word, `--name=value`.
    """

    type: ArgumentType
    value: Parameter | None = None
    flag: bool = False
    joined: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """
    Of one run. *timeout* in seconds; *disk*: bytes of all its files; *memory* in bytes; *cpus*: processors (docker);
    *output*: bytes of standard output and of standard error each that an answer repeats; *max_inputs*: objects.
    """

    timeout: float = 600.0
    disk: int = 2048 * _MIB
    memory: int = 1024 * _MIB
    cpus: float = 1.0
    output: int = 64 * 1024
    max_inputs: int = 1000


@dataclass(frozen=True, slots=True)
class Container:
    """How docker runs a command. *network*: the name of one, or `none`."""

    image: str
    network: str = "none"
    pull: Pull = "never"


@dataclass(frozen=True, slots=True)
class CommandCredentials:
    """Whose AWS credentials a command gets: of *role_arn*, of *profile*, or, without both, the worker's own."""

    role_arn: str | None = None
    profile: str | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """
    A command of the operator's file. *argv*: its words; the first one of a native command is the program. *accepts*:
    command lines of requests that mean it. *container* None: it runs natively. *credentials* None: it gets none.
    *inputs*, *outputs*: the objects that it may read and write. *overwrite*: outputs may replace objects.
    """

    name: str
    argv: tuple[Template, ...]
    accepts: tuple[tuple[str | Placeholder, ...], ...] = ()
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    arguments: Mapping[str, AllowedArgument] = field(default_factory=dict)
    positional: tuple[AllowedArgument, ...] = ()
    container: Container | None = None
    credentials: CommandCredentials | None = None
    limits: Limits = Limits()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    inputs: AllowList = NOWHERE
    outputs: AllowList = NOWHERE
    overwrite: bool = False
    retry_exit_codes: frozenset[int] = frozenset()
    at_most_once: bool = False
    description: str = ""

    @property
    def runner(self) -> Runner:
        """What runs it."""
        return "docker" if self.container else "native"


@dataclass(frozen=True, slots=True)
class CommandRules:
    """
    What decides about requests for commands. *commands*, by name, in the file's order; *allowed*: the sources that any
    request may name; *destination_bucket*: of archives and remembered results, which no command may overwrite.
    """

    commands: Mapping[str, Command]
    allowed: AllowList
    destination_bucket: str
