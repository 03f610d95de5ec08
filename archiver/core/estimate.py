"""
What a job will take, before anything is written: calls of AWS, parts, money and time.

The counts follow from the plan and hold to the letter where nothing fails (a test compares them with the calls of real
jobs); of a compressed archive they are the most that can be. Money and time are rough: prices are list prices, and
time depends on what lies between the worker and S3.
"""

from collections import Counter
from dataclasses import dataclass

from archiver.core.layout import PARTS_PER_BUDGET, Layout, longest_compressed, part_size_for
from archiver.core.plan import Member, Pinned, Plan

# List prices in US dollars for each call, without taxes, discounts and free tiers: "Amazon S3 pricing" (request tiers
# of S3 Standard) and "Amazon SQS pricing" (standard queues). Bytes between S3 and a worker of its region are free.
PRICES_OF = "us-east-1, 2025"
_READ, _WRITE, _QUEUE = 0.0004 / 1000, 0.005 / 1000, 0.40 / 1_000_000
PRICES = {
    "HeadObject": _READ,
    "GetObject": _READ,
    "PutObject": _WRITE,
    "CreateMultipartUpload": _WRITE,
    "UploadPart": _WRITE,
    "CompleteMultipartUpload": _WRITE,
    "ListMultipartUploads": _WRITE,
    "ReceiveMessage": _QUEUE,
    "SendMessage": _QUEUE,
    "DeleteMessage": _QUEUE,
}

# docs/performance.md, one core without TLS: 2,800 small objects a second with two requests each, and 1 GB/s of large
# ones. Compression alone was measured at 310 MB/s of text, on the same machine.
READ_SECONDS = 1 / 5600  # for each request
BYTE_SECONDS = 1 / 1e9  # for each byte, in and out
DEFLATE_SECONDS = 1 / 3e8  # for each byte that is compressed
READS_AT_ONCE = 128
UPLOADS_AT_ONCE = 4
CHUNKS = 8  # read ahead for a compressed archive, each of an eighth of a part
STEPS = 4  # one after the other, beside reads and parts: a look at the key, begin, complete, the last look for uploads


@dataclass(frozen=True, slots=True)
class Estimate:
    """
    *size* in bytes; *exact*: it is the archive's to the byte, else it and all counts are upper bounds. *calls*: how
    often each operation of S3 and SQS is called. *dollars* and *seconds* are rough.
    """

    size: int
    exact: bool
    parts: int
    part_size: int
    calls: dict[str, int]
    dollars: float
    seconds: float


def estimate(plan: Plan, objects: int, budget: int, latency: float) -> Estimate:
    """
    What *plan* takes, whose request names *objects* different objects; *budget* is the memory for bodies in bytes,
    *latency* S3's seconds to the first byte. Raises Rejected (`too_large`).
    """
    if plan.deflates:
        size = longest_compressed(plan.members)
        part_size = part_size_for(size, budget // PARTS_PER_BUDGET)
        gets = sum(_chunks(member, part_size // CHUNKS) for member in plan.members)
    else:
        layout = Layout.within(plan.members, budget // PARTS_PER_BUDGET)
        size, part_size = layout.length, layout.part_size
        gets = sum(isinstance(layout.members[read.member].content, Pinned) for read in layout.reads())
    gets += _denied(plan)
    parts = -(-size // part_size)
    calls = _calls(objects, gets, parts)
    return Estimate(
        size=size,
        exact=not plan.deflates,
        parts=parts,
        part_size=part_size,
        calls=calls,
        dollars=sum(count * PRICES[name] for name, count in calls.items()),
        seconds=max(_working(plan, objects + gets), _waiting(plan, objects, gets, parts, budget) * latency),
    )


def _calls(objects: int, gets: int, parts: int) -> dict[str, int]:
    """In the order in which they are made: one HEAD more than objects looks whether the archive is there already."""
    calls = Counter({"ReceiveMessage": 1, "HeadObject": objects + 1, "GetObject": gets})
    if parts == 1:
        calls["PutObject"] = 1
    else:
        calls.update({"CreateMultipartUpload": 1, "UploadPart": parts, "CompleteMultipartUpload": 1})
    calls.update({"SendMessage": 1, "ListMultipartUploads": 1, "DeleteMessage": 1})
    return {name: count for name, count in calls.items() if count}


def _denied(plan: Plan) -> int:
    """HEAD says no more than 403: a GET asks each of these objects why."""
    return len({problem.source for problem in plan.outcome.missing if problem.code == "source_denied"})


def _chunks(member: Member, size: int) -> int:
    return -(-member.size // size) if isinstance(member.content, Pinned) else 0


def _working(plan: Plan, requests: int) -> float:
    """Seconds of one core."""
    size = sum(member.size for member in plan.members)
    compressed = sum(member.size for member in plan.members if member.deflate)
    return requests * READ_SECONDS + size * BYTE_SECONDS + compressed * DEFLATE_SECONDS


def _waiting(plan: Plan, objects: int, gets: int, parts: int, budget: int) -> int:
    """How many answers of S3 are waited for, one after the other: those side by side count once."""
    if plan.deflates:
        reading, sending = -(-gets // CHUNKS), parts
    else:
        # Bodies under way have to fit into the budget.
        usual = max(1, sum(member.size for member in plan.members) // max(1, gets))
        reading = -(-gets // max(1, min(READS_AT_ONCE, budget // usual)))
        sending = -(-parts // UPLOADS_AT_ONCE)
    return -(-objects // READS_AT_ONCE) + max(reading, sending) + STEPS
