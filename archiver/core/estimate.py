"""
Estimate the AWS calls, parts, cost and time of a job before it runs.

The counts follow from the plan. They are exact if nothing fails (a test compares them with the calls of real jobs);
for a compressed archive they are upper bounds. Cost and time are approximate: prices are list prices, and time depends
on the network between the worker and S3.
"""

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from archiver.core.copies import CopyPlan
from archiver.core.copy_ledger import copied_ledger
from archiver.core.layout import BUFFERS_PER_JOB, Layout, max_compressed_size, part_size_for
from archiver.core.ledger import Ledger
from archiver.core.plan import Member, ObjectVersion, Plan

# List prices in US dollars for each call, without taxes, discounts and free tiers: "Amazon S3 pricing" (request tiers
# of S3 Standard) and "Amazon SQS pricing" (standard queues). Bytes between S3 and a worker of its region are free.
PRICES_SOURCE = "us-east-1, 2025"
_READ_PRICE, _WRITE_PRICE, _QUEUE_PRICE = 0.0004 / 1000, 0.005 / 1000, 0.40 / 1_000_000
PRICES = {
    "HeadObject": _READ_PRICE,
    "GetObject": _READ_PRICE,
    "PutObject": _WRITE_PRICE,
    "CreateMultipartUpload": _WRITE_PRICE,
    "UploadPart": _WRITE_PRICE,
    "UploadPartCopy": _WRITE_PRICE,
    "CompleteMultipartUpload": _WRITE_PRICE,
    "ListMultipartUploads": _WRITE_PRICE,
    "ListObjectsV2": _WRITE_PRICE,
    "ReceiveMessage": _QUEUE_PRICE,
    "SendMessage": _QUEUE_PRICE,
    "DeleteMessage": _QUEUE_PRICE,
}

# docs/performance.md, one core without TLS: 2,800 small objects a second with two requests each, and 1 GB/s of large
# ones. Compression alone was measured at 310 MB/s of text, on the same machine.
SECONDS_PER_REQUEST = 1 / 5600
SECONDS_PER_BYTE = 1 / 1e9  # received and sent
SECONDS_PER_DEFLATED_BYTE = 1 / 3e8
MAX_CONCURRENT_READS = 128
MAX_CONCURRENT_UPLOADS = 4
MAX_BODY_BYTES = 1024 * 1024  # of an object that one GET brings whole
READ_AHEAD_CHUNKS = 8  # of a compressed archive, each an eighth of a part
SECONDS_PER_COPIED_BYTE = 1 / 85e6  # of each request that copies, at S3 ("Performance guidelines")
MAX_CONCURRENT_COPIES = 32
FIXED_ROUND_TRIPS = 6  # HEAD of the key, CreateMultipartUpload, the receipt, CompleteMultipartUpload, two lists


@dataclass(frozen=True, slots=True)
class Estimate:
    """
    *size* of the archive in bytes. *exact*: size and counts are exact, else they are upper bounds. *calls*: number of
    calls of each S3 and SQS operation; if many objects are large, some of the GETs are HEADs, at the same price.
    *copied* bytes do not leave the store. *dollars* and *seconds* are approximate.
    """

    size: int
    exact: bool
    parts: int
    part_size: int
    calls: dict[str, int]
    dollars: float
    seconds: float
    copied: int = 0


class Lookups(NamedTuple):
    """The calls that look for a request's objects: *heads* of distinct objects, and *listings* of prefixes."""

    heads: int
    listings: int = 0


def estimate(
    plan: Plan,
    lookups: Lookups,
    budget: int,
    latency: float,
    *,
    one_pass: bool = False,
    copies: CopyPlan | None = None,
) -> Estimate:
    """
    Estimate the job of *plan*, after the calls of *lookups*. *budget*: memory for bodies in bytes. *latency*: S3's
    seconds to the first byte. *one_pass*: no object is asked for before it is read. *copies*: what the store copies.

    Raises Rejected (`too_large`).
    """
    if plan.deflates:
        size = max_compressed_size(plan.members)
        part_size = part_size_for(size, budget // BUFFERS_PER_JOB)
        parts = -(-size // part_size)
        gets = sum(_count_chunks(member, part_size // READ_AHEAD_CHUNKS) for member in plan.members)
    else:
        layout = _laid_out(plan, budget, copies)
        size, part_size, parts = layout.length, layout.part_size, layout.parts
        gets = sum(isinstance(layout.members[read.member].content, ObjectVersion) for read in layout.reads())
        if one_pass and lookups.heads:
            gets, lookups = _count_one_pass_gets(layout), lookups._replace(heads=0)
    denied, missing = _count_problems(plan)
    gets += denied
    copied = len(copies.copies) if copies is not None else 0
    calls = _calls(Lookups(lookups.heads + denied + missing, lookups.listings), gets, parts, copied)
    trips = _count_round_trips(plan, lookups, gets, parts - copied, budget)
    return Estimate(
        size=size,
        exact=not plan.deflates,
        parts=parts,
        part_size=part_size,
        calls=calls,
        dollars=sum(count * PRICES[name] for name, count in calls.items()),
        seconds=max(_cpu_seconds(plan, sum(lookups) + gets, copies), trips * latency, _copy_seconds(copies)),
        copied=copies.copied if copies is not None else 0,
    )


def _laid_out(plan: Plan, budget: int, copies: CopyPlan | None) -> Ledger:
    if copies is not None:
        return copied_ledger(plan.members, copies)
    return Layout.for_max_part(plan.members, budget // BUFFERS_PER_JOB)


def _calls(lookups: Lookups, gets: int, parts: int, copied: int = 0) -> dict[str, int]:
    """
    Count the calls, in call order; of *parts* parts, *copied* are copied. One HEAD more than for objects: it checks
    whether the archive exists. One PutObject writes the receipt.
    """
    calls = Counter({"ReceiveMessage": 1, "HeadObject": lookups.heads + 1, "ListObjectsV2": lookups.listings})
    calls["GetObject"] = gets
    if parts == 1:
        calls["PutObject"] = 2
    else:
        calls.update({"CreateMultipartUpload": 1, "UploadPartCopy": copied, "UploadPart": parts - copied})
        calls.update({"PutObject": 1, "CompleteMultipartUpload": 1})
    calls.update({"SendMessage": 1, "ListMultipartUploads": 1, "ListObjectsV2": 1, "DeleteMessage": 1})
    return {name: count for name, count in calls.items() if count}


def _count_one_pass_gets(layout: Ledger) -> int:
    """Count a GET for each member; a large object is then read in ranges."""
    objects = [isinstance(member.content, ObjectVersion) for member in layout.members]
    ranges = sum(objects[read.member] and layout.members[read.member].size > MAX_BODY_BYTES for read in layout.reads())
    return sum(objects) + ranges


def _count_problems(plan: Plan) -> tuple[int, int]:
    """
    Count the objects that are denied, and those that can't be read for other reasons: each is asked for twice. HEAD
    returns only 403 for a denied one, so it needs a GET, too, to learn the error code.
    """
    denied = {problem.source for problem in plan.outcome.missing if problem.code == "source_denied"}
    others = {
        problem.source for problem in plan.outcome.missing if problem.code in ("source_missing", "source_archived")
    }
    return len(denied), len(others)


def _count_chunks(member: Member, size: int) -> int:
    return -(-member.size // size) if isinstance(member.content, ObjectVersion) else 0


def _copy_seconds(copies: CopyPlan | None) -> float:
    if copies is None:
        return 0.0
    waves = -(-len(copies.copies) // MAX_CONCURRENT_COPIES)
    return waves * max(each.length for each in copies.copies) * SECONDS_PER_COPIED_BYTE


def _cpu_seconds(plan: Plan, requests: int, copies: CopyPlan | None) -> float:
    """Return the seconds of one core."""
    size = sum(member.size for member in plan.members) - (copies.copied if copies is not None else 0)
    compressed = sum(member.size for member in plan.members if member.deflate)
    return requests * SECONDS_PER_REQUEST + size * SECONDS_PER_BYTE + compressed * SECONDS_PER_DEFLATED_BYTE


def _count_round_trips(plan: Plan, lookups: Lookups, gets: int, parts: int, budget: int) -> int:
    """Count the consecutive round trips to S3. Concurrent ones count once."""
    if plan.deflates:
        reading, sending = -(-gets // READ_AHEAD_CHUNKS), parts
    else:
        # The budget limits the number of bodies in flight.
        mean_size = max(1, sum(member.size for member in plan.members) // max(1, gets))
        reading = -(-gets // max(1, min(MAX_CONCURRENT_READS, budget // mean_size)))
        sending = -(-parts // MAX_CONCURRENT_UPLOADS)
    return -(-lookups.heads // MAX_CONCURRENT_READS) + lookups.listings + max(reading, sending) + FIXED_ROUND_TRIPS


def count_requests(plan: Plan, budget: int, copies: CopyPlan | None, *, one_pass: bool = False) -> int:
    """Count the calls to S3 that the archive of *plan* takes, if none fails; listings not included."""
    calls = estimate(plan, Lookups(plan.heads), budget, 0.0, one_pass=one_pass, copies=copies).calls
    return sum(count for name, count in calls.items() if not name.endswith("Message"))
