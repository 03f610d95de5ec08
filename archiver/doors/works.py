"""Works beside archives: commands, where `[commands]` of POLICY_FILE has any. Nothing of them is imported otherwise."""

from collections.abc import MutableMapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

from archiver.aws.clients import Clients
from archiver.aws.session import Session
from archiver.core.archive_rules import ArchiveRules
from archiver.core.messages import Kind
from archiver.jobs.work import Work
from archiver.ports import ObjectStore, QueueFacts
from archiver.settings import Environment
from archiver.stages.budget import BufferPool
from archiver.stages.fetch import Fetcher
from archiver.stages.receipt import Receipts
from archiver.worker.breaker import CircuitBreakers

if TYPE_CHECKING:
    from archiver.command.space import WorkSpace


class CommandParts(NamedTuple):
    """What commands share with archives: *store* and *receipts* of the bucket of archives, and how objects are read."""

    rules: ArchiveRules
    facts: QueueFacts
    clients: Clients
    session: Session
    breakers: CircuitBreakers
    fetcher: Fetcher
    budget: BufferPool
    store: ObjectStore
    receipts: Receipts


def open_command_space(settings: Environment, rules: ArchiveRules) -> "AbstractAsyncContextManager[WorkSpace | None]":
    """Open the directory that commands work in; None if there are no commands. Raises SettingsError."""
    if not rules.commands:
        return nullcontext()
    from archiver.doors.commands import open_work_space  # noqa: PLC0415 - nothing of it where it is off

    return open_work_space(settings, rules.commands)


def add_commands(
    works: MutableMapping[Kind, Work[Any]], settings: Environment, space: "WorkSpace | None", parts: CommandParts
) -> None:
    """
    Add the work of commands, which run in *space*, to *works*, and let archives keep from their jobs; None: there are
    none. Raises SettingsError.
    """
    if space is not None:
        from archiver.doors.commands import command_work  # noqa: PLC0415 - nothing of it where it is off
        from archiver.jobs.command_conflict import ArchivesBesideCommands  # noqa: PLC0415

        works["command"] = command_work(settings, space, parts)
        works["archive"] = ArchivesBesideCommands(works["archive"], parts.store)
