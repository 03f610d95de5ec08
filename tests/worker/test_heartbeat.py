"""Whether the process is well, as it knows itself and as its file tells others."""

import asyncio
from pathlib import Path

import pytest

from archiver.worker import heartbeat as module
from archiver.worker.heartbeat import Heartbeat, health_problem, heartbeat_file_problem


class Clock:
    """The time of a wall, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("beaten", "good", "well"),
    [(0, 0, True), (30, 30, True), (31, 31, False), (0, 120, True), (0, 121, False), (29, 29 + 121, False)],
)
def test_a_beat_is_late_after_half_a_minute_and_receiving_bad_after_two_minutes(
    beaten: float, good: float, well: bool
) -> None:
    assert (health_problem(1000, 1000 - beaten, 1000 - good) is None) == well


def test_receiving_that_fails_from_one_moment_on_is_trouble_until_it_works() -> None:
    clock = Clock()
    pulse = Heartbeat(clock)
    pulse.failed()
    clock.now += 100
    pulse.failed()
    pulse.beat()
    troubles = [pulse.problem]
    clock.now += 30
    pulse.beat()
    troubles.append(pulse.problem)
    pulse.received()
    troubles.append(pulse.problem)

    assert troubles == [None, "receiving has been failing for 130 s: the log says why", None]


def test_a_loop_that_does_not_turn_is_trouble() -> None:
    clock = Clock()
    pulse = Heartbeat(clock)
    clock.now += 31

    assert pulse.problem == "the last heartbeat was 31 s ago: the worker is stuck or gone"


async def test_the_file_tells_the_same_to_others_and_goes_with_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT_INTERVAL", 0.001)
    clock, file = Clock(), tmp_path / "heartbeat"
    pulse = Heartbeat(clock)
    keeping = asyncio.create_task(pulse.run(file))
    pulse.failed()
    clock.now += 121
    async with asyncio.timeout(5):
        while heartbeat_file_problem(file, clock.now) is None or "failing" not in str(
            heartbeat_file_problem(file, clock.now)
        ):
            await asyncio.sleep(0.001)

    assert heartbeat_file_problem(file, clock.now) == pulse.problem
    assert file.stat().st_size == 0
    keeping.cancel()
    await asyncio.wait([keeping])
    assert not file.exists()


def test_a_file_that_cannot_be_looked_at_is_trouble_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert "there is no heartbeat file" in str(heartbeat_file_problem(tmp_path / "none", 0))
    assert "can't be read: Not a directory" in str(heartbeat_file_problem(tmp_path / "file" / "below", 0))
