"""One compiler that asks for a slot, or has one: what the scheduler keeps of it.

In: what wrappers and the machine say. Out: values for the decision and for the record. It cannot fail.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from wheelsmith.compile.admission import Running
from wheelsmith.compile.command import Unit
from wheelsmith.compile.cost_model import Cost
from wheelsmith.compile.measured import Outcome
from wheelsmith.compile.timeline import Attempt

_SETTLED = 8.0  # seconds: a unit's first steps are for all its passes, and only one of them works


@dataclass(slots=True)
class Member:
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
    seconds: float = 0.0  # of CPU time, so far
    width: int = 1  # passes at once, from the start
    busy: int = 1  # passes at work now
    below: float | None = None  # since when fewer work
    ended: bool = False
    kills: int = 0  # for memory, that the kernel had counted when it started

    @property
    def threads(self) -> int:
        """Processors that it uses now."""
        return max(self.unit.threads, self.busy)

    def narrow(self, workers: int, now: float) -> None:
        """One of the passes has come to its end, if fewer work for a while: between two steps none does."""
        if not self.busy > max(1, workers) or now - (self.started or 0.0) < _SETTLED:
            self.below = None
        elif self.below is None:
            self.below = now
        elif now - self.below >= _SETTLED:
            self.busy, self.below = max(1, workers), None

    def running(self) -> Running:
        """As `admission` sees it, at work."""
        return Running(self.memory, self.cost.peak * self.width, self.threads, self.alone)

    def ended_as(self, outcome: Outcome, started: float, now: float, sign: str) -> Attempt:
        """One run of it, for the record. `sign`: that it died of memory."""
        return Attempt(
            name=self.unit.name,
            kind=self.unit.kind,
            archs=self.unit.archs,
            threads=max(self.unit.threads, self.width),
            asked=self.asked,
            start=started,
            end=now,
            peak=self.peak,
            expected_peak=self.cost.peak,
            cpu_seconds=outcome.cpu_seconds,
            expected_cpu_seconds=self.cost.cpu_seconds,
            status=os.waitstatus_to_exitcode(outcome.status),
            cache=outcome.cache,
            attempt=self.attempt,
            death=sign,
        )
