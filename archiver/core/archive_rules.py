"""The settings that determine what is in an archive, where it goes, and what requests may ask for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from archiver.core.attributes import (
    NO_ATTRIBUTE_RULES,
    NO_ATTRIBUTES,
    AttributeRules,
    Attributes,
    attributes_of,
    expiring,
)
from archiver.core.locations import AllowList, Role
from archiver.core.messages import Compression, Request, Strategy
from archiver.core.outline import SourceRules
from archiver.core.waiting import WaitRules
from archiver.errors import Rejected

if TYPE_CHECKING:
    from archiver.core.after import AfterRules
    from archiver.core.command_order import CommandOrder
    from archiver.core.commands import Command

NO_COMMANDS = (
    "this worker runs no commands; its operator can list them in [commands] of POLICY_FILE "
    "(a Lambda function runs none)"
)


@dataclass(frozen=True, slots=True)
class ArchiveRules:
    """
    Settings that determine an archive's content and key. *compression* and *strategy*: for requests that do not set it.
    *key_secret* None: keys of archives can be guessed. *max_files*, *max_bytes* (of all bodies together) None: no
    limit. *roles*: those that requests may name, by ARN. *attributes* of archives, and what requests may add to them.
    *waiting*: how long requests may wait, and what they may restore. *after*: what they may have done with the archived
    objects; None: nothing. *cancellation*: jobs can be cancelled. *commands*: what requests may have run, by name.
    """

    source_bucket: str | None
    destination_bucket: str
    allowed: AllowList
    compression: Compression = "store"
    file_prefix: str = "download"
    key_secret: str | None = field(default=None, repr=False)
    max_files: int | None = None
    max_bytes: int | None = None
    roles: Mapping[str, Role] = field(default_factory=dict)
    attributes: Attributes = NO_ATTRIBUTES
    attribute_rules: AttributeRules = NO_ATTRIBUTE_RULES
    waiting: WaitRules = field(default_factory=WaitRules)
    after: "AfterRules | None" = None
    cancellation: bool = False
    commands: "Mapping[str, Command]" = field(default_factory=dict)
    strategy: Strategy | None = None

    def attributes_of(self, request: Request) -> Attributes:
        """Return the attributes of the archive of *request*. Raises Rejected."""
        return attributes_of(request, self.attributes, self.attribute_rules)

    def attributes_of_answer(self, expires_in: str | None) -> Attributes:
        """Return those of an answer that is stored: the settings' ones, and the tag of a valid *expires_in*."""
        return expiring(self.attributes, expires_in, self.attribute_rules)

    def order_command(self, request: Request) -> "CommandOrder":
        """Decide the run that *request* asks for, which has a `command`. Raises Rejected."""
        if not self.commands:
            raise Rejected("command_not_allowed", NO_COMMANDS)
        from archiver.core.command_requests import order_command  # noqa: PLC0415 - nothing of it where it is off
        from archiver.core.commands import CommandRules  # noqa: PLC0415

        return order_command(request, CommandRules(self.commands, self.allowed, self.destination_bucket))

    @property
    def sources(self) -> SourceRules:
        """What requests may name."""
        return SourceRules(self.source_bucket, self.allowed, self.roles)
