"""
Jobs that are resumed: what the first worker leaves, the calls of the worker that goes on, and a fault at each of them.

    first     killed once exactly the parts `Way.left` are stored: its other parts hang
    second    goes on; has the fault
    third     goes on without faults, if the second one has not ended the job
"""

import re
from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from .crashes import MODES, OLD, PAST_VISIBILITY, place
from .history import Exchange, History
from .http_streams import Answer, replace_header
from .operations import Call
from .rules import Action, EditHeader, ResetBefore, Rule, SideEffect, Stall
from .scenario import Scenario
from .scenario_config import MIB
from .worker_process import WorkerProcess, wait_until

PARTS = 4
SIZES = (20_000, 6 * MIB, 9 * MIB)  # three parts of 5 MiB, and the last one
SETTINGS = {"RESUME_FROM_MIB": "1"}
JOB_TIMEOUT = 60.0  # seconds
SENDS = ("UploadPart", "UploadPartCopy")
OVERTAKEN = "overtaken before"


@dataclass(frozen=True, slots=True)
class Way:
    """
    How the bytes of a job get into its archive: objects of *sizes* bytes in so many *parts*, those numbers *left* by
    the first worker. *strategy* of the request, *settings* of the workers.
    """

    name: str
    sizes: tuple[int, ...]
    parts: int
    left: frozenset[int]
    strategy: str
    settings: dict[str, str]

    def __str__(self) -> str:
        return self.name


READ = Way("read", SIZES, PARTS, frozenset({1, 3}), "stream", SETTINGS)
"""The parts 2 and 4 are missing."""
COPIED = Way("copied", (11 * MIB, 100, 12 * MIB), 5, frozenset({1, 2}), "copy", SETTINGS | {"MEMORY_BUDGET_MIB": "30"})
"""The parts 2 and 4 are copied: one is there, one is missing. Part 1 is read again, and not sent: it has a head."""
WAYS = (READ, COPIED)


class Point(NamedTuple):
    """One call of the worker that goes on: the *nth* of its kind. *place* is the same in every run."""

    op: str
    place: str
    nth: int = 1

    def __str__(self) -> str:
        return f"{self.op} {self.place} {self.nth}"


class TellCrcs(Action):
    """S3's answer to ListParts has the CRC-32 of each part; the emulator's has not."""

    def __init__(self, history: History) -> None:
        self._history = history

    async def after(self, exchange: Exchange, answer: Answer) -> Answer:
        sent = {
            each.call.part: each.facts["crc32"]
            for each in self._history.select(*SENDS)
            if each.committed is not None and each.call.upload == exchange.call.upload
        }

        def tell(found: re.Match[bytes]) -> bytes:
            crc = b64encode(sent[int(found[1])].to_bytes(4, "big"))
            return found[0] + b"<ChecksumCRC32>" + crc + b"</ChecksumCRC32>"

        body = re.sub(rb"<PartNumber>(\d+)</PartNumber>", tell, answer.body)
        return Answer(answer.status, replace_header(answer.headers, "Content-Length", str(len(body))), body)


def large_job(scenario: Scenario, way: Way = READ, *, tells_crcs: bool = True) -> None:
    """Send a request for an archive of several parts. The archive is the same in every scenario."""
    for op in ("HeadObject", "GetObject"):
        scenario.inject(EditHeader("Last-Modified", OLD), op, bucket=scenario.sources, times=None)
    if tells_crcs:
        scenario.inject(TellCrcs(scenario.history), "ListParts", times=None)
    scenario.send_request(scenario.put_objects(*way.sizes), strategy=way.strategy)


def end_at_part(scenario: Scenario, worker: WorkerProcess, number: int, *, after: bool = False) -> Rule:
    """Kill *worker* at its part *number*, before it is stored or after."""
    actions: tuple[Action, ...] = (SideEffect(before_it=worker.kill), ResetBefore())
    if after:
        actions = (SideEffect(after_it=worker.kill),)
    rules = [scenario.inject(action, "UploadPart", part=number, client=worker.name) for action in actions]
    return rules[0]


def parts_sent(scenario: Scenario, client: str | None = None) -> list[int]:
    """Return the numbers of the parts that were stored, copied or sent, by one worker or all."""
    calls = scenario.history.select(*SENDS)
    return [each.call.part or 0 for each in calls if each.committed is not None and client in (None, each.client)]


def left_job(scenario: Scenario, way: Way, *, tells_crcs: bool = True) -> None:
    """Run the job until exactly the parts `way.left` are stored, and kill its worker. Its message is visible again."""
    large_job(scenario, way, tells_crcs=tells_crcs)
    for number in {*range(1, way.parts + 1)} - way.left:
        for op in SENDS:
            scenario.inject(Stall(), op, part=number, client="first", times=None, when=lambda call: not call.is_look)
    worker = scenario.worker("first", **way.settings)
    wait_until(lambda: {*parts_sent(scenario)} == way.left, "the parts of the first worker", JOB_TIMEOUT)
    worker.kill()
    (job,) = scenario.jobs
    scenario.make_visible(job)


def calls_of_second(scenario: Scenario) -> list[Point]:
    """Return the calls of the worker that goes on, without the receives after its first."""
    seen: Counter[tuple[str, str]] = Counter()
    found = []
    for each in scenario.history.select(client="second"):
        kind = (each.op, place(scenario, each.call))
        seen[kind] += 1
        if each.op != "ReceiveMessage" or seen[kind] == 1:
            found.append(Point(*kind, seen[kind]))
    return found


def record(scenario: Scenario, way: Way) -> tuple[list[Point], bytes]:
    """Go on with the job without a fault. Return every call of the worker that does, and the archive's bytes."""
    left_job(scenario, way)
    scenario.worker("second", **way.settings)
    scenario.wait_deleted(seconds=JOB_TIMEOUT)
    scenario.finish()
    check_resumed(scenario, way)
    return calls_of_second(scenario), scenario.archive(scenario.jobs[0])


def run_resumed(scenario: Scenario, way: Way, point: Point, mode: str) -> bytes:
    """
    Leave the job, and go on with it with a fault of *mode* at *point* of the second worker. A third one completes it.
    Return the archive's bytes. Raises AssertionError if a promise is broken.
    """
    left_job(scenario, way)
    worker = scenario.worker("second", **way.settings)
    rules = [
        scenario.proxy.add(Rule(action, op=point.op, nth=point.nth, client="second", when=_at(scenario, point)))
        for action in _actions(scenario, way, worker, mode)
    ]
    (job,) = scenario.jobs
    killed = "killed" in mode
    wait_until(
        lambda: not worker.running or (scenario.ended(job) and not killed), "an exit or the job's end", JOB_TIMEOUT
    )
    if not scenario.ended(job) and mode != OVERTAKEN:
        scenario.worker("third", **way.settings)
    scenario.wait_deleted(seconds=JOB_TIMEOUT)
    assert all(rule.fired == 1 for rule in rules)
    scenario.finish()
    check_resumed(scenario, way)
    return scenario.archive(job)


def check_resumed(scenario: Scenario, way: Way) -> None:
    """One upload was begun, and whoever went on with it made none of the parts again that the first worker had left."""
    assert len(scenario.history.select("CreateMultipartUpload")) == 1
    again = way.left & {*parts_sent(scenario, "second"), *parts_sent(scenario, "third")}
    assert not again, f"the parts {again} were made again"


def _at(scenario: Scenario, point: Point) -> Callable[[Call], bool]:
    return lambda call: place(scenario, call) == point.place


def _actions(scenario: Scenario, way: Way, worker: WorkerProcess, mode: str) -> tuple[Action, ...]:
    if mode != OVERTAKEN:
        return MODES[mode](worker)

    def overtake() -> None:
        worker.suspend_for(PAST_VISIBILITY)
        scenario.worker("third", **way.settings)

    return (SideEffect(before_it=overtake),)
