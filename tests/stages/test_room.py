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
