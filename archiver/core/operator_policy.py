"""
The operator's policy file (TOML): what requests may ask for beyond reading with the worker's own role.

Each section has a reader of its own. What no section lists is not allowed. All problems are reported at once, each with
its line where that is known, and with what to write instead.
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from archiver.core.after import NO_AFTER_RULES, AfterRules
from archiver.core.attributes import NO_ATTRIBUTE_RULES, AttributeRules
from archiver.core.locations import Role
from archiver.core.operator_after import read_after
from archiver.core.operator_archives import read_archives
from archiver.core.operator_callbacks import read_callbacks
from archiver.core.operator_roles import EXAMPLE, read_roles
from archiver.core.policy_text import PolicyText
from archiver.core.references import Reference, is_reference, parse_reference
from archiver.core.webhooks import NO_CALLBACKS, CallbackRules

if TYPE_CHECKING:
    from archiver.core.commands import Command

MAX_POLICY_BYTES = 1024 * 1024
SECTIONS: dict[str, Callable[[PolicyText, object], Any]] = {
    "roles": read_roles,
    "archives": read_archives,
    "after": read_after,
    "callbacks": read_callbacks,
}
OF_COMMANDS = ("defaults", "commands")

_UNQUOTED_ARN = re.compile(r"\s*\[\s*roles\s*\.\s*arn:")


class PolicyError(ValueError):
    """The policy file can't be used. *problems*: one sentence for each problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class OperatorPolicy:
    """
    What the file allows. *roles*: those that requests may name, by ARN; *archives*: what they may say of their
    archives; *after*: what they may have done with the archived objects; *callbacks*: where they may have their answers
    posted to; *commands*: what they may have run, by name.
    """

    roles: Mapping[str, Role]
    archives: AttributeRules = NO_ATTRIBUTE_RULES
    after: AfterRules = NO_AFTER_RULES
    callbacks: CallbackRules = NO_CALLBACKS
    commands: "Mapping[str, Command]" = field(default_factory=dict)

    @property
    def references(self) -> list[Reference]:
        """The references in it: to external ids."""
        texts = (role.external_id or "" for role in self.roles.values())
        return [parse_reference(text) for text in texts if is_reference(text)]

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the content of the file. Raises PolicyError with all its problems."""
        if len(data) > MAX_POLICY_BYTES:
            raise PolicyError([f"has more than {MAX_POLICY_BYTES:,} bytes: name the policy file itself"])
        try:
            text = data.decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise PolicyError([f"line {line}: is not UTF-8: save the file as UTF-8"]) from None
        file = PolicyText(text)
        document = _parse_toml(text)
        file.check_keys((), document, [*SECTIONS, *OF_COMMANDS])
        sections = {name: read(file, document.get(name, {})) for name, read in SECTIONS.items()}
        if any(name in document for name in OF_COMMANDS):
            from archiver.core.operator_commands import read_commands  # noqa: PLC0415 - nothing of it where it is off

            sections["commands"] = read_commands(file, document)
        policy = cls(**sections)
        if file.problems:
            raise PolicyError(file.problems)
        return policy


def _parse_toml(text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        unquoted = [number for number, line in enumerate(text.split("\n"), start=1) if _UNQUOTED_ARN.match(line)]
        if unquoted:
            problem = f'line {unquoted[0]}: an ARN needs quotes: write [roles."{EXAMPLE}"]'
        else:
            problem = f"is not TOML: {error}"
        raise PolicyError([problem]) from None
    except RecursionError:
        raise PolicyError(["is not TOML: it is nested too deeply"]) from None
