"""How the units of a build are shared out: small parts, the longest first.

In: units with their costs, and how many workers there are. Out: parts, each a tuple of units, the dearest part first.
Pure; it cannot fail.

Nobody knows which worker will be slow or lost, so there are several parts for each, and whoever is free takes the next:
Dask schedules them. A part is not made smaller than what is worth starting a build tool for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wheelsmith.builder.shards import UnitCost

PARTS_FOR_EACH = 3  # worker
LEAST_SECONDS = 30.0  # of CPU time in a part: to start a build again takes 3 to 5
#: Below this many CPU-seconds one worker builds a plan alone: every other one would configure it first.
WORTH_SPLITTING = 40.0
_NEARLY = 0.95


@dataclass(frozen=True, slots=True)
class Shard:
    """Units that are compiled together."""

    units: tuple[UnitCost, ...]

    @property
    def seconds(self) -> float:
        """CPU-seconds that it is expected to take."""
        return sum(unit.cpu_seconds for unit in self.units)


def split(
    units: Sequence[UnitCost], workers: int, cores: int = 1, *, least: float = LEAST_SECONDS
) -> tuple[Shard, ...]:
    """Share out the units: in a part are so many that each core of a worker gets equally many, of much the same length,
    so that none waits for the others."""
    left = sorted(units, key=lambda unit: (-unit.cpu_seconds, unit.output))
    wanted = max(least * cores, sum(unit.cpu_seconds for unit in units) / (workers * PARTS_FOR_EACH))
    made: list[Shard] = []
    part: list[UnitCost] = []
    seconds = 0.0
    for unit in left:
        part.append(unit)
        seconds += unit.cpu_seconds
        if seconds >= wanted * _NEARLY and len(part) % cores == 0:
            made.append(Shard(tuple(part)))
            part, seconds = [], 0.0
    if part:
        made.append(Shard(tuple(part)))
    return tuple(made)
