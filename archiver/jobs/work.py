"""Work: what is done for one kind of request. The pipeline does everything else."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from archiver.core.messages import Archive, Cancelled, Renamed, Request
from archiver.errors import Rejected, SourceProblem
from archiver.jobs.identity import JobIdentity
from archiver.ports import Hold
from archiver.stages.progress import Progress

if TYPE_CHECKING:
    from archiver.core.after import AfterResult
    from archiver.core.command_result import CommandResult


@dataclass(frozen=True, slots=True)
class Result:
    """
    What a finished job made, for its answer. *files* and *size* (bytes) count what was made; *archive*: None if the
    work makes none; *unlisted*: missing objects that *missing* does not list; *reused*: the result existed before;
    *problem*: of a ping, why its request would be rejected; *found*: how many of its objects are there, if it waits;
    *after*: what was done with the archived objects; *cancelled*: the job that a message cancels;
    *command*: how a command ended.
    """

    status: Literal["succeeded", "partial", "skipped", "alive", "cancelled"]
    files: int
    size: int
    archive: Archive | None = None
    missing: Sequence[SourceProblem] = ()
    renamed: Sequence[Renamed] = ()
    unlisted: int = 0
    reused: bool = False
    problem: Rejected | None = None
    found: int | None = None
    after: "AfterResult | None" = None
    cancelled: Cancelled | None = None
    command: "CommandResult | None" = None


Order = TypeVar("Order")


class Work(Protocol[Order]):
    """One kind of work."""

    def prepare(self, request: Request, job: JobIdentity) -> Order:
        """
        Decide what can be decided without I/O. Runs in a thread if the request is large. Raises Rejected.

        The order must hold all that `do` needs: the request's files are dropped afterwards, since 70,000 of them, held
        for the whole job, take 30 MiB.
        """

    async def do(self, order: Order, hold: Hold, progress: Progress) -> Result:
        """Do it. Raises any ArchiverError."""


class Unleased:
    """The Hold of work that no message asks for."""

    def confirm(self) -> None:
        """There is no lease to lose."""

    def end(self) -> None:
        """There is no slot to wait for."""

    @asynccontextmanager
    async def parked(self) -> AsyncIterator[None]:
        yield
