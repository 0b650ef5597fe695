"""The scheduler with a clock and a memory of the test's own."""

from typing import cast

import pytest

from wheelsmith.compile.command import Unit
from wheelsmith.compile.cost_model import CostModel
from wheelsmith.compile.measured import Outcome, Reading
from wheelsmith.compile.memory import Usage
from wheelsmith.compile.scheduler import Capacity, Scheduler
from wheelsmith.compile.timeline import Timeline
from wheelsmith.documents.builds import RunHead
from wheelsmith.events import Event, Note, UnitDone

GB = 10**9
GOOD, KILLED = Outcome(0, 5.0, GB), Outcome(9, 5.0, GB, oom_kills=8)


class World:
    """A scheduler, and what it told."""

    def __init__(self, *, jobs=4, free=100 * GB, prior=GB, oom_kills=0, **more):
        self.now, self.free, self.kills = 0.0, free, oom_kills
        self.told: list[Event] = []
        self.sizes: dict[int, int] = {}
        self.timeline = Timeline(cast(RunHead, {}), cpus=4, earlier=[])
        capacity = Capacity(jobs, **more)
        self.scheduler = Scheduler(
            CostModel(prior), capacity, timeline=self.timeline, listener=self.told.append, oom_kills=oom_kills
        )

    def arrive(self, *numbers):
        for number in numbers:
            self.scheduler.arrive(number, Unit(f"{number}.cu", "cuda"), 100 + number, self.now)

    def decide(self):
        self.now += 1
        return self.scheduler.decide(
            Reading(self.now, self.free, {pid: Usage(size) for pid, size in self.sizes.items()}, self.kills)
        )

    def finish(self, number, outcome=GOOD):
        again = self.scheduler.finish(number, outcome, self.now)
        if not again:
            self.scheduler.leave(number)
        return again


def test_slots_follow_memory():
    world = World(free=7 * GB, prior=2 * GB, reserve=GB // 2)
    world.arrive(1, 2, 3, 4)
    assert world.decide() == (1, 2, 3)
    world.sizes, world.free = {101: 2 * GB, 102: 2 * GB, 103: 2 * GB}, GB
    assert world.decide() == ()
    world.finish(1)
    world.free = 3 * GB
    assert world.decide() == (4,)


def test_memory_that_others_take_meanwhile_is_seen():
    world = World(free=100 * GB)
    world.arrive(1)
    world.decide()
    world.arrive(2)
    world.free = GB // 2
    assert world.decide() == ()


def test_a_budget_holds_even_if_there_is_more():
    world = World(budget=3 * GB)
    world.arrive(1, 2, 3, 4)
    assert world.decide() == (1, 2, 3)
    world.sizes = {101: GB, 102: GB, 103: GB}
    assert world.decide() == ()


def test_memory_for_one_unit_only_is_enough_for_all_of_them_one_after_the_other():
    world = World(free=GB, prior=2 * GB, jobs=8)
    world.arrive(1, 2, 3)
    order = []
    for _ in range(3):
        (number,) = world.decide()
        assert world.decide() == ()
        assert not world.finish(number)
        order.append(number)
    assert order == [1, 2, 3]


def test_who_died_of_memory_runs_again_alone_and_the_rest_afterwards():
    world = World(jobs=3, oom_kills=7)
    world.arrive(1, 2, 3, 4)
    assert world.decide() == (1, 2, 3)
    world.sizes = {101: 4 * GB, 102: GB, 103: GB}
    world.decide()
    assert world.finish(1, KILLED)
    (note,) = [event for event in world.told if isinstance(event, Note)]
    assert note.warning
    assert note.text.startswith("1.cu died of memory at 4.00 GB (killed by SIGKILL, and the kernel counts a kill for")
    assert "beside 2 others, all together at 6.00 GB" in note.text
    assert world.decide() == ()  # the others end first
    world.finish(2)
    assert world.decide() == ()
    world.finish(3)
    assert world.decide() == (1,)
    assert world.decide() == ()  # nobody starts beside it
    assert not world.finish(1)
    assert world.decide() == (4,)
    assert world.scheduler.slots == 2
    assert [attempt["attempt"] for attempt in world.timeline.to_dict()["runs"][0]["units"]] == [1, 1, 1, 2]


@pytest.mark.parametrize("running", [1, 2])
def test_who_dies_alone_has_failed(running):
    world = World(jobs=running)
    world.arrive(*range(1, running + 1))
    world.decide()
    assert world.finish(1, KILLED) == (running > 1)
    if running > 1:
        world.finish(2)
        assert world.decide() == (1,)
        assert not world.finish(1, KILLED)
    assert "not enough memory" in [event for event in world.told if isinstance(event, Note)][-1].text


def test_a_lost_slot_comes_back_after_eight_good_units():
    world = World(jobs=2)
    world.arrive(1, 2)
    world.decide()
    world.finish(1, KILLED)
    world.finish(2)
    assert world.scheduler.slots == 1
    for number in (1, 3, 4, 5, 6, 7, 8):
        world.arrive(*([number] if number > 1 else []))
        assert world.decide() == (number,)
        world.finish(number)
    assert world.scheduler.slots == 2


def test_an_ordinary_error_is_passed_on():
    world = World()
    world.arrive(1, 2)
    world.decide()
    assert not world.finish(1, Outcome(1 << 8, 1.0, GB, errors="error: x is undefined"))
    assert [(event.name, event.status, event.again) for event in world.told] == [("1.cu", 1, False)]


def test_a_unit_that_fails_without_a_word_after_a_kill_has_died_of_memory():
    world = World(oom_kills=7)
    world.arrive(1, 2, 3)
    world.decide()
    assert not world.finish(1, Outcome(1 << 8, 1.0, GB, errors="x.cu(1): error: no", oom_kills=8))
    assert world.finish(2, Outcome(1 << 8, 1.0, GB, oom_kills=8))
    assert not world.finish(3, Outcome(1 << 8, 1.0, GB, oom_kills=8))  # that kill is accounted for


def test_a_death_takes_one_slot_and_not_all_those_of_a_units_threads():
    world = World(jobs=8)
    for number in (1, 2):
        world.scheduler.arrive(number, Unit(f"{number}.cu", "cuda", ("sm_80", "sm_90"), threads=4), 100 + number, 0)
    assert world.decide() == (1, 2)
    assert world.finish(1, KILLED)
    assert world.scheduler.slots == 7


def test_what_is_not_whole_stays_known_until_it_is_made():
    world = World()
    for number in (1, 2, 3):
        world.scheduler.arrive(number, Unit(f"{number}.cu", "cuda", output=f"/{number}.o"), 100 + number, 0)
    world.decide()
    assert world.scheduler.outputs == ("/1.o", "/2.o", "/3.o")
    world.finish(1)
    world.finish(2, Outcome(1 << 8, 1.0, GB))
    world.scheduler.leave(3)  # its wrapper was killed: it has no outcome
    assert list(world.scheduler.outputs) == ["/2.o", "/3.o"]
    world.scheduler.arrive(4, Unit("2.cu", "cuda", output="/2.o"), 104, 0)
    world.decide()
    world.finish(4)
    assert list(world.scheduler.outputs) == ["/3.o"]


def test_what_is_told_while_it_compiles():
    world = World(jobs=2)
    world.arrive(1, 2, 3)
    world.decide()
    world.sizes = {101: GB}
    world.decide()
    world.scheduler.step(10, 20)
    state = world.scheduler.state()
    assert (state.done, state.total, state.waiting, state.slots, state.memory) == (10, 20, 1, 2, GB)
    assert [(unit.name, unit.seconds, unit.memory) for unit in state.running] == [("1.cu", 1.0, GB), ("2.cu", 1.0, 0)]
    assert state.eta_seconds is None  # nothing of it was ever measured
    world.finish(1, Outcome(0, 0.1, GB, cache="hit"))
    assert isinstance(world.told[-1], UnitDone)
    state = world.scheduler.state()
    assert (state.units, state.hits, state.misses) == (1, 1, 0)


def test_the_time_left_is_that_of_the_work_left_on_the_slots_there_are():
    world = World(jobs=2)
    for number in range(1, 9):
        world.scheduler.model.learn(Unit(f"{number}.cu", "cuda"), GB, 20.0)
    world.scheduler.step(2, 10)
    world.arrive(1, 2, 3)
    world.decide()
    world.scheduler.step(2, None)
    assert world.scheduler.state().eta_seconds == 80.0  # the five that did not come yet are known from before
    world.scheduler.step(2, 6)
    assert world.scheduler.state().eta_seconds == 40.0  # only one of them will come
    world.now, world.sizes = 11.0, {}
    world.scheduler.decide(
        Reading(11.0, 100 * GB, {pid: Usage(0, 5.0, 1) for pid in (101, 102)})
    )  # others use the machine, too
    assert world.scheduler.state().eta_seconds == pytest.approx(30.0 + 40.0, rel=0.05)


def test_a_unit_of_which_all_would_wait_in_the_end_starts_with_its_passes_side_by_side():
    world = World(jobs=4)
    for name, seconds in {"long": 500.0, "short": 100.0}.items():
        world.scheduler.model.learn(Unit(name, "cuda", ("sm_80", "sm_90")), GB, seconds)
    world.scheduler.arrive(1, Unit("short", "cuda", ("sm_80", "sm_90"), passes=2), 101, 0)
    world.scheduler.arrive(2, Unit("long", "cuda", ("sm_80", "sm_90"), passes=2), 102, 0)
    world.scheduler.step(0, 2)
    assert world.decide() == (2, 1)
    assert [world.scheduler.width(number) for number in (2, 1)] == [2, 1]
    world.sizes = {102: 2 * GB, 101: GB}
    assert world.decide() == ()
    world.finish(2, Outcome(0, 500.0, GB))
    assert world.scheduler.model.estimate(Unit("long", "cuda", ("sm_80", "sm_90"))).peak == GB  # of one pass


def test_a_kill_from_before_a_unit_began_is_not_its_own():
    world = World(oom_kills=7)
    world.arrive(1)
    world.decide()
    world.kills = 8  # somebody else in the cgroup
    world.arrive(2)
    world.decide()
    assert not world.finish(2, Outcome(1 << 8, 1.0, GB, oom_kills=8))
    assert world.finish(1, Outcome(1 << 8, 1.0, GB, oom_kills=8))


def test_the_timeline_names_who_died_and_was_not_made_later():
    world = World(jobs=2)
    world.arrive(1, 2)
    world.decide()
    world.finish(1, KILLED)
    world.finish(2, Outcome(0, 1.0, GB))
    assert [attempt.name for attempt in world.timeline.dead] == ["1.cu"]
    world.decide()
    world.finish(1)
    assert world.timeline.dead == ()


def test_the_first_to_come_leave_their_slots_to_longer_units_that_are_known_to_come():
    world = World(jobs=2)
    for name, seconds in {"1.cu": 100.0, "2.cu": 120.0, "3.cu": 900.0, "4.cu": 1000.0}.items():
        world.scheduler.model.learn(Unit(name, "cuda"), GB, seconds)
    world.scheduler.step(0, 4)
    world.arrive(1, 2)
    assert world.decide() == ()
    world.arrive(3)
    assert world.decide() == (3,)
    world.now += 5  # nobody else has come: the fourth may never come
    assert world.decide() == (2,)


def test_nobody_waits_for_longer_units_where_somebody_else_chooses_who_comes():
    world = World(jobs=2, chosen=True)
    for name, seconds in (("1.cu", 5.0), ("2.cu", 6.0), ("3.cu", 900.0), ("4.cu", 800.0)):
        world.scheduler.model.learn(Unit(name, "cuda"), GB, seconds)
    world.arrive(1, 2)
    assert world.decide() == (2, 1)


def test_nobody_waits_for_units_that_nobody_knows_nor_for_long():
    world = World(jobs=1)
    for name, seconds in {"1.cu": 10.0, "2.cu": 20.0}.items():
        world.scheduler.model.learn(Unit(name, "cuda"), GB, seconds)
    world.scheduler.step(0, 2)
    world.arrive(1)
    assert world.decide() == ()  # the second is known to be longer
    world.now += 1.5  # a share of these few seconds only
    assert world.decide() == (1,)
