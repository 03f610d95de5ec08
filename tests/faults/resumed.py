"""Jobs that are resumed: the calls of the worker that goes on, and what the emulator does not tell of parts."""

import re
from base64 import b64encode

from .crashes import MODES, OLD, place
from .history import Exchange, History
from .http_streams import Answer, replace_header
from .operations import Call
from .rules import Action, EditHeader, ResetBefore, Rule, SideEffect
from .scenario import Scenario
from .scenario_config import MIB
from .worker_process import WorkerProcess, wait_until

PARTS = 4
SIZES = (20_000, 6 * MIB, 9 * MIB)  # three parts of 5 MiB, and the last one
SETTINGS = {"RESUME_FROM_MIB": "1"}
JOB_TIMEOUT = 60.0  # seconds


class TellCrcs(Action):
    """S3's answer to ListParts has the CRC-32 of each part; the emulator's has not."""

    def __init__(self, history: History) -> None:
        self._history = history

    async def after(self, exchange: Exchange, answer: Answer) -> Answer:
        sent = {
            each.call.part: each.facts["crc32"]
            for each in self._history.select("UploadPart")
            if each.committed is not None and each.call.upload == exchange.call.upload
        }

        def tell(found: re.Match[bytes]) -> bytes:
            crc = b64encode(sent[int(found[1])].to_bytes(4, "big"))
            return found[0] + b"<ChecksumCRC32>" + crc + b"</ChecksumCRC32>"

        body = re.sub(rb"<PartNumber>(\d+)</PartNumber>", tell, answer.body)
        return Answer(answer.status, replace_header(answer.headers, "Content-Length", str(len(body))), body)


def large_job(scenario: Scenario, *, tells_crcs: bool = True) -> None:
    """Send a request for an archive of `PARTS` parts. The archive is the same in every scenario."""
    for op in ("HeadObject", "GetObject"):
        scenario.inject(EditHeader("Last-Modified", OLD), op, bucket=scenario.sources, times=None)
    if tells_crcs:
        scenario.inject(TellCrcs(scenario.history), "ListParts", times=None)
    scenario.send_request(scenario.put_objects(*SIZES))


def end_at_part(scenario: Scenario, worker: WorkerProcess, number: int, *, after: bool = False) -> Rule:
    """Kill *worker* at its part *number*, before it is stored or after."""
    actions: tuple[Action, ...] = (SideEffect(before_it=worker.kill), ResetBefore())
    if after:
        actions = (SideEffect(after_it=worker.kill),)
    rules = [scenario.inject(action, "UploadPart", part=number, client=worker.name) for action in actions]
    return rules[0]


def parts_sent(scenario: Scenario, client: str | None = None) -> list[int]:
    """Return the numbers of the parts that were stored, those of one worker or all."""
    calls = scenario.history.select("UploadPart")
    return [each.call.part or 0 for each in calls if each.committed is not None and client in (None, each.client)]


def left_job(scenario: Scenario) -> None:
    """Run the job until its worker is killed before the last part."""
    large_job(scenario)
    worker = scenario.worker("first", **SETTINGS)
    rule = end_at_part(scenario, worker, PARTS)
    wait_until(lambda: not worker.running, "the end of the first worker", JOB_TIMEOUT)
    assert rule.fired == 1


def calls_of_second(scenario: Scenario) -> list[tuple[str, str, int]]:
    """Return the calls of the worker that goes on: operation, place, and which of its kind."""
    seen: dict[tuple[str, str], int] = {}
    found = []
    for each in scenario.history.select():
        if each.client != "second":
            continue
        kind = (each.op, _place(scenario, each.call))
        seen[kind] = seen.get(kind, 0) + 1
        if each.op != "ReceiveMessage" or seen[kind] == 1:
            found.append((*kind, seen[kind]))
    return found


def _place(scenario: Scenario, call: Call) -> str:
    return place(scenario, call)


def run_resumed(scenario: Scenario, point: tuple[str, str, int], mode: str) -> bytes:
    """
    Leave the job, and go on with it with a fault of *mode* at *point* of the second worker. A third one completes it.
    Return the archive's bytes. Raises AssertionError if a promise is broken.
    """
    left_job(scenario)
    worker = scenario.worker("second", **SETTINGS)
    op, where, nth = point
    rules = [
        scenario.proxy.add(
            Rule(action, op=op, nth=nth, client="second", when=lambda call: _place(scenario, call) == where)
        )
        for action in MODES[mode](worker)
    ]
    (job,) = scenario.jobs
    wait_until(lambda: not worker.running or scenario.ended(job), "an exit or the job's end", JOB_TIMEOUT)
    if not scenario.ended(job):
        scenario.worker("third", **SETTINGS)
    scenario.wait_deleted(seconds=JOB_TIMEOUT)
    assert all(rule.fired == 1 for rule in rules)
    scenario.finish()
    return scenario.archive(job)
