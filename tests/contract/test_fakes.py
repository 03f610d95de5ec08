"""The hooks of the fakes do what they say: tests of the stages lean on them."""

import asyncio
import zlib

import pytest
from fakes import FakeQueue, FakeReader, FakeS3, FakeStore, Faults, ManualClock

from archiver.errors import TransferInterrupted, TransientError
from archiver.ports import QueueFacts, Target

TARGET = Target("a.zip", "attachment", {})


async def test_the_nth_call_fails_and_the_others_do_not() -> None:
    faults = Faults()
    faults.plan("find", TransientError("busy"), nth=2)
    failed = []
    for number in (1, 2, 3):
        try:
            async with faults("find"):
                pass
        except TransientError:
            failed.append(number)
    assert failed == [2]
    assert faults.calls["find"] == 3


async def test_a_lost_answer_comes_after_the_deed() -> None:
    store = FakeStore(FakeS3())
    store.faults.plan("put", TransientError("the answer was lost"), after=True)
    with pytest.raises(TransientError, match="answer was lost"):
        await store.put(TARGET, memoryview(b"body"), zlib.crc32(b"body"))
    assert await store.find("a.zip") is not None


async def test_a_cut_read_leaves_its_good_bytes_and_says_how_many() -> None:
    s3 = FakeS3()
    location = s3.put("photos", "a.png", b"0123456789")
    reader = FakeReader(s3)
    reader.cut(location, after=4)
    info = await reader.head(location)
    into = bytearray(10)
    with pytest.raises(TransferInterrupted) as caught:
        await reader.read(location, info.etag, 0, [memoryview(into)[:3], memoryview(into)[3:]])
    assert caught.value.received == 4
    assert into == b"0123" + bytes(6)
    await reader.read(location, info.etag, 4, [memoryview(into)[4:]])
    assert into == b"0123456789"


async def test_the_gauge_knows_how_many_bytes_were_alive_at_once() -> None:
    store = FakeStore(FakeS3(), min_part_bytes=0)
    upload = await store.create_upload(TARGET)
    parts = [upload.upload_part(number, memoryview(b"x" * 100), zlib.crc32(b"x" * 100)) for number in (1, 2, 3)]
    await asyncio.gather(*parts)
    assert (store.gauge.peak, store.gauge.alive) == (300, 0)


async def test_a_message_that_was_received_too_often_goes_to_the_dead_letter_queue() -> None:
    clock, dead = ManualClock(), FakeQueue()
    queue = FakeQueue(QueueFacts("arn", 10, 43_200, 2), dead_letters=dead, clock=clock)
    queue.put("{}")
    for count in (1, 2):
        [message] = await queue.receive(1)
        assert message.receive_count == count
        clock.advance(11)
    assert await queue.receive(1) == []
    assert [message.body for message in dead.messages] == ["{}"]
