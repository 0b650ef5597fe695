"""Who compiles when: the state behind the jobserver, without sockets, clocks or processes of its own.

In: units that arrive, what the machine says (`Reading`), and how units ended. Out: who starts, who runs again, events,
and the record of all of it. It cannot fail.

A unit that died of memory is started once more when nobody else runs; if it dies then too, it has failed. Each death
takes a slot away; every eight units that end well give one back.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from wheelsmith.compile.admission import Running, Waiting, admit
from wheelsmith.compile.command import Unit
from wheelsmith.compile.cost_model import Cost, CostModel
from wheelsmith.compile.deaths import died_of_memory
from wheelsmith.compile.memory import GB
from wheelsmith.compile.timeline import Attempt, Sample, Timeline
from wheelsmith.events import Compiling, Listener, Note, UnitAtWork, UnitDone

_FORGIVEN = 8  # units that end well, for each slot that a death took


@dataclass(frozen=True, slots=True)
class Reading:
    """What the machine says: the time in seconds, bytes free, and bytes used by each wrapper's process tree."""

    now: float
    free: int
    sizes: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one run of a compiler ended, as its wrapper saw it.

    Wait status, CPU-seconds, peak RSS of its biggest process in bytes, what the cache did (`hit`, `part`: some of the
    device code, `miss`, or nothing), the end of stderr, how often the kernel has killed for memory by then, and why a
    cache was not used, if there was one.
    """

    status: int
    cpu_seconds: float
    peak: int
    cache: str = ""
    errors: str = ""
    oom_kills: int = 0
    uncached: str = ""


@dataclass(slots=True)
class _Member:
    """One wrapper and its unit."""

    id: int
    unit: Unit
    pid: int
    cost: Cost
    asked: float
    started: float | None = None
    alone: bool = False
    shared: bool = False  # others have run beside it
    attempt: int = 1
    passed: int = 0
    memory: int = 0
    peak: int = 0
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the units share.

    Attributes:
        jobs: compilers that may run at once, whatever the memory.
        budget: bytes that they may use together; None: as many as there are.
        reserve: bytes that stay free.
    """

    jobs: int
    budget: int | None = None
    reserve: int = 0


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
        self._timeline, self._listener = timeline, listener
        self._members: dict[int, _Member] = {}
        self._lowered, self._well, self._kills = 0, 0, oom_kills
        self._done = self._hits = self._misses = 0
        self._spoiled: set[str] = set()
        self._reading = Reading(0.0, 0)
        self._uncached: set[str] = set()
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

    def arrive(self, number: int, unit: Unit, pid: int, now: float) -> None:
        """A wrapper asks for a slot."""
        self._members[number] = _Member(number, unit, pid, self.model.estimate(unit), now)

    def leave(self, number: int) -> None:
        """A wrapper is gone, with or without an outcome."""
        member = self._members.pop(number, None)
        if member is not None and member.started is not None and not member.ended:
            self._spoiled.add(member.unit.output)

    def decide(self, reading: Reading) -> tuple[int, ...]:
        """Take a reading; who starts now."""
        self._reading = reading
        running = [member for member in self._members.values() if member.started is not None]
        for member in running:
            member.memory = reading.sizes.get(member.pid, member.memory)
            member.peak = max(member.peak, member.memory)
        if self.stopping:
            return ()
        waiting = [member for member in self._members.values() if member.started is None]
        for member in waiting:
            if not member.cost.known:  # others may have taught something since it came
                member.cost = self.model.estimate(member.unit)
        decision = admit(
            [_waiting(m) for m in waiting], [_running(m) for m in running], jobs=self.slots, free=self.free
        )
        for number in decision.passed:
            self._members[number].passed += 1
        for number in decision.start:
            self._members[number].started = reading.now
        running += [self._members[number] for number in decision.start]
        if len(running) > 1:
            for member in running:
                member.shared = True
        return decision.start

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
        sign = died_of_memory(outcome.status, outcome.errors) or self._silent_death(member, outcome)
        again = bool(sign) and member.shared
        self._timeline.add(_attempt(member, outcome, started, now, sign))
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
            self._praise(member, outcome)
        else:
            self._spoiled.add(member.unit.output)
        if sign:
            self._mourn(member, sign, again, outcome.oom_kills)
        return again

    def _silent_death(self, member: _Member, outcome: Outcome) -> str:
        """The kernel has killed somebody since the last death, and this unit failed without a word about an error."""
        killed = outcome.status != 0 and outcome.oom_kills > self._kills
        return "no error told" if killed and member.shared and "error" not in outcome.errors else ""

    def _mourn(self, member: _Member, sign: str, again: bool, oom_kills: int) -> None:
        others = len(self.running) - 1
        width = sum(min(m.unit.threads, self._jobs) for m in self._members.values() if m.started is not None)
        total = sum(m.memory for m in self._members.values() if m.started is not None)
        self.model.learn_death(member.unit, member.peak)
        member.cost = self.model.estimate(member.unit)
        before, self._well = self.slots, 0
        if others:
            self._lowered = self._jobs - max(1, min(before, width) - 1)
        kills, self._kills = oom_kills - self._kills, max(self._kills, oom_kills)
        told = f"; the kernel counts {kills} more killed for memory" if kills > 0 else ""
        what = (
            f"it runs again, alone, and then {self.slots} at once instead of {before}"
            if again
            else "nobody ran beside it: this machine has not enough memory for it"
        )
        text = (
            f"{member.unit.name} died of memory at {member.peak / GB:.2f} GB ({sign}{told}), beside {others} others,"
            f" all together at {total / GB:.2f} GB, with {self._reading.free / GB:.2f} GB free; {what}"
        )
        self._listener(Note("compile", text, warning=True))
        if again:
            member.started, member.alone, member.shared, member.memory, member.peak = None, True, False, 0, 0
            member.attempt += 1

    def _praise(self, member: _Member, outcome: Outcome) -> None:
        self._done += 1
        self._hits += outcome.cache == "hit"
        self._misses += outcome.cache in ("miss", "part")
        if outcome.uncached and outcome.uncached not in self._uncached:
            self._uncached.add(outcome.uncached)
            text = f"the compile cache cannot serve {member.unit.name} and its like: {outcome.uncached}"
            self._listener(Note("compile", text, warning=True))
        if outcome.cache not in ("hit", "part"):
            self.model.learn(member.unit, member.peak, outcome.cpu_seconds)
        self._well += 1
        if self._lowered and self._well >= _FORGIVEN:
            self._lowered, self._well = self._lowered - 1, 0

    @property
    def rest(self) -> float | None:
        """Seconds until the last of the running units ends, by what their like took; None: nobody can know."""
        running = [member for member in self._members.values() if member.started is not None]
        return max((self._left(m) for m in running), default=0.0) if all(m.cost.known for m in running) else None

    def state(self, done: int, total: int | None) -> Compiling:
        """Where the build is; `done` of `total` steps, as the build tool counts them."""
        now = self._reading.now
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
            eta_seconds=self.rest if self.stopping else self._eta(done, total),
            hits=self._hits,
            misses=self._misses,
            stopping=self.stopping,
        )

    def _left(self, member: _Member) -> float:
        """Seconds that a member still takes."""
        ran = 0.0 if member.started is None else self._reading.now - member.started
        return max(0.0, member.cost.cpu_seconds / member.unit.threads - ran)

    def sample(self) -> Sample:
        """The present state, for the timeline."""
        members = self._members.values()
        used = sum(m.memory for m in members)
        return Sample(self._reading.now, used, self.free, len(self.running), len(self.waiting), self.slots)

    def _eta(self, done: int, total: int | None) -> float | None:
        """Seconds left: what runs and waits by its estimate, what has not come yet by the mean of what has."""
        members = list(self._members.values())
        known = [m.cost.cpu_seconds for m in members] + list(self._timeline.cpu_seconds)
        if total is None or not known:
            return None
        unseen = max(0, total - done - len(members))
        left = unseen * sum(known) / len(known)
        slowest = 0.0
        for member in members:
            ran = 0.0 if member.started is None else self._reading.now - member.started
            rest = max(0.0, member.cost.cpu_seconds - ran)
            left, slowest = left + rest, max(slowest, rest)
        return max(left / self.slots, slowest)


def _waiting(member: _Member) -> Waiting:
    cost, unit = member.cost, member.unit
    seconds = cost.cpu_seconds / unit.threads
    return Waiting(member.id, cost.peak, seconds, unit.threads, unit.kind == "link", member.alone, member.passed)


def _running(member: _Member) -> Running:
    return Running(member.memory, member.cost.peak, member.unit.threads, member.alone)


def _attempt(member: _Member, outcome: Outcome, started: float, now: float, sign: str) -> Attempt:
    return Attempt(
        name=member.unit.name,
        kind=member.unit.kind,
        archs=member.unit.archs,
        threads=member.unit.threads,
        asked=member.asked,
        start=started,
        end=now,
        peak=member.peak,
        expected_peak=member.cost.peak,
        cpu_seconds=outcome.cpu_seconds,
        expected_cpu_seconds=member.cost.cpu_seconds,
        status=os.waitstatus_to_exitcode(outcome.status),
        cache=outcome.cache,
        attempt=member.attempt,
        death=sign,
    )
