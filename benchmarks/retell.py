"""What the forecast would have told in recorded builds: units come, start and end as they did there.

    python -m benchmarks.retell BUILD.timeline.json [--model MODEL.json | --nothing] [--all]

Beside `benchmarks.replay`, where the scheduler decides anew: here only the time left is told anew, and held against the
time that really was left. What each compiler had used at a moment is not in the record; it is found from how much CPU
time all the units had, each between its start and its end (`Rate`), so that a machine which others use for a while is
seen as such. `--model`: what was measured there before (default: the model shipped with the package's recipe);
`--nothing`: nothing was. Printed for each tenth of the build: the error, in shares of what was left, of the time left
that was told, or of the nearer end where two were told and the truth was not between them; a minus means that too
little was told; and how often two were told, and how far apart they were in the middle. `--all` prints each look.
"""

from __future__ import annotations

import argparse
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.replay import MODELS, progress
from wheelsmith.compile.command import Unit
from wheelsmith.compile.cost_model import CostModel, read_rows
from wheelsmith.compile.measured import Outcome, Reading
from wheelsmith.compile.memory import Usage
from wheelsmith.compile.scheduler import Capacity, Scheduler
from wheelsmith.compile.timeline import Timeline, read_record
from wheelsmith.documents.builds import RunHead
from wheelsmith.events import ignore

if TYPE_CHECKING:
    from wheelsmith.documents.builds import RunFacts, UnitFacts

_LOOKS = 200
_BINS, _ROUNDS = 60, 15
_FREE = 10**15


class Rate:
    """CPU-seconds that a compiler gets in each wall second, over time: fitted to what units used in all. On a crowded
    machine some get a processor and some do not: a unit's rate is the common one times its own luck, but never above
    one for each of its passes."""

    def __init__(self, units: Sequence[UnitFacts], end: float) -> None:
        self._step = end / _BINS or 1.0
        self._rates = [1.0] * _BINS
        self._luck: dict[str, float] = {}
        spans = [(unit, self._shares(unit["start"], unit["end"])) for unit in units if unit["cpu_seconds"] > 1.0]
        for _ in range(_ROUNDS):
            given, seconds = [0.0] * _BINS, [0.0] * _BINS
            for unit, shares in spans:
                luck = self._luck[unit["name"]] = self._fit(unit, shares)
                for number, length in shares:
                    given[number] += length * min(1.0, luck * self._rates[number])
                    seconds[number] += length
            self._rates = [g / s if s else rate for rate, g, s in zip(self._rates, given, seconds, strict=True)]

    def _fit(self, unit: UnitFacts, shares: list[tuple[int, float]]) -> float:
        """How much luck a unit had, to use what it used."""
        low, high, wanted = 0.0, 100.0, unit["cpu_seconds"] / max(1, unit["threads"])
        for _ in range(30):
            middle = (low + high) / 2
            got = sum(seconds * min(1.0, middle * self._rates[number]) for number, seconds in shares)
            low, high = (middle, high) if got < wanted else (low, middle)
        return high

    def _shares(self, start: float, end: float) -> list[tuple[int, float]]:
        shares = []
        for number in range(int(start / self._step), min(_BINS, int(end / self._step) + 1)):
            seconds = min(end, (number + 1) * self._step) - max(start, number * self._step)
            if seconds > 0:
                shares.append((number, seconds))
        return shares or [(min(_BINS - 1, int(start / self._step)), 0.001)]

    def _until(self, unit: UnitFacts, moment: float) -> float:
        luck = self._luck.get(unit["name"], 1.0)
        return sum(s * min(1.0, luck * self._rates[number]) for number, s in self._shares(unit["start"], moment))

    def usage(self, unit: UnitFacts, moment: float) -> Usage:
        """What a unit had used at a moment of its run."""
        whole = self._until(unit, unit["end"])
        done = min(1.0, self._until(unit, moment) / whole if whole > 0 else 1.0)
        share, passes = progress(done, unit["threads"] > 1)
        return Usage(0, unit["cpu_seconds"] * share, passes)


@dataclass(frozen=True, slots=True)
class Told:
    """A look: seconds since the first unit started, seconds left as told (from, to), and as they were."""

    at: float
    told: tuple[float, float] | None
    left: float

    @property
    def error(self) -> float:
        """In shares of what was left; -1: nothing was told."""
        low, high = self.told or (0.0, 0.0)
        return min(max(self.left, low), high) / self.left - 1

    @property
    def width(self) -> float:
        """How many times the lower end the higher is: from a minute on, as less is not told apart."""
        low, high = self.told or (0.0, 0.0)
        return max(high, 60.0) / max(low, 60.0)


def retell(run: RunFacts, model: CostModel) -> list[Told]:
    """What would have been told, at regular moments from the first start to the last end."""
    units = sorted(run["units"], key=lambda unit: unit["asked"])
    begun, end = min(unit["start"] for unit in units), max(unit["end"] for unit in units)
    rate = Rate(units, end)
    head = RunHead(name=run["name"], version="", key="", started=0.0, jobs=run["jobs"], memory=None)
    capacity = Capacity(run["jobs"], brought=32 * run["jobs"])
    scheduler = Scheduler(model, capacity, timeline=Timeline(head, run["jobs"], []), listener=ignore)
    moments = sorted(
        [(unit["asked"], 1, number) for number, unit in enumerate(units)]
        + [(unit["start"], 2, number) for number, unit in enumerate(units)]
        + [(unit["end"], 3, number) for number, unit in enumerate(units)]
        + [(begun + (end - begun) * (look + 1) / (_LOOKS + 1), 4, -1) for look in range(_LOOKS)]
    )
    running: set[int] = set()
    done, told = 0, []
    for now, what, number in moments:
        usage = {n: rate.usage(units[n], now) for n in running}
        scheduler.watch(Reading(now, _FREE, usage))
        scheduler.step(done, len(units))
        fact = units[number]
        if what == 1:
            archs = tuple(fact["archs"])
            unit = Unit(fact["name"], fact["kind"], archs, passes=len(archs) or 1)  # type: ignore[arg-type]
            scheduler.arrive(number, unit, number, now)
        elif what == 2:
            scheduler.begin(number, fact["threads"])
            running.add(number)
        elif what == 3:
            running.discard(number)
            done += 1
            scheduler.finish(number, Outcome(fact["status"], fact["cpu_seconds"], fact["peak"], fact["cache"]), now)
            scheduler.leave(number)
        else:
            told.append(Told(now - begun, scheduler.state().left, end - now))
    return told


def known(path: Path, *, here: bool = False) -> CostModel:
    """What a model file knows, for any level of optimisation. `here`: it was measured on the same machine."""
    rows = [(replace(unit, level=""), cost) for unit, cost in read_rows(path)]
    return CostModel(10**10, rows if here else (), () if here else rows)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", nargs="+", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--nothing", action="store_true")
    parser.add_argument("--expect", type=float, default=0.0, metavar="CPU-MINUTES")
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    for path in options.record:
        run = read_record(path)["runs"][-1]
        model = (
            CostModel(10**10, whole=60 * options.expect)
            if options.nothing
            else known(options.model or MODELS / f"{run['name']}.json", here=options.model is not None)
        )
        looks = retell(run, model)
        whole = looks[-1].at + looks[-1].left
        if options.all:
            for look in looks:
                told = " to ".join(f"{seconds:.1f}" for seconds in sorted({*(look.told or ())}))
                print(f"  {look.at:8.1f} s: {told:>18} told, {look.left:8.1f} left  {look.error:+.0%}")
        tenths = []
        for tenth in range(10):
            errors = [look.error for look in looks if bisect_left(range(1, 10), look.at / whole * 10) == tenth]
            tenths.append(max(errors, key=abs, default=0.0))
        inside = [look for look in looks if 0.1 * whole <= look.at <= 0.95 * whole]
        counted = [abs(look.error) for look in inside]
        within = sum(error <= 0.25 for error in counted) / len(counted)
        wide = [look.width for look in inside if look.width > 1.0]
        print(
            f"{path.name}: {len(run['units'])} units, {whole:.0f} s; {max(counted):.0%} at the worst, {within:.0%} of"
            " the looks within 25%; by tenths " + " ".join(f"{error:+.0%}" for error in tenths),
            f"; two ends in {len(wide) / len(inside):.0%} of the looks, {median(wide or [1.0]):.1f} times apart",
            flush=True,
        )


if __name__ == "__main__":
    main()
