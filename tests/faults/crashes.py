"""Faults at every call of a job. A second worker without faults must complete the job as if there had been no fault."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from .operations import NO_OBJECT, PUT_RECEIPT, Call
from .rules import Action, DropResponse, EditBody, EditHeader, ResetBefore, Rule, SideEffect, Stall
from .scenario import Scenario
from .scenario_config import MIB
from .worker_process import WorkerProcess, wait_until

VISIBILITY = 3  # seconds
PAST_VISIBILITY = VISIBILITY + 1.5  # seconds: past any lease that was not renewed
OLD = "Sat, 02 Jan 2021 03:04:06 GMT"
LISTED_DATE, LISTED_OLD = rb"<LastModified>[^<]*<", b"<LastModified>2021-01-02T03:04:06.000Z<"
MANIFEST = "lists/order.jsonl"
JOB_TIMEOUT = 40.0  # seconds: a few redeliveries


Way = Literal["in one pass", "planned", "selected", "copied"]
"""
Read in one pass; asked for by HEAD first; selected by the prefix in a manifest, and listed; or of a larger
photo, most of which the store copies by itself.
"""


@dataclass(frozen=True, slots=True)
class Point:
    """
    One call of the reference job: the *nth* of its kind. *place* is the same in every run. *way*: how the job asks for
    its objects.
    """

    op: str
    place: str
    nth: int = 1
    way: Way = "in one pass"

    def __str__(self) -> str:
        return f"{self.op}-{self.place}-{self.nth}{'' if self.way == 'in one pass' else f'-{self.way}'}"


STARTING = (
    Point("HeadBucket", "archives"),
    Point("HeadBucket", "sources"),
    *(Point(op, queue) for queue in ("out", "failures", "in") for op in ("GetQueueUrl", "GetQueueAttributes")),
    Point("ReceiveMessage", "in"),
)
READING = (
    Point("HeadObject", "archives"),
    Point("GetObject", "shoot/1.jpg"),
    Point("GetObject", "shoot/2.jpg", 1),  # given up at its head: the object is large
    Point("GetObject", "shoot/2.jpg", 2),
    Point("GetObject", "shoot/2.jpg", 3),
)
PLANNED_READING = (
    Point("HeadObject", "shoot/1.jpg", way="planned"),
    Point("HeadObject", "shoot/2.jpg", way="planned"),
    Point("GetObject", "shoot/1.jpg", way="planned"),
    Point("GetObject", "shoot/2.jpg", 1, way="planned"),
    Point("GetObject", "shoot/2.jpg", 2, way="planned"),
)
SELECTED_READING = (
    Point("HeadObject", MANIFEST, way="selected"),
    Point("GetObject", MANIFEST, way="selected"),
    Point("ListObjects", "sources", way="selected"),
    Point("GetObject", "shoot/1.jpg", way="selected"),
    Point("GetObject", "shoot/2.jpg", 1, way="selected"),
    Point("GetObject", "shoot/2.jpg", 2, way="selected"),
)
COPYING = (
    Point("HeadObject", "archives", way="copied"),
    Point("HeadObject", "shoot/1.jpg", way="copied"),
    Point("HeadObject", "shoot/2.jpg", way="copied"),
    Point("GetObject", "shoot/1.jpg", way="copied"),
    Point("GetObject", "shoot/2.jpg", way="copied"),  # its head
    Point("CreateMultipartUpload", "archives", way="copied"),
    Point("UploadPartCopy", "archives#2", way="copied"),
    Point("UploadPart", "archives#1", way="copied"),
    Point("UploadPart", "archives#3", way="copied"),
    Point(PUT_RECEIPT, "archives", way="copied"),
    Point("CompleteMultipartUpload", "archives", way="copied"),
)
WRITING = (
    Point("CreateMultipartUpload", "archives"),
    Point("UploadPart", "archives#1"),
    Point("UploadPart", "archives#2"),
    Point(PUT_RECEIPT, "archives"),
    Point("CompleteMultipartUpload", "archives"),
)
ENDING = (
    Point("SendMessage", "out"),
    Point("ListMultipartUploads", "archives"),
    Point("ListObjects", "archives"),
    Point("DeleteMessage", "in"),
)
ONE_PASS = (*STARTING, *READING, *WRITING, *ENDING)
"""Every call of the reference job in one pass. A test compares these lists with real runs."""
POINTS = (*ONE_PASS, *PLANNED_READING, *SELECTED_READING, *COPYING)
"""And the calls that a plan or a selection changes: all others are the same."""


def points_of(way: Way) -> set[Point]:
    """Return every call of the reference job that goes this *way*."""
    if way == "in one pass":
        return {*ONE_PASS}
    if way == "copied":
        return {*STARTING, *COPYING, *ENDING}
    return {*ONE_PASS} - {*READING[1:]} | {point for point in POINTS if point.way == way}


def place(scenario: Scenario, call: Call) -> str:
    """Return the target of *call*, named the same in every scenario."""
    if call.receiver is not None:
        return call.receiver
    if call.queue is not None:
        return scenario.role_of(call.queue)
    if call.is_look:
        return "nothing"
    part = f"#{call.part}" if call.part else ""
    if call.bucket == scenario.archives:
        return f"archives{part}"
    return call.key or "sources"


def reference_job(scenario: Scenario, way: Way = "in one pass") -> None:
    """
    Send a request for two photos, the second of which is read in two ranges, for an archive of two parts. Planned: with
    `on_missing: skip`, so that both are asked for by HEAD first. The archive is the same, but for that of copies.

    Last-Modified is the same in every run, so that the archives must be byte-identical.
    """
    for op in ("HeadObject", "GetObject"):
        scenario.inject(EditHeader("Last-Modified", OLD), op, bucket=scenario.sources, times=None)
    scenario.inject(EditBody(LISTED_DATE, LISTED_OLD), "ListObjects", bucket=scenario.sources, times=None)
    photos = scenario.put_objects(20_000, (11 if way == "copied" else 6) * MIB)
    if way == "selected":
        scenario.put(MANIFEST, b'{"prefix": "shoot/", "destination": "album"}')
        members = {f"album/{number}.jpg": photo for number, photo in enumerate(photos, 1)}
        scenario.send(None, members, manifest=MANIFEST)
    else:
        strategy = {"strategy": "copy"} if way == "copied" else {}
        scenario.send_request(photos, on_missing="skip" if way == "planned" else "fail", **strategy)


def settings_of(way: Way) -> dict[str, str]:
    """Return a worker's settings: copies take buffers of 10 MiB."""
    return {"MEMORY_BUDGET_MIB": "30"} if way == "copied" else {}


def calls_of(scenario: Scenario, way: Way = "in one pass") -> Iterator[Point]:
    """Yield the workers' calls in *scenario*, without the receives after the first."""
    of_sources = {point.place for point in (*PLANNED_READING, *SELECTED_READING)}
    copying = {(point.op, point.place) for point in COPYING} if way == "copied" else set()
    seen: Counter[tuple[str, str]] = Counter()
    for exchange in scenario.history.select():
        if way == "copied" and (exchange.call.key or "").startswith(NO_OBJECT):  # what a store must show first
            continue
        kind = (exchange.op, place(scenario, exchange.call))
        seen[kind] += 1
        if exchange.op != "ReceiveMessage" or seen[kind] == 1:
            looks = kind == ("HeadBucket", "sources")  # at the start
            own = kind in copying or (kind[1] in of_sources and not looks)
            yield Point(*kind, seen[kind], way if own else "in one pass")


Mode = Callable[[WorkerProcess], tuple[Action, ...]]
"""A kind of fault: the actions applied to one call of a worker, in order."""

MODES: dict[str, Mode] = {
    "fails before": lambda _: (ResetBefore(),),
    "response lost": lambda _: (DropResponse(),),
    "stalls": lambda _: (Stall(PAST_VISIBILITY),),
    "killed before": lambda worker: (SideEffect(before_it=worker.kill), ResetBefore()),
    "killed after": lambda worker: (SideEffect(after_it=worker.kill), DropResponse()),
    "terminated before": lambda worker: (SideEffect(before_it=worker.terminate),),
    "frozen before": lambda worker: (SideEffect(before_it=lambda: worker.suspend_for(PAST_VISIBILITY)),),
}


def run_with_fault(
    scenario: Scenario, point: Point, mode: str, settings: Mapping[str, str] = MappingProxyType({})
) -> bytes:
    """
    Run the reference job with a fault of *mode* at *point*. A second worker completes it without faults. *settings*:
    further ones of both.

    Return the archive's bytes.

    Raises AssertionError if the job does not complete or a promise is broken.
    """
    reference_job(scenario, point.way)
    settings = {**settings_of(point.way), **settings}
    worker = scenario.worker(**settings)
    rules = [
        scenario.proxy.add(
            Rule(action, op=point.op, nth=point.nth, when=lambda call: place(scenario, call) == point.place)
        )
        for action in MODES[mode](worker)
    ]
    (job,) = scenario.jobs
    killed = "killed" in mode
    wait_until(
        lambda: not worker.running or (scenario.ended(job) and not killed),
        "an exit or the job's end",
        JOB_TIMEOUT,
    )
    if not worker.running:
        assert killed or worker.exit_code() == 0
        if not scenario.ended(job):
            scenario.worker("clean", **settings)
    scenario.wait_deleted(seconds=JOB_TIMEOUT)
    assert all(rule.fired == 1 for rule in rules)
    scenario.finish()
    return scenario.archive(job)
