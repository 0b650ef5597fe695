"""When a build will be done.

In: units as they end, and those that run, wait and are still to come, with what they are expected to take. Out: seconds
of wall time on this machine, with what they lie between as far as anybody can know (`Left`), or None. It cannot fail.

What was measured elsewhere is turned into this machine's time by two factors that are seen while it compiles: how much
CPU time units take here against what was expected (`speed`), and how much wall time a CPU-second takes of late, as
others use the machine too (`crowding`). The rest is then played through: each slot that becomes free takes the next
unit as the scheduler would (see `admission`), with its passes side by side where it would do that.

Both factors are less sure than the play, and the two ends say how sure they are. Figures of another machine, or of
another day, are off by a factor until as much has been seen here. What the other users of the machine do later nobody
knows: what has gone on for a while is taken to go on for as long again, and may end then, so that the machine is ours,
or be as it was in the mean before. So the ends meet as a steady build goes on.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from wheelsmith.compile.admission import goes_wide

_FORGET = 0.97  # weight of what was seen, with each unit that is seen after it
_HALF = 60.0  # seconds after which what was seen of the other users of the machine counts half
_LOOK, _LOOKS = 2.0, 10_000  # seconds between two notes of the crowding, and how many are kept
_STEADY = 1.25  # times more or less crowded than now is another state of the machine
_UNKNOWN = 2.5  # times more or less may work take that is guessed; its whole may be known, but not what comes last
# Of a package's CPU-seconds against what they were before: on this machine (cuvec three times: 79 to 91), and on that
# whose figures are shipped (1.04 to 1.27 times as many in five builds of cuvec).
_SAME, _STRANGE = 1.15, 1.35
_SLOW = 0.3  # of the longest unit: what counts for "as expected" until as much has been seen
_PRIOR = 1.0  # seconds on a machine of our own: what is thought before anything was seen
# Share of the time that a unit has run, for which it is expected to run on when it should have ended: if it was
# measured before, and if only its like was.
_OVERDUE, _OVERDUE_LIKE = 0.08, 0.2
_WIDE = 0.66  # of the time that two passes take after each other, both at once: measured on FlashAttention's units
_SHORTER = 0.63  # of that time the shorter one takes
_DEAR = 1.047  # times as much CPU time they take together
_GUESSES = 0.5  # share of the work that may be guessed


@dataclass(frozen=True, slots=True)
class Work:
    """One unit: CPU-seconds as expected, whether that is a mere guess, CPU-seconds and wall seconds that it has used
    (zero: it has not begun), how many processors it uses now, whether it began with passes side by side, how many it
    has, and how many seconds longer it may well take (see `admission.Waiting`)."""

    expected: float
    guessed: bool = False
    used: float = 0.0
    ran: float = 0.0
    width: int = 1
    wide: bool = False
    passes: int = 1
    doubt: float = 0.0

    @property
    def measured(self) -> bool:
        """Whether its time is that of the very unit; of links, which are short, it counts as known."""
        return not (self.guessed or self.doubt)


@dataclass(frozen=True, slots=True)
class Left:
    """Seconds left if all goes on as now, and what they lie between."""

    seconds: float
    low: float
    high: float


class Forecast:
    """Remembers how expectations were met in this build."""

    def __init__(self) -> None:
        self._expected = self._used = 0.0
        self._ideal = self._wall = 0.0  # wall seconds of late, if nobody else used the machine, and as it was
        self._ideal_ever = self._wall_ever = 0.0  # the same, of the whole build
        self._clock, self._looks = 0.0, deque[tuple[float, float]](maxlen=_LOOKS)  # when, and how crowded it was
        self._spent = self._weight = 0.0  # CPU-seconds of all units that ended well, and as they were expected

    def ended(self, work: Work) -> None:
        """A unit ended well."""
        self._spent, self._weight = self._spent + work.used, self._weight + work.expected
        if not work.guessed:
            self._expected = self._expected * _FORGET + work.expected
            self._used = self._used * _FORGET + work.used / _dearer(work)

    def watched(self, seconds: float, used: Iterable[tuple[float, int]]) -> None:
        """What every running unit has used since the last look, so many seconds ago: CPU-seconds, and by how many."""
        kept = 0.5 ** (seconds / _HALF)
        self._ideal, self._wall = self._ideal * kept, self._wall * kept
        for cpu_seconds, passes in used:
            self._ideal += cpu_seconds / passes
            self._wall += seconds
            self._ideal_ever += cpu_seconds / passes
            self._wall_ever += seconds
        self._clock += seconds
        if not self._looks or self._clock - self._looks[-1][0] >= _LOOK:
            self._looks.append((self._clock, self.crowding))

    def speed(self, running: Sequence[Work], most: float) -> float:
        """CPU-seconds here for each one expected: of units that ended, and of those that should have. `most`: what the
        longest unit is expected to take; much less than that says little, as short units are not like long ones."""
        expected, used = _SLOW * most + self._expected, _SLOW * most + self._used
        seen = used / expected if expected else 1.0
        for item in running:
            if not item.guessed and item.used > item.expected * _dearer(item) * seen:
                expected, used = expected + item.expected, used + item.used / _dearer(item)
        return used / expected if expected else 1.0

    @property
    def crowding(self) -> float:
        """Wall seconds for each one that would be enough if nobody else used the machine, of late."""
        return max(1.0, (self._wall + _PRIOR) / (self._ideal + _PRIOR))

    def _steady(self) -> float:
        """For how many seconds the machine has been about as crowded as now."""
        now, since = self.crowding, self._clock
        for moment, crowding in reversed(self._looks):
            if not now / _STEADY <= crowding <= now * _STEADY:
                break
            since = moment
        return self._clock - since

    def left(
        self, running: Sequence[Work], waiting: Sequence[Work], slots: int, whole: float = 0.0, *, here: bool = False
    ) -> Left | None:
        """What is left until all is done; None: most of the work is guessed. `whole`: CPU-seconds that all units take,
        ended ones included, as far as somebody has said so: what the guessed ones share; 0: nobody has. `here`: what
        is expected was measured on this machine."""
        factor = self._factor([*running, *waiting], whole)
        if factor is not None:
            done = min(1.0, self._spent / whole)
            running, waiting = ([_settled(item, factor, done) for item in items] for items in (running, waiting))
        work = [*running, *waiting]
        expected = sum(item.expected for item in work)
        guessed = sum(item.expected for item in work if item.guessed)
        if not expected or (factor is None and guessed > _GUESSES * expected):
            return None
        most = max(item.expected for item in work)
        speed, crowding, steady = self.speed(running, most), self.crowding, self._steady()
        order = sorted(waiting, key=lambda item: (not item.guessed, -item.expected - item.doubt))

        def played(factor: float) -> float:
            ends = [0.0] * max(0, slots - sum(item.width for item in running))
            for item in running:
                overdue = factor < 1 and item.used >= item.expected * _dearer(item)  # it may end at any moment
                ends += [0.0 if overdue else _rest(item, speed * factor, crowding)] * item.width
            return _played(ends, [(item.expected * speed * factor * crowding, item.passes) for item in order])

        strange = (_SAME if here else _STRANGE) ** (_SLOW * most / (_SLOW * most + self._expected))
        strange *= _UNKNOWN ** (guessed / expected)
        strange *= 1 + sum(item.doubt for item in work) / expected
        mean = max(crowding, (self._wall_ever + _PRIOR) / (self._ideal_ever + _PRIOR))
        low, seconds, high = played(1 / strange), played(1.0), played(strange)
        return Left(seconds, _later(low, steady, 1 / crowding), _later(high, steady, mean / crowding))

    def _factor(self, work: Sequence[Work], whole: float) -> float | None:
        """What unmeasured work is to be multiplied by, so that all that was and is makes up the whole; if more was used
        than that, so that it is as what has ended. None: the whole is not known."""
        if not whole:
            return None
        rest = whole - self._spent - sum(item.expected for item in work if item.measured)
        free = [item for item in work if not item.measured]
        while free and rest > 0:
            factor = rest / sum(item.expected for item in free)
            if not (longer := [item for item in free if item.used > item.expected * factor]):
                return factor
            free = [item for item in free if item not in longer]  # they take from what is left for the others
            rest -= sum(item.used for item in longer)
        return self._spent / self._weight if self._weight else None

    def rest(self, running: Sequence[Work]) -> float | None:
        """Seconds until the last of the running ones ends; None: one of them is a guess."""
        if any(item.guessed for item in running):
            return None
        speed = self.speed(running, max((item.expected for item in running), default=0.0))
        crowding = self.crowding
        return max((_rest(item, speed, crowding) for item in running), default=0.0)


def _later(seconds: float, steady: float, change: float) -> float:
    """Seconds left if all takes `change` times as long after `steady` seconds."""
    return seconds if seconds <= steady else steady + (seconds - steady) * change


def _played(ends: list[float], waiting: Sequence[tuple[float, int]]) -> float:
    """Seconds until all is done. `ends`: when each slot is free; `waiting`: seconds and passes, in order."""
    heapq.heapify(ends)
    last, left = max(ends), sum(seconds for seconds, _ in waiting)
    for seconds, passes in waiting:
        now = heapq.heappop(ends)
        wide = passes > 1 and bool(ends) and ends[0] <= now
        wide = wide and goes_wide(seconds, (left + sum(end - now for end in ends)) / (len(ends) + 1))
        left -= seconds
        end = now + seconds * (_WIDE if wide else 1.0)
        if wide:
            heapq.heapreplace(ends, now + seconds * _WIDE * _SHORTER)
        heapq.heappush(ends, end)
        last = max(last, end)
    return last


def _rest(item: Work, speed: float, crowding: float) -> float:
    whole = item.expected * speed * _dearer(item)
    if item.used >= whole:  # so it is not as quick as the others were
        whole = item.expected * _dearer(item)
    if item.used >= whole:
        return item.ran * (_OVERDUE_LIKE if item.doubt else _OVERDUE)
    done = item.used / whole
    if item.wide:  # twice as much in each second, until the shorter pass has ended
        done = max(done * (1 + _SHORTER) / 2, done * (1 + _SHORTER) - _SHORTER)
    return (1 - done) * whole * _share(item) * crowding


def _settled(item: Work, factor: float, done: float) -> Work:
    """A unit as the whole tells; the more is done, the more its like tells, if it has any."""
    if item.measured:
        return item
    return replace(item, expected=item.expected * factor ** (1.0 if item.guessed else 1.0 - done))


def _share(item: Work) -> float:
    """Wall seconds for each CPU-second of a unit."""
    return _WIDE / _DEAR if item.wide else 1.0


def _dearer(item: Work) -> float:
    """CPU-seconds of a unit for each one that its passes take after each other."""
    return _DEAR if item.wide else 1.0
