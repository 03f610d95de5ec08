"""The worker at the end of a long, narrow way: 30 ms to every answer, 100 Mbit/s in either direction, TLS all along."""

from collections import Counter
from collections.abc import Callable
from io import BytesIO
from zipfile import ZipFile

import pytest
from faults.scenario import MIB, Scenario
from shaping import Shaper

from archiver.stages.gather import MIN_HEDGES

PART = 5 * MIB
S3 = ("HeadObject", "GetObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload")


@pytest.mark.slow
def test_archive_of_many_parts_is_made_at_one_go_and_its_lease_is_kept(open_scenario: Callable[..., Scenario]) -> None:
    """
    No time-out and no window of ours takes latency for a fault: nothing is asked for twice, but for a few small objects
    that all others wait for.
    """
    scenario = open_scenario(visibility=9)
    sizes = [20 * MIB, 20 * MIB, 8 * MIB, *[20_000] * 60]  # four seconds at the least, renewed every three
    with Shaper(scenario.proxy.listen("worker")) as shaper:
        worker = scenario.worker(AWS_ENDPOINT_URL=shaper.endpoint)
        sources = scenario.put_objects(*sizes)
        job = scenario.send_request(sources)
        scenario.wait_deleted()
        scenario.finish()

    keys = {job.key, *(source.key for source in sources)}
    calls = [
        call for call in scenario.history.select(*S3, client="worker") if call.call.key in keys
    ]  # but those of the start
    failed = [(call.op, call.call.key) for call in calls if not call.ok]
    large = [("GetObject", source.key) for source, size in zip(sources, sizes, strict=True) if size > MIB]
    # The archive is not there yet; a large object is given up at its head, or asked for by HEAD.
    assert failed[0] == ("HeadObject", job.key) and set(failed[1:]) <= set(large)
    asked = Counter((call.op, call.call.key, call.call.part, call.facts.get("range")) for call in calls)
    twice = [one for one, count in asked.items() if count > 1]
    assert all(op == "GetObject" and span is None for op, _, _, span in twice) and len(twice) <= MIN_HEDGES
    assert len(scenario.history.select("UploadPart")) == -(-sum(sizes) // PART)
    assert len(scenario.history.select("ChangeMessageVisibility")) > 0
    assert len(list(worker.events("job.received"))) == 1
    with ZipFile(BytesIO(scenario.archive(job))) as archive:
        assert [member.file_size for member in archive.infolist()] == sizes
        assert archive.testzip() is None
    assert min(shaper.up.carried, shaper.down.carried) > sum(sizes)
