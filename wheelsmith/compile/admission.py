"""Which compilers may start now, and with how many of their passes side by side: a pure decision.

In: who waits, who runs, how many may run and how much memory is free. Out: who starts, and whom that passed over. It
cannot fail, and somebody always runs.

Longest first, so that the end of a build is not one long unit on one processor; those that nobody has measured before
all others, as they may be the longest. A unit that does not fit into memory lets shorter ones go ahead, but not for
ever: after `PATIENCE` of them nobody starts until it fits.

A unit's device code passes run one after the other, as two units side by side use two processors better than one unit
on two. But a unit that would still run when all the other work could be done, shared evenly, starts wide: it is what
everybody would wait for in the end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

PATIENCE = 16
_CLEARLY = 1.07  # a wide unit takes a slot from another one: below this, replayed builds end no sooner


@dataclass(frozen=True, slots=True)
class Waiting:
    """A unit that asks to start.

    `memory`: bytes at its peak; `seconds`: how long it will take; `first`: others wait for it (a link); `alone`: it
    died of memory, and must have the machine to itself; `passed`: how often others went ahead; `passes`: how many of
    its passes could run side by side; `guessed`: nobody has measured it or its like; `doubt`: seconds more that it may
    well take.
    """

    id: int
    memory: int
    seconds: float
    threads: int = 1
    first: bool = False
    alone: bool = False
    passed: int = 0
    passes: int = 1
    guessed: bool = False
    doubt: float = 0.0


@dataclass(frozen=True, slots=True)
class Running:
    """A unit at work: bytes that it uses, and that it is expected to use at its peak."""

    memory: int
    expected: int
    threads: int = 1
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """The ids of those who start, in order, and of those who were passed over for want of memory; of those who start
    with more than one pass at once, how many these are."""

    start: tuple[int, ...] = ()
    passed: tuple[int, ...] = ()
    widths: Mapping[int, int] = field(default_factory=dict)


def admit(
    waiting: Sequence[Waiting], running: Sequence[Running], *, jobs: int, free: int, to_come: float = math.inf
) -> Decision:
    """Decide.

    Args:
        waiting: in the order of arrival.
        running: those at work.
        jobs: compilers that may run at once.
        free: bytes that are free now, beside what the running ones use.
        to_come: seconds of work, on one processor, that is left in the running ones and in units that are not there
            yet; infinite: nobody knows, and nobody starts wide.
    """
    if not waiting or any(unit.alone for unit in running):
        return Decision()
    if penitent := next((unit for unit in waiting if unit.alone), None):
        return Decision() if running else Decision((penitent.id,))
    slots = jobs - sum(min(unit.threads, jobs) for unit in running)
    room = free - sum(max(0, unit.expected - unit.memory) for unit in running)
    start: list[int] = []
    blocked: list[Waiting] = []
    widths: dict[int, int] = {}
    fair = (to_come + sum(unit.seconds for unit in waiting)) / jobs  # when all would be done, shared evenly
    for unit in sorted(waiting, key=lambda unit: (not unit.first, not unit.guessed, -unit.seconds - unit.doubt)):
        threads = min(unit.threads, jobs)
        nobody = not running and not start
        if threads > slots:
            break
        if unit.memory > room and not nobody:
            blocked.append(unit)
            if unit.passed >= PATIENCE:
                break
            continue
        start.append(unit.id)
        width = min(unit.passes, slots, max(1, room // max(1, unit.memory)))
        if width > 1 and goes_wide(unit.seconds, fair) and not unit.guessed:
            widths[unit.id] = width
        taken = max(threads, widths.get(unit.id, 1))
        slots -= taken
        room -= unit.memory * (taken if unit.id in widths else 1)
    return Decision(tuple(start), tuple(unit.id for unit in blocked) if start else (), widths)


def goes_wide(seconds: float, fair: float) -> bool:
    """Whether a unit of so many seconds starts with its passes side by side, when all the work, shared evenly, would be
    done in `fair` seconds."""
    return seconds > _CLEARLY * fair
