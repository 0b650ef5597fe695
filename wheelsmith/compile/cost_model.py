"""What each unit took last time: peak memory and CPU time, learned from build to build.

In: finished units, and the files of a package: in the store, and shipped with its recipe. Out: estimates. A file that
cannot be read counts as none: it only makes builds better, so it must not stop one.

A unit that nobody has measured is estimated from its like (see `likeness`), scaled by the number of archs.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from wheelsmith.compile.command import Kind, Unit
from wheelsmith.compile.likeness import Likeness
from wheelsmith.store import write_atomic

SCHEMA_VERSION = 1
#: CPU-seconds assumed before anything is known, by kind; of CUDA for each arch. Only their order matters.
_SECONDS: dict[Kind, float] = {"cuda": 20.0, "c++": 8.0, "c": 1.0, "link": 2.0}
LINK_SECONDS = _SECONDS["link"]
_ENOUGH = 3  # units of a kind that tell more about the rest than the recipe's one figure
_ENOUGH_LINKS = 1  # a guess of them only makes the time left wrong: nobody waits for it to be found out
# What is compiled for one Python is named after it: `_x.cpython-312-x86_64-linux-gnu.so`, `build/lib.…-cpython-312`.
_PYTHON = re.compile(r"\bcpython-3\d+t?\b")
_MARGIN = 1.25
_UNLIKE = 0.5  # of what its like take a unit may take in addition

#: Where an estimate comes from: the very unit, its like, or nothing at all.
Basis = Literal["unit", "like", "nothing"]
_Key = tuple[str, Kind]


@dataclass(frozen=True, slots=True)
class Cost:
    """Bytes of memory at the peak, and CPU-seconds, as far as `basis` tells."""

    peak: int
    cpu_seconds: float
    basis: Basis = "unit"

    @property
    def known(self) -> bool:
        """Whether it was measured on this very unit."""
        return self.basis == "unit"


@dataclass(frozen=True, slots=True)
class _Fit:
    """What is known of a kind: from how many figures, CPU-seconds (for no arch) and bytes by name, and what the middle
    one and the tenth longest of a hundred units take in CPU-seconds."""

    count: int
    seconds: Likeness
    peaks: Likeness
    usual: float
    long: float


class CostModel:
    """The costs of one package's units. `prior` is what one compiler takes at its peak, in bytes, as far as the recipe
    knows: what holds until something is measured; so does `whole`, the CPU-seconds of all units (0: not known).
    `shipped` is what others measured: it is not written again."""

    def __init__(
        self,
        prior: int,
        costs: Iterable[tuple[Unit, Cost]] = (),
        shipped: Iterable[tuple[Unit, Cost]] = (),
        whole: float = 0.0,
    ) -> None:
        self._prior, self.whole = prior, whole
        self._costs: dict[_Key, dict[tuple[tuple[str, ...], str], Cost]] = defaultdict(dict)
        self._counts: dict[Kind, int] = defaultdict(int)  # measurements of each kind
        self._own: set[_Key] = set()
        self._fitted: dict[Kind, _Fit] = {}
        self._guesses: dict[tuple[str, Kind, tuple[str, ...]], Cost] = {}
        self.version = 0  # grows with all that is learned
        for unit, cost in shipped:
            self._keep(unit, cost)
        self._own.clear()
        for unit, cost in costs:
            self._keep(unit, cost)
        self.here = bool(self._own)  # whether this machine has compiled the package before
        if self._costs:
            self.whole = 0.0

    def estimate(self, unit: Unit) -> Cost:
        """What a unit will take: as last time; else as for other archs; else as its like; else the prior."""
        variants = self._costs.get(_key(unit), {})
        if known := variants.get((unit.archs, unit.level)):
            return known
        key = (*_key(unit), unit.archs)
        self._refit(unit.kind)
        if key not in self._guesses:
            self._guesses[key] = self._guess(unit, variants)
        return self._guesses[key]

    def _guess(self, unit: Unit, variants: dict[tuple[tuple[str, ...], str], Cost]) -> Cost:
        if variants:
            (archs, _), cost = max(variants.items(), key=lambda item: item[1].peak)
            return Cost(cost.peak, cost.cpu_seconds * _scale(unit.archs, archs), "like")
        if unit.kind not in self._fitted:
            return Cost(self._prior, _SECONDS[unit.kind] * max(1, len(unit.archs)), "nothing")
        fit = self._fitted[unit.kind]
        return Cost(int(fit.peaks.of(unit.name) * _MARGIN), fit.seconds.of(unit.name) * _scale(unit.archs), "like")

    def _refit(self, kind: Kind) -> None:
        """Find CPU-seconds (for no arch) and peaks of names anew when enough, and then a twentieth more, has come."""
        count, fitted = self._counts[kind], self._fitted.get(kind)
        enough = _ENOUGH_LINKS if kind == "link" else _ENOUGH
        if count < enough or (fitted is not None and count <= fitted.count * 1.05):
            return
        rows = [
            (name, archs, cost)
            for (name, its), variants in self._costs.items()
            for (archs, _), cost in variants.items()
            if its == kind
        ]
        seconds = Likeness((name, cost.cpu_seconds / _scale(archs)) for name, archs, cost in rows)
        figures = sorted(cost.cpu_seconds for _, _, cost in rows)
        usual, long = figures[len(figures) // 2], figures[len(figures) * 9 // 10]
        self._fitted[kind] = _Fit(count, seconds, Likeness((name, cost.peak) for name, _, cost in rows), usual, long)
        self._guesses.clear()

    def learn(self, unit: Unit, peak: int, cpu_seconds: float) -> None:
        """A unit ended well. A higher peak counts at once; a lower one lowers the estimate by a third of the way."""
        old = self.estimate(unit)
        if old.known:
            peak = max(peak, old.peak - (old.peak - peak) // 3)
            cpu_seconds = (old.cpu_seconds + cpu_seconds) / 2
        self._keep(unit, Cost(peak, cpu_seconds))

    def learn_death(self, unit: Unit, peak: int) -> None:
        """A unit was killed for memory when it used `peak` bytes: it needs more than that."""
        old = self.estimate(unit)
        self._keep(unit, Cost(int(max(peak * _MARGIN, old.peak if old.known else 0)), old.cpu_seconds))

    def others(self, met: Iterable[Unit]) -> list[tuple[Unit, Cost]]:
        """The units that were built before for the same archs as those `met`, and are none of them."""
        names = set(map(_key, met))
        archs = {arch for unit in met for arch in unit.archs}
        found = []
        for (name, kind), variants in self._costs.items():
            fitting = [(Unit(name, kind, *key), cost) for key, cost in variants.items() if archs.issuperset(key[0])]
            if (name, kind) not in names and fitting:
                found.append(max(fitting, key=lambda item: item[1].cpu_seconds))
        return found

    def doubt(self, unit: Unit, cost: Cost) -> float:
        """Seconds longer that `unit` may well take than its `cost` says, if only its like was measured, or the same for
        other archs.

        Of vLLM's units, those whose name has known words took 1.5 times as long at the worst, and half of what is
        usual in addition; the others may be as long as any (`paged_attention_v1.cu`: 8 times what was expected).
        """
        if cost.basis != "like":
            return 0.0
        self._refit(unit.kind)
        fit = self._fitted.get(unit.kind)
        if fit is None or _key(unit) in self._costs:
            return _UNLIKE * cost.cpu_seconds
        known = _UNLIKE * (cost.cpu_seconds + fit.usual)
        return max(known, fit.seconds.novelty(unit.name) * (fit.long - cost.cpu_seconds))

    def _keep(self, unit: Unit, cost: Cost) -> None:
        self._costs[_key(unit)][unit.archs, unit.level] = cost
        self._counts[unit.kind] += 1
        self._guesses.pop((*_key(unit), unit.archs), None)
        self.version += 1
        self._own.add(_key(unit))

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
            if (name, kind) in self._own
        ]
        return {"schema_version": SCHEMA_VERSION, "units": rows}

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        write_atomic(path, json.dumps(self.to_dict(), indent=0).encode())


def load_model(prior: int, own: Path, shipped: Path | None = None, whole: float = 0.0) -> CostModel:
    """The model of what was measured here, and else of what was shipped; `prior` and `whole`: see `CostModel`."""
    return CostModel(prior, read_rows(own), [] if shipped is None else read_rows(shipped), whole)


def read_rows(path: Path) -> list[tuple[Unit, Cost]]:
    """The units and costs in a file; none, if it is not one of ours."""
    try:
        data = json.loads(path.read_text("utf-8"))
        return [_row(row) for row in data["units"]] if data["schema_version"] == SCHEMA_VERSION else []
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _key(unit: Unit) -> _Key:
    """What a unit is kept under: the same for every Python."""
    return _PYTHON.sub("cpython", unit.name), unit.kind


def _row(row: dict[str, Any]) -> tuple[Unit, Cost]:
    kind = row["kind"]
    if kind not in _SECONDS:
        raise ValueError(kind)
    unit = Unit(str(row["name"]), kind, tuple(map(str, row["archs"])), str(row["level"]))
    return unit, Cost(int(row["peak"]), float(row["cpu_seconds"]))


def _scale(archs: Sequence[str], measured: Sequence[str] = ()) -> float:
    """How many times as much: the host's part counts as much as an arch."""
    return (1 + len(archs)) / (1 + len(measured))
