"""A job is broken at every one of its calls, in every way; a clean worker must end it as if nothing had happened."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .operations import Call
from .rules import Action, Do, DropAnswer, EditHeader, Hangup, Rule, Stall
from .setting import MIB
from .stage import Stage
from .worker import WorkerProcess, until

VISIBILITY = 3  # seconds
LONG = VISIBILITY + 1.5  # seconds: past any lease that was not renewed
OLD = "Sat, 02 Jan 2021 03:04:06 GMT"
PATIENCE = 40.0  # seconds: a few redeliveries


@dataclass(frozen=True, slots=True)
class Point:
    """One call of the reference job: the *nth* of its kind. *place* names it the same in every run."""

    op: str
    place: str
    nth: int = 1

    def __str__(self) -> str:
        return f"{self.op}-{self.place}-{self.nth}"


STARTING = (
    Point("HeadBucket", "archives"),
    Point("HeadBucket", "sources"),
    *(Point(op, queue) for queue in ("out", "failures", "in") for op in ("GetQueueUrl", "GetQueueAttributes")),
    Point("ReceiveMessage", "in"),
)
READING = (
    Point("HeadObject", "archives"),
    Point("HeadObject", "shoot/1.jpg"),
    Point("HeadObject", "shoot/2.jpg"),
    Point("GetObject", "shoot/1.jpg"),
    Point("GetObject", "shoot/2.jpg", 1),
    Point("GetObject", "shoot/2.jpg", 2),
)
WRITING = (
    Point("CreateMultipartUpload", "archives"),
    Point("UploadPart", "archives#1"),
    Point("UploadPart", "archives#2"),
    Point("CompleteMultipartUpload", "archives"),
)
ENDING = (
    Point("SendMessage", "out"),
    Point("ListMultipartUploads", "archives"),
    Point("DeleteMessage", "in"),
)
POINTS = (*STARTING, *READING, *WRITING, *ENDING)
"""Every call of the reference job. A test holds this list against a real run."""


def place(stage: Stage, call: Call) -> str:
    """Where *call* goes, by names that are the same in every scenario."""
    if call.queue is not None:
        return stage.role_of(call.queue)
    if call.is_look:
        return "nothing"
    part = f"#{call.part}" if call.part else ""
    if call.bucket == stage.archives:
        return f"archives{part}"
    return call.key or "sources"


def reference_job(stage: Stage) -> None:
    """
    Ask for two photos, the second of which is read in two ranges, in an archive of two parts.

    They look equally old in every run, so that the archives must be equal byte for byte.
    """
    stage.break_(EditHeader("Last-Modified", OLD), "HeadObject", bucket=stage.sources, times=None)
    stage.ask(stage.photos(20_000, 6 * MIB))


def calls_of(stage: Stage) -> Iterator[Point]:
    """The calls that were made on *stage*, but for the polls after the first."""
    seen: Counter[tuple[str, str]] = Counter()
    for exchange in stage.history.of():
        kind = (exchange.op, place(stage, exchange.call))
        seen[kind] += 1
        if exchange.op != "ReceiveMessage" or seen[kind] == 1:
            yield Point(*kind, seen[kind])


Mode = Callable[[WorkerProcess], tuple[Action, ...]]
"""A way to break a call of a worker: what befalls that call, one after the other."""

MODES: dict[str, Mode] = {
    "fails before": lambda _: (Hangup(),),
    "answer lost": lambda _: (DropAnswer(),),
    "stalls": lambda _: (Stall(LONG),),
    "killed before": lambda worker: (Do(before_it=worker.kill), Hangup()),
    "killed after": lambda worker: (Do(after_it=worker.kill), DropAnswer()),
    "terminated before": lambda worker: (Do(before_it=worker.terminate),),
    "frozen before": lambda worker: (Do(before_it=lambda: worker.freeze(LONG)),),
}


def broken_at(stage: Stage, point: Point, mode: str) -> bytes:
    """
    Run the reference job, break it at *point* in this *mode*, let a clean worker end it; the archive's bytes.

    Raises AssertionError where it isn't ended, or a promise is broken.
    """
    reference_job(stage)
    worker = stage.worker()
    rules = [
        stage.proxy.add(Rule(action, op=point.op, nth=point.nth, when=lambda call: place(stage, call) == point.place))
        for action in MODES[mode](worker)
    ]
    (job,) = stage.jobs
    killed = "killed" in mode
    until(lambda: not worker.running or (stage.ended(job) and not killed), "an end of any kind", PATIENCE)
    if not worker.running:
        assert killed or worker.exit_code() == 0
        if not stage.ended(job):
            stage.worker("clean")
    stage.wait_deleted(seconds=PATIENCE)
    assert all(rule.fired == 1 for rule in rules)
    stage.finish()
    return stage.archive(job)
