"""Which compilers may start now: a pure decision.

In: who waits, who runs, how many may run and how much memory is free. Out: who starts, and whom that passed over. It
cannot fail, and somebody always runs.

Longest first, so that the end of a build is not one long unit on one processor. A unit that does not fit into memory
lets shorter ones go ahead, but not for ever: after `PATIENCE` of them nobody starts until it fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PATIENCE = 16


@dataclass(frozen=True, slots=True)
class Waiting:
    """A unit that asks to start.

    `memory`: bytes at its peak; `seconds`: how long it will take; `first`: others wait for it (a link); `alone`: it
    died of memory, and must have the machine to itself; `passed`: how often others went ahead.
    """

    id: int
    memory: int
    seconds: float
    threads: int = 1
    first: bool = False
    alone: bool = False
    passed: int = 0


@dataclass(frozen=True, slots=True)
class Running:
    """A unit at work: bytes that it uses, and that it is expected to use at its peak."""

    memory: int
    expected: int
    threads: int = 1
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """The ids of those who start, in order, and of those who were passed over for want of memory."""

    start: tuple[int, ...] = ()
    passed: tuple[int, ...] = ()


def admit(waiting: Sequence[Waiting], running: Sequence[Running], *, jobs: int, free: int) -> Decision:
    """Decide.

    Args:
        waiting: in the order of arrival.
        running: those at work.
        jobs: compilers that may run at once.
        free: bytes that are free now, beside what the running ones use.
    """
    if not waiting or any(unit.alone for unit in running):
        return Decision()
    if penitent := next((unit for unit in waiting if unit.alone), None):
        return Decision() if running else Decision((penitent.id,))
    slots = jobs - sum(min(unit.threads, jobs) for unit in running)
    room = free - sum(max(0, unit.expected - unit.memory) for unit in running)
    start: list[int] = []
    blocked: list[Waiting] = []
    for unit in sorted(waiting, key=lambda unit: (not unit.first, -unit.seconds)):
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
        slots -= threads
        room -= unit.memory
    return Decision(tuple(start), tuple(unit.id for unit in blocked) if start else ())
