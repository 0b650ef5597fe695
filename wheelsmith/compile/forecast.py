"""When a build will be done.

In: units as they end, and those that run, wait and are still to come, with what they are expected to take. Out: seconds
of wall time on this machine, or None. It cannot fail.

What was measured elsewhere is turned into this machine's time by two factors that are seen while it compiles: how much
CPU time units take here against what was expected (`speed`), and how much wall time a CPU-second takes, as others use
the machine too (`crowding`). The rest is handed out to the slots, the longest first, as the scheduler does.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

_FORGET = 0.97  # weight of what was seen, with each unit that is seen after it
_ENOUGH = 5.0  # CPU-seconds that tell something
_OVERDUE = 0.15  # share of the time that a unit has run, for which it is expected to run on when it should have ended
_WIDE = 0.66  # of the time that two passes take after each other, both at once: measured on FlashAttention's units
_GUESSES = 0.5  # share of the work that may be guessed


@dataclass(frozen=True, slots=True)
class Work:
    """One unit: CPU-seconds as expected, whether that is a mere guess, CPU-seconds and wall seconds that it has used
    (zero: it has not begun), how many processors it uses now, and whether it began with passes side by side."""

    expected: float
    guessed: bool = False
    used: float = 0.0
    ran: float = 0.0
    width: int = 1
    wide: bool = False


class Forecast:
    """Remembers how expectations were met in this build."""

    def __init__(self) -> None:
        self._expected = self._used = 0.0
        self._ideal = self._wall = 0.0  # wall seconds if nobody else used the machine, and as it was

    def ended(self, work: Work) -> None:
        """A unit ended well."""
        if not work.guessed:
            self._expected = self._expected * _FORGET + work.expected
            self._used = self._used * _FORGET + work.used
        self._ideal = self._ideal * _FORGET + work.used * _share(work)
        self._wall = self._wall * _FORGET + work.ran

    @property
    def speed(self) -> float:
        """CPU-seconds here for each one expected."""
        return self._used / self._expected if self._expected > _ENOUGH else 1.0

    def crowding(self, running: Sequence[Work]) -> float:
        """Wall seconds for each one that would be enough if nobody else used the machine."""
        ideal = self._ideal + sum(work.used * _share(work) for work in running)
        wall = self._wall + sum(work.ran for work in running)
        return max(1.0, wall / ideal) if ideal > _ENOUGH else 1.0

    def left(self, running: Sequence[Work], waiting: Sequence[Work], slots: int) -> float | None:
        """Seconds until all is done; None: most of the work is guessed."""
        work = [*running, *waiting]
        guessed = sum(item.expected for item in work if item.guessed)
        if not work or guessed > _GUESSES * sum(item.expected for item in work):
            return None
        speed, crowding = self.speed, self.crowding(running)
        free = [0.0] * max(0, slots - sum(item.width for item in running))
        for item in running:
            free += [_rest(item, speed, crowding)] * item.width
        heapq.heapify(free)
        last = max(free)
        for seconds in sorted((item.expected * speed * crowding for item in waiting), reverse=True):
            end = heapq.heappop(free) + seconds
            heapq.heappush(free, end)
            last = max(last, end)
        return last

    def rest(self, running: Sequence[Work]) -> float | None:
        """Seconds until the last of the running ones ends; None: one of them is a guess."""
        if any(item.guessed for item in running):
            return None
        crowding = self.crowding(running)
        return max((_rest(item, self.speed, crowding) for item in running), default=0.0)


def _rest(item: Work, speed: float, crowding: float) -> float:
    return max((item.expected * speed - item.used) * _share(item) * crowding, _OVERDUE * item.ran)


def _share(item: Work) -> float:
    """Wall seconds for each CPU-second of a unit."""
    return _WIDE if item.wide else 1.0
