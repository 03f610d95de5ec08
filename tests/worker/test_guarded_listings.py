"""Listings behind circuit breakers: an outage is told from a fault of one request by a listing of no request."""

import pytest
from fakes import FakeReader, FakeS3

from archiver.core.locations import Location
from archiver.core.select import Prefix
from archiver.errors import TransferInterrupted
from archiver.worker.breaker import MIN_FAILURES, CircuitBreakers
from archiver.worker.gate import ReceiveGate
from archiver.worker.guarded import GuardedReader, SourceProbes

PROBE = Location("source", ".archiver-check")


@pytest.mark.parametrize("bucket", ["source", "other"])
async def test_a_listing_that_fails_repeatedly_is_checked_with_one_of_the_same_store(bucket: str) -> None:
    s3 = FakeS3()
    s3.put("source", "a/1", b"")
    s3.put("other", "a/1", b"")
    reader, probed = FakeReader(s3), []

    async def probe_others() -> None:
        probed.append("other")

    guarded = GuardedReader(
        reader, SourceProbes("source", PROBE, probe_others), CircuitBreakers(ReceiveGate(), min_outage=0.0)
    )
    prefix = Prefix(Location(bucket, "a/"))
    reader.faults.plan("list", TransferInterrupted("cut"), times=MIN_FAILURES)
    for _ in range(MIN_FAILURES):
        with pytest.raises(TransferInterrupted):
            await guarded.list(prefix)

    assert (reader.lists, probed) == (([(Prefix(PROBE), "")], []) if bucket == "source" else ([], ["other"]))
    assert [one.key for one in (await guarded.list(prefix)).objects] == ["a/1"]
