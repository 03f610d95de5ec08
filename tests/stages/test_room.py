"""Room for early bodies: what is in it is charged to the budget, and all of it is given back."""

from hypothesis import given
from hypothesis import strategies as st

from archiver.stages.budget import BufferPool
from archiver.stages.room import MAX_STEP_BYTES, Room

TOTAL = 64 * MAX_STEP_BYTES


@given(st.lists(st.integers(0, 2 * MAX_STEP_BYTES), max_size=20), st.randoms())
def test_bodies_in_the_room_are_charged_until_they_leave(sizes: list[int], order: object) -> None:
    """While no job reserves anything, none has to be given up."""
    budget = BufferPool(TOTAL)
    room = Room(budget, TOTAL // 4)
    held = [size for size in sizes if room.take(size)]
    order.shuffle(held)  # type: ignore[attr-defined]
    while held:
        assert sum(held) == room.used <= room.capacity == budget.used
        assert not room.overfull
        room.give(held.pop())

    assert room.used == budget.used == 0


def test_small_bodies_stay_when_most_of_the_room_is_given_back() -> None:
    room = Room(BufferPool(TOTAL), TOTAL)
    taken = [room.take(64 * 1024) for _ in range(7)]
    for _ in taken:
        room.give(57 * 1024)  # the bodies were smaller than expected

    assert all(taken)
    assert room.used == 49 * 1024
    assert not room.overfull


def test_room_that_is_needed_for_buffers_is_left_in_steps_as_far_as_it_is_needed() -> None:
    budget = BufferPool(TOTAL)
    room, revoked = Room(budget, TOTAL), list[bool]()
    room.on_revoked = lambda: revoked.append(room.overfull)
    assert room.take(4 * MAX_STEP_BYTES)

    assert room.revoke(MAX_STEP_BYTES + 1) == 2 * MAX_STEP_BYTES
    assert (room.charged, room.overfull, revoked) == (2 * MAX_STEP_BYTES, True, [True])
    assert room.revoke(TOTAL) == 2 * MAX_STEP_BYTES
    assert room.revoke(TOTAL) == 0
    assert budget.used == 4 * MAX_STEP_BYTES  # whoever takes the bytes accounts for them
