"""What each unit took last time: peak memory and CPU time, learned from build to build.

In: finished units, and the file of a package in the store (or shipped with its recipe). Out: estimates. A file that
cannot be read counts as none: it only makes builds better, so it must not stop one.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wheelsmith.compile.command import Kind, Unit
from wheelsmith.store import write_atomic

SCHEMA_VERSION = 1
#: CPU-seconds assumed before anything is known, by kind; of CUDA for each arch. Only their order matters.
_SECONDS: dict[Kind, float] = {"cuda": 20.0, "c++": 8.0, "c": 1.0, "link": 2.0}
_ENOUGH = 3  # units of a kind that tell more about the rest than the recipe's one figure
_MARGIN = 1.25


@dataclass(frozen=True, slots=True)
class Cost:
    """Bytes of memory at the peak, and CPU-seconds. `known`: measured on this very unit, not guessed."""

    peak: int
    cpu_seconds: float
    known: bool = True


class CostModel:
    """The costs of one package's units. `prior` is what one compiler takes at its peak, in bytes, as far as the recipe
    knows: what holds until something is measured."""

    def __init__(self, prior: int, costs: Iterable[tuple[Unit, Cost]] = ()) -> None:
        self._prior = prior
        self._costs: dict[tuple[str, Kind], dict[tuple[tuple[str, ...], str], Cost]] = defaultdict(dict)
        self._seen: dict[Kind, list[Cost]] = defaultdict(list)  # in this build
        for unit, cost in costs:
            self._keep(unit, cost)

    def estimate(self, unit: Unit) -> Cost:
        """What a unit will take: as last time; else as for other archs; else as others of its kind; else the prior."""
        variants = self._costs.get((unit.name, unit.kind), {})
        if known := variants.get((unit.archs, unit.level)):
            return known
        if variants:
            (archs, _), cost = max(variants.items(), key=lambda item: item[1].peak)
            scale = (1 + len(unit.archs)) / (1 + len(archs))
            return Cost(cost.peak, cost.cpu_seconds * scale, known=False)
        seen = self._seen[unit.kind]
        if len(seen) >= _ENOUGH:
            peak = int(max(cost.peak for cost in seen) * _MARGIN)
            return Cost(peak, sum(cost.cpu_seconds for cost in seen) / len(seen), known=False)
        return Cost(self._prior, _SECONDS[unit.kind] * max(1, len(unit.archs)), known=False)

    def learn(self, unit: Unit, peak: int, cpu_seconds: float) -> None:
        """A unit ended well. A higher peak counts at once; a lower one lowers the estimate by a third of the way."""
        self._seen[unit.kind].append(Cost(peak, cpu_seconds))
        old = self.estimate(unit)
        if old.known:
            peak = max(peak, old.peak - (old.peak - peak) // 3)
            cpu_seconds = (old.cpu_seconds + cpu_seconds) / 2
        self._keep(unit, Cost(peak, cpu_seconds))

    def learn_death(self, unit: Unit, peak: int) -> None:
        """A unit was killed for memory when it used `peak` bytes: it needs more than that."""
        old = self.estimate(unit)
        self._keep(unit, Cost(int(max(peak * _MARGIN, old.peak if old.known else 0)), old.cpu_seconds))

    def _keep(self, unit: Unit, cost: Cost) -> None:
        self._costs[unit.name, unit.kind][unit.archs, unit.level] = cost

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        rows = [
            {
                "name": name,
                "kind": kind,
                "archs": list(archs),
                "level": level,
                "peak": cost.peak,
                "cpu_seconds": round(cost.cpu_seconds, 3),
            }
            for (name, kind), variants in sorted(self._costs.items())
            for (archs, level), cost in sorted(variants.items(), key=lambda item: item[0])
        ]
        return {"schema_version": SCHEMA_VERSION, "units": rows}

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        write_atomic(path, json.dumps(self.to_dict(), indent=0).encode())


def load_model(prior: int, *paths: Path) -> CostModel:
    """The model of the first of `paths` that can be read."""
    for path in paths:
        try:
            data = json.loads(path.read_text("utf-8"))
            if data["schema_version"] == SCHEMA_VERSION:
                return CostModel(prior, [_row(row) for row in data["units"]])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return CostModel(prior)


def _row(row: dict[str, Any]) -> tuple[Unit, Cost]:
    kind = row["kind"]
    if kind not in _SECONDS:
        raise ValueError(kind)
    unit = Unit(str(row["name"]), kind, tuple(map(str, row["archs"])), str(row["level"]))
    return unit, Cost(int(row["peak"]), float(row["cpu_seconds"]))
