"""How a command ended, for its answer."""

from collections.abc import Sequence
from dataclasses import dataclass

from archiver.errors import Code, Rejected, SourceProblem


@dataclass(frozen=True, slots=True)
class StreamResult:
    """
    What a command wrote to standard output or standard error: *size* bytes. *uri*: the object that has them; None:
    *text* has their end, and *truncated* says whether it lacks their beginning.
    """

    size: int
    text: str = ""
    uri: str | None = None
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class StoredOutput:
    """An object that was written. *size* in bytes; *etag* as the store returns it."""

    destination: str
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class CommandResult:
    """
    The end of one run of the command *name*. *exit_code*: None if it was ended by *signal*; both None: it never
    started. *seconds*: of the run. *inputs*: number of objects that were read. *left_behind*: files below `out/` that
    no output names. *reused*: remembered from an earlier delivery.
    """

    name: str
    exit_code: int | None
    signal: int | None
    seconds: float
    stdout: StreamResult
    stderr: StreamResult
    inputs: int = 0
    outputs: Sequence[StoredOutput] = ()
    left_behind: int = 0
    reused: bool = False

    @property
    def streamed(self) -> int:
        """Bytes of standard output and standard error that are objects."""
        return sum(stream.size for stream in (self.stdout, self.stderr) if stream.uri is not None)


class CommandRejected(Rejected):
    """The command ran, and its end rejects the request. *result*: that end, for the failure answer."""

    result: CommandResult

    def __init__(self, code: Code, message: str, result: CommandResult, sources: Sequence[SourceProblem] = ()) -> None:
        super().__init__(code, message, sources)
        self.result = result
