"""Who compiles when: the state behind the jobserver, without sockets, clocks or processes of its own.

In: units that arrive, what the machine says (`Reading`), and how units ended. Out: who starts, who runs again, events,
and the record of all of it. It cannot fail.

A unit that died of memory is started once more when nobody else runs; if it dies then too, it has failed. Each death
takes a slot away; every eight units that end well give one back.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from wheelsmith.compile.admission import Waiting, admit
from wheelsmith.compile.command import Unit
from wheelsmith.compile.cost_model import LINK_SECONDS, Cost, CostModel
from wheelsmith.compile.deaths import Deaths
from wheelsmith.compile.forecast import Forecast, Left, Work
from wheelsmith.compile.measured import Outcome, Reading
from wheelsmith.compile.member import Member
from wheelsmith.compile.memory import GB
from wheelsmith.compile.timeline import Sample, Timeline
from wheelsmith.events import Compiling, Listener, Note, UnitAtWork, UnitDone

# Until the build tool has brought what it can, a unit leaves its slot to longer ones that are known to come: for this
# share of the build at most, and not when nobody has come for so many seconds. Recorded with vLLM on 60 cores: the
# longest units came 20 s after the first, and waited for up to 530 s.
_GATHERING, _QUIET = 0.04, 3.0
_FORGIVEN = 8  # units that end well, for each slot that a death took


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the units share.

    Attributes:
        jobs: compilers that may run at once, whatever the memory.
        budget: bytes that they may use together; None: as many as there are.
        reserve: bytes that stay free.
        brought: compilers that the build tool brings at once; where there are fewer, the rest of its steps wait for
            others: links. None: not known.
        chosen: somebody else has put those that come into the order of their length; nobody waits for longer ones.
    """

    jobs: int
    budget: int | None = None
    reserve: int = 0
    brought: int | None = None
    chosen: bool = False


class Scheduler:
    """Decides which units run.

    Args:
        model: what units take.
        capacity: what they share.
        oom_kills: how often the kernel had killed for memory before.
        timeline: where everything is recorded.
        listener: told of every unit that ended.
    """

    def __init__(
        self,
        model: CostModel,
        capacity: Capacity,
        *,
        timeline: Timeline,
        listener: Listener,
        oom_kills: int = 0,
    ) -> None:
        self.model, self._jobs, self._budget, self._reserve = model, capacity.jobs, capacity.budget, capacity.reserve
        self._brought, self._chosen = capacity.brought, capacity.chosen
        self._timeline, self._listener = timeline, listener
        self._members: dict[int, Member] = {}
        self._lowered, self._well, self._deaths = 0, 0, Deaths(oom_kills)
        self._done = self._hits = self._misses = 0
        self._spoiled: set[str] = set()
        self._reading = Reading(0.0, 0)
        self._uncached: set[str] = set()
        self._met: set[Unit] = set()
        self._forecast = Forecast()
        self._steps: tuple[int, int | None] = (0, None)
        self._counted: object = None  # what `_coming` and `_remembered` were found for
        self._coming: Sequence[Work] = ()
        self._remembered = False
        self._arrivals: tuple[float, float] | None = None  # the first and the last
        self.stopping = False  # nothing new starts

    @property
    def running(self) -> tuple[int, ...]:
        """The pids of the wrappers whose compilers run."""
        return tuple(member.pid for member in self._members.values() if member.started is not None)

    @property
    def waiting(self) -> tuple[int, ...]:
        """The numbers of those who wait."""
        return tuple(number for number, member in self._members.items() if member.started is None)

    @property
    def outputs(self) -> tuple[str, ...]:
        """What is not whole: what the running units write, and what those wrote that failed and were not made since."""
        written = {m.unit.output for m in self._members.values() if m.started is not None}
        return tuple(sorted((written | self._spoiled) - {""}))

    def width(self, number: int) -> int:
        """How many passes of a unit that has started shall run at once."""
        return self._members[number].width

    def step(self, done: int, total: int | None) -> None:
        """The build tool has done so many of its steps (None: it does not say of how many)."""
        self._steps = (done, total)

    def arrive(self, number: int, unit: Unit, pid: int, now: float) -> None:
        """A wrapper asks for a slot."""
        self._met.add(unit)
        self._arrivals = (self._arrivals[0] if self._arrivals else now, now)
        self._members[number] = Member(number, unit, pid, self.model.estimate(unit), now)

    def leave(self, number: int) -> None:
        """A wrapper is gone, with or without an outcome."""
        member = self._members.pop(number, None)
        if member is not None and member.started is not None and not member.ended:
            self._spoiled.add(member.unit.output)

    def watch(self, reading: Reading) -> None:
        """Take a reading."""
        seconds, self._reading = reading.now - self._reading.now, reading
        used = []
        for member in self._members.values():
            if member.started is None:
                if not member.cost.known:  # others may have taught something since it came
                    member.cost = self.model.estimate(member.unit)
                continue
            if usage := reading.usage.get(member.pid):
                used.append((max(0.0, usage.seconds - member.seconds), member.threads))
                member.memory, member.seconds = usage.memory, max(member.seconds, usage.seconds)
                member.narrow(usage.workers, reading.now)
            member.peak = max(member.peak, member.memory)
        self._forecast.watched(seconds, used)

    def decide(self, reading: Reading) -> tuple[int, ...]:
        """Take a reading; who starts now."""
        self.watch(reading)
        if self.stopping:
            return ()
        running = [member for member in self._members.values() if member.started is not None]
        waiting = [member for member in self._members.values() if member.started is None]
        to_come = sum(max(0.0, m.cost.cpu_seconds - m.seconds) for m in running)
        to_come += sum(work.expected for work in self._unseen())
        decision = admit(
            [self._waiting(m) for m in self._without_hasty(waiting, len(running), to_come)],
            [m.running() for m in running],
            jobs=self.slots,
            free=self.free,
            to_come=to_come,
        )
        for number in decision.passed:
            self._members[number].passed += 1
        for number in decision.start:
            self.begin(number, decision.widths.get(number, 1))
        return decision.start

    def begin(self, number: int, width: int) -> None:
        """A unit starts at the time of the last reading, with so many of its passes at once."""
        member = self._members[number]
        member.started, member.kills = self._reading.now, self._reading.oom_kills
        member.width = member.busy = width
        running = [other for other in self._members.values() if other.started is not None]
        if len(running) > 1:
            for other in running:
                other.shared = True

    def _without_hasty(self, waiting: list[Member], running: int, to_come: float) -> list[Member]:
        """Those who may start now, though longer units are still on their way (see `_GATHERING`)."""
        now, (first, last) = self._reading.now, self._arrivals or (0.0, 0.0)
        expected = (to_come + sum(member.cost.cpu_seconds for member in waiting)) / self.slots
        if self._chosen or not self._remembered or now - last > _QUIET or now - first > _GATHERING * expected:
            return waiting
        others = [work.expected for work in self._unseen()]
        seconds = sorted((*others, *(member.cost.cpu_seconds for member in waiting)), reverse=True)
        free = max(0, self.slots - running)
        if not free or len(seconds) <= free:
            return waiting
        return [m for m in waiting if m.alone or m.unit.kind == "link" or m.cost.cpu_seconds >= seconds[free - 1]]

    @property
    def slots(self) -> int:
        """How many may run at once, after what the deaths took away."""
        return max(1, self._jobs - self._lowered)

    @property
    def free(self) -> int:
        """Bytes that further compilers may take."""
        free = self._reading.free
        if self._budget is not None:
            free = min(free, self._budget - sum(member.memory for member in self._members.values()))
        return max(0, free - self._reserve)

    def finish(self, number: int, outcome: Outcome, now: float) -> bool:
        """A unit ended; whether it shall run again, when its turn comes."""
        member = self._members[number]
        started = now if member.started is None else member.started
        member.peak = max(member.peak, outcome.peak)
        sign = self._deaths.sign(outcome.status, outcome.errors, begun=member.kills, ended=outcome.oom_kills)
        again = bool(sign) and member.shared
        self._timeline.add(member.ended_as(outcome, started, now, sign))
        self._listener(
            UnitDone(
                member.unit.name,
                now - started,
                outcome.cpu_seconds,
                member.peak,
                os.waitstatus_to_exitcode(outcome.status),
                outcome.cache,
                again,
            )
        )
        member.ended = not again
        if outcome.status == 0:
            self._spoiled.discard(member.unit.output)
            self._praise(member, outcome, now)
        else:
            self._spoiled.add(member.unit.output)
        if sign:
            self._mourn(member, sign, again)
        return again

    def _mourn(self, member: Member, sign: str, again: bool) -> None:
        others = len(self.running) - 1
        width = sum(min(m.threads, self._jobs) for m in self._members.values() if m.started is not None)
        total = sum(m.memory for m in self._members.values() if m.started is not None)
        self.model.learn_death(member.unit, member.peak)
        member.cost = self.model.estimate(member.unit)
        before, self._well = self.slots, 0
        if others:
            self._lowered = self._jobs - max(1, min(before, width) - 1)
        what = (
            f"it runs again, alone, and then {self.slots} at once instead of {before}"
            if again
            else "nobody ran beside it: this machine has not enough memory for it"
        )
        text = (
            f"{member.unit.name} died of memory at {member.peak / GB:.2f} GB ({sign}), beside {others} others,"
            f" all together at {total / GB:.2f} GB, with {self._reading.free / GB:.2f} GB free; {what}"
        )
        self._listener(Note("compile", text, warning=True))
        if again:
            member.started, member.alone, member.shared, member.memory, member.peak = None, True, False, 0, 0
            member.seconds, member.width, member.busy = 0.0, 1, 1
            member.attempt += 1

    def _praise(self, member: Member, outcome: Outcome, now: float) -> None:
        self._done += 1
        ran = now - (now if member.started is None else member.started)
        guessed = member.cost.basis == "nothing"
        wide = max(member.width, member.unit.threads) > 1
        self._forecast.ended(Work(member.cost.cpu_seconds, guessed, outcome.cpu_seconds, ran, wide=wide))
        self._hits += outcome.cache == "hit"
        self._misses += outcome.cache in ("miss", "part")
        if outcome.uncached and outcome.uncached not in self._uncached:
            self._uncached.add(outcome.uncached)
            text = f"the compile cache cannot serve {member.unit.name} and its like: {outcome.uncached}"
            self._listener(Note("compile", text, warning=True))
        if outcome.cache not in ("hit", "part"):
            # Passes side by side need memory together that they never need one after the other.
            peak = member.peak if member.width == 1 else min(member.peak, member.cost.peak)
            self.model.learn(member.unit, peak, outcome.cpu_seconds)
        self._well += 1
        if self._lowered and self._well >= _FORGIVEN:
            self._lowered, self._well = self._lowered - 1, 0

    @property
    def rest(self) -> float | None:
        """Seconds until the last of the running units ends; None: nobody can know."""
        return self._forecast.rest([self._work(m) for m in self._members.values() if m.started is not None])

    def state(self) -> Compiling:
        """Where the build is."""
        now, (done, total) = self._reading.now, self._steps
        left = None if self.stopping else self._left()
        running = sorted(
            (m for m in self._members.values() if m.started is not None), key=lambda m: (m.started or 0, m.id)
        )
        return Compiling(
            done=done,
            total=total,
            units=self._done,
            running=tuple(UnitAtWork(m.unit.name, now - (m.started or now), m.memory) for m in running),
            waiting=len(self.waiting),
            slots=self.slots,
            memory=sum(m.memory for m in running),
            free=self.free,
            eta_seconds=self.rest if self.stopping or left is None else left.seconds,
            eta_between=None if left is None else (left.low, left.high),
            hits=self._hits,
            misses=self._misses,
            stopping=self.stopping,
        )

    def sample(self) -> Sample:
        """The present state, for the timeline."""
        members = self._members.values()
        used = sum(m.memory for m in members)
        return Sample(self._reading.now, used, self.free, len(self.running), len(self.waiting), self.slots)

    def _left(self) -> Left | None:
        """How long it takes yet, in wall time."""
        members = list(self._members.values())
        running = [self._work(member) for member in members if member.started is not None]
        waiting = [self._work(member) for member in members if member.started is None]
        unseen = self._unseen()
        if self._steps[1] is None and not self._remembered:
            return None
        # Where memory is short, fewer run than may.
        slots = sum(work.width for work in running) if running and waiting else self.slots
        return self._forecast.left(running, [*waiting, *unseen], slots, self.model.whole, here=self.model.here)

    def _unseen(self) -> Sequence[Work]:
        """The units that are still to come: as many as the build tool has steps left, the longest of those that earlier
        builds had, else as long as those that came, in the middle. Links only, when it brings no more than there are.
        """
        brought = self._brought is not None and len(self._members) < self._brought
        quiet = brought and self._reading.now - (self._arrivals or (0.0, 0.0))[1] > _QUIET
        state = (self._steps, len(self._met), len(self._members), quiet, self.model.version)
        if state != self._counted:
            (done, total), self._counted = self._steps, state
            costs = [self.model.estimate(unit) for unit in self._met]
            # Most of the units that came are those of an earlier build: the others will come as well.
            self._remembered = sum(cost.known for cost in costs) > len(costs) / 2
            known = self.model.others(self._met) if self._remembered else []
            known = [(unit, cost) for unit, cost in known if unit.kind == "link" or not quiet]
            others = sorted((_work(unit, cost) for unit, cost in known), key=lambda work: -work.expected)
            count = len(others) if total is None else max(0, total - done - len(self._members))
            if brought:
                rest = Work(LINK_SECONDS)
            else:
                middle = median(cost.cpu_seconds for cost in costs) if costs else 0.0
                rest = Work(middle, sum(cost.basis == "nothing" for cost in costs) > len(costs) / 2)
            self._coming = [*others, *[rest] * count][:count]
        return self._coming

    def _work(self, member: Member) -> Work:
        begun = member.started is not None
        return replace(
            _work(member.unit, member.cost),
            used=member.seconds,
            ran=self._reading.now - (member.started or 0.0) if begun else 0.0,
            width=member.threads if begun else 1,
            wide=max(member.width, member.unit.threads) > 1,
            doubt=self.model.doubt(member.unit, member.cost),
        )

    def _waiting(self, member: Member) -> Waiting:
        cost, unit = member.cost, member.unit
        return Waiting(
            id=member.id,
            memory=cost.peak,
            seconds=cost.cpu_seconds / unit.threads,
            threads=unit.threads,
            first=unit.kind == "link",
            alone=member.alone,
            passed=member.passed,
            passes=unit.passes,
            guessed=cost.basis == "nothing",
            doubt=self.model.doubt(unit, cost),
        )


def _work(unit: Unit, cost: Cost) -> Work:
    return Work(cost.cpu_seconds, cost.basis == "nothing" and unit.kind != "link", passes=unit.passes)
