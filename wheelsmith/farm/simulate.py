"""What a farm of N workers would take, replayed with a clock of its own.

In: units with their CPU-seconds (of a recorded timeline or a cost model), and what the farm is like. Out: `Point`s:
wall seconds, speed-up, bytes and cost for each number of workers. Pure; it cannot fail.

Replayed is what `run.py` does. Every worker lays the sources out and configures, and begins the build once more; then
whichever core is free takes the longest unit that nobody has, and sends its object to the cache. The worker that makes
the wheel configures once more beside that and fetches what is done, on the same cores; after the last object it links
and proves. The cache serves one transfer after another at its bandwidth: with many workers that is what is waited for.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from wheelsmith.builder.shards import UnitCost


@dataclass(frozen=True, slots=True)
class FarmFacts:
    """What a farm is like.

    Attributes:
        cores: of each worker.
        configure: seconds until a worker that begins a plan meets its first unit.
        start: seconds that a farm takes besides until its workers compile: it is looked over, and they begin the build
            once more.
        finish: seconds from the last object to the published wheel.
        hit: CPU-seconds that an object from the cache costs who fetches it.
        miss: CPU-seconds that one costs who compiles it through the cache, besides what the record says: none for the
            record of a build that had a cache, as builds have; some 0.7 for one without.
        latency: seconds of one request to the cache.
        bandwidth: bytes a second that the cache takes and gives, to all together.
        object_bytes: bytes of an object in the cache, for each CPU-second that it took.
        price: of a worker, for an hour.
    """

    cores: int = 1
    configure: float = 15.0
    start: float = 7.0
    finish: float = 5.0
    hit: float = 0.2
    miss: float = 0.0
    latency: float = 0.001
    bandwidth: float = 125e6
    object_bytes: float = 40e3
    price: float = 0.0


@dataclass(frozen=True, slots=True)
class Point:
    """What is predicted for so many workers."""

    workers: int
    seconds: float
    speed_up: float
    bytes: int
    cost: float

    @property
    def efficiency(self) -> float:
        """Speed-up by worker: 1 is all that there can be."""
        return self.speed_up / self.workers


def predict(units: Sequence[UnitCost], workers: Iterable[int], facts: FarmFacts) -> tuple[Point, ...]:
    """The points of a curve; speed-up is against one such worker that builds alone."""
    alone = _alone(units, facts)
    points = []
    for count in workers:
        seconds, moved = (alone, 0) if count == 1 else _together(units, count, facts)
        points.append(Point(count, seconds, alone / seconds, moved, seconds / 3600 * count * facts.price))
    return tuple(points)


def units_of(seconds: Iterable[float]) -> tuple[UnitCost, ...]:
    """Units that take so many CPU-seconds."""
    return tuple(UnitCost(f"{number}", f"{number}", value, 0) for number, value in enumerate(seconds))


def with_overheads(facts: FarmFacts, **values: float | None) -> FarmFacts:
    """The facts with those values that are given."""
    return replace(facts, **{name: value for name, value in values.items() if value is not None})  # type: ignore[arg-type]


def _alone(units: Sequence[UnitCost], facts: FarmFacts) -> float:
    return facts.configure + _compiled(units, facts) + facts.finish


def _compiled(units: Sequence[UnitCost], facts: FarmFacts) -> float:
    free = [0.0] * facts.cores
    for value in sorted((unit.cpu_seconds for unit in units), reverse=True):
        heapq.heapreplace(free, free[0] + value + facts.miss)
    return max(free)


def _together(units: Sequence[UnitCost], workers: int, facts: FarmFacts) -> tuple[float, int]:
    begun, fetching = facts.configure + facts.start, len(units) * (facts.hit + 2 * facts.latency)
    sizes = sum(unit.cpu_seconds for unit in units) * facts.object_bytes
    beside = (facts.configure + fetching) / facts.cores  # on the cores of the worker that makes the wheel
    free = [begun] * ((workers - 1) * facts.cores) + [begun + beside] * facts.cores
    heapq.heapify(free)
    last = pipe = begun  # when everything is compiled, and when the cache's line is free again
    for seconds in sorted((unit.cpu_seconds for unit in units), reverse=True):
        done = free[0] + seconds + facts.miss
        heapq.heapreplace(free, done)
        last = max(last, done)
        pipe = max(pipe, done - seconds) + seconds * facts.object_bytes / facts.bandwidth
    fetched = max(last, pipe, begun + 2 * sizes / facts.bandwidth) + facts.hit + 2 * facts.latency
    return max(fetched, begun + facts.configure + fetching / facts.cores) + facts.finish, int(2 * sizes)
