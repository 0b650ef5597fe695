import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheelsmith.compile.admission import PATIENCE, Decision, Running, Waiting, admit

GB = 10**9


@pytest.mark.parametrize(
    ("waiting", "running", "jobs", "free", "start"),
    [
        # the longest first, as many as there are slots
        ([Waiting(1, GB, 5), Waiting(2, GB, 50), Waiting(3, GB, 20)], [], 2, 9 * GB, (2, 3)),
        # a link goes before everything: others wait for it
        ([Waiting(1, GB, 50), Waiting(2, GB, 1, first=True)], [], 1, 9 * GB, (2,)),
        # what does not fit lets shorter ones go ahead
        ([Waiting(1, 6 * GB, 50), Waiting(2, GB, 5)], [Running(GB, GB)], 4, 2 * GB, (2,)),
        # …but not for ever
        ([Waiting(1, 6 * GB, 50, passed=PATIENCE), Waiting(2, GB, 5)], [Running(GB, GB)], 4, 2 * GB, ()),
        # a running unit's growth is reserved: 3 of its 4 GB are still to come
        ([Waiting(1, 2 * GB, 5)], [Running(GB, 4 * GB)], 4, 4 * GB, ()),
        ([Waiting(1, 2 * GB, 5)], [Running(GB, 4 * GB)], 4, 5 * GB, (1,)),
        # nothing fits, nobody runs: one runs all the same
        ([Waiting(1, 6 * GB, 5), Waiting(2, 7 * GB, 50)], [], 4, GB, (2,)),
        # nvcc --threads 4 is four, and not more than there may be
        ([Waiting(1, GB, 50, threads=4), Waiting(2, GB, 5)], [], 4, 99 * GB, (1,)),
        ([Waiting(1, GB, 50, threads=4)], [Running(GB, GB)], 4, 99 * GB, ()),
        ([Waiting(1, GB, 50, threads=4)], [], 2, 99 * GB, (1,)),
        # who died of memory gets the machine to itself: it waits for the others, they wait for it
        ([Waiting(1, GB, 5, alone=True), Waiting(2, GB, 50)], [Running(GB, GB)], 4, 99 * GB, ()),
        ([Waiting(1, GB, 5, alone=True), Waiting(2, GB, 50)], [], 4, 99 * GB, (1,)),
        ([Waiting(2, GB, 50)], [Running(GB, GB, alone=True)], 4, 99 * GB, ()),
        # those that nobody has measured before those that are known, however long these are
        ([Waiting(1, GB, 50), Waiting(2, GB, 5, guessed=True)], [], 1, 9 * GB, (2,)),
        ([], [], 4, 99 * GB, ()),
    ],
)
def test_who_starts(waiting, running, jobs, free, start):
    assert admit(waiting, running, jobs=jobs, free=free).start == start


@pytest.mark.parametrize(
    ("unit", "to_come", "free", "widths"),
    [
        (Waiting(1, GB, 100, passes=2), 270.0, 9 * GB, {1: 2}),  # 370 s of work on 4: they could be done at 93
        (Waiting(1, GB, 100, passes=2), 300.0, 9 * GB, {}),
        (Waiting(1, GB, 100, passes=9), 0.0, 9 * GB, {1: 3}),  # no more than there are slots
        (Waiting(1, GB, 100, passes=3), 0.0, 2 * GB, {1: 2}),  # nor than there is memory
        (Waiting(1, GB, 100, passes=2, guessed=True), 0.0, 9 * GB, {}),
        (Waiting(1, GB, 100, passes=2), float("inf"), 9 * GB, {}),
    ],
)
def test_who_starts_wide(unit, to_come, free, widths):
    decision = admit([unit], [Running(GB, GB)], jobs=4, free=free, to_come=to_come)
    assert (decision.start, decision.widths) == ((1,), widths)


def test_those_passed_over_are_named_only_when_somebody_went_ahead():
    big, small = Waiting(1, 6 * GB, 50), Waiting(2, GB, 5)
    assert admit([big, small], [Running(GB, GB)], jobs=4, free=2 * GB) == Decision((2,), (1,))
    assert admit([big], [Running(GB, GB)], jobs=4, free=2 * GB) == Decision()


sizes = st.integers(0, 50 * GB)
waiters = st.lists(
    st.builds(Waiting, st.integers(), sizes, st.floats(0, 1e4), st.integers(1, 8), st.booleans(), st.booleans()),
    min_size=1,
    unique_by=lambda unit: unit.id,
)


@given(waiters, st.lists(st.builds(Running, sizes, sizes, st.integers(1, 8))), st.integers(1, 16), sizes)
def test_it_never_stands_still_and_never_promises_memory_twice(waiting, running, jobs, free):
    start = admit(waiting, running, jobs=jobs, free=free).start
    assert running or start
    if running or len(start) > 1:
        promised = sum(unit.memory for unit in waiting if unit.id in start)
        growth = sum(max(0, unit.expected - unit.memory) for unit in running)
        alone = max((unit.memory for unit in waiting if unit.id in start), default=0)
        assert not start or promised + growth <= free or (not running and promised - alone + growth <= free)
