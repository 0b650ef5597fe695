"""The scheduler on recorded builds with a clock of its own: when they would be done on 2 to 128 cores.

    python -m benchmarks.replay [MODEL.json | BUILD.timeline.json] [--cores 8,16,32,64,128] [--hide 0.5] [--eta]

Replayed are the units of a cost model, such as the one that is shipped for vLLM, or of a recorded build (see
`wheelsmith timeline`), all ready at the beginning, without limits to memory. Printed for each number of cores, in
seconds: the lower bound; longest first with true costs, one pass after another; and the real scheduler: with true
costs, with a model that lacks half of the units, and with one that knows nothing. `--eta` prints how far the forecast
was off, at worst, from the first tenth of the build on.

Of a recorded build, each unit takes the wall time that it took there, other users of that machine included. First it is
replayed on as many cores as it had, to be compared with what it really took; `--model` is what is known there before
(default: the model shipped with the package's recipe, if there is one).

Two passes at once take 0.66 of the time that they take after each other, and 1.047 of the CPU time: measured on
FlashAttention's units.
"""

from __future__ import annotations

import argparse
import heapq
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wheelsmith.compile.command import Unit
from wheelsmith.compile.cost_model import Cost, CostModel, read_rows
from wheelsmith.compile.measured import Outcome, Reading
from wheelsmith.compile.memory import Usage
from wheelsmith.compile.scheduler import Capacity, Scheduler
from wheelsmith.compile.timeline import SUFFIX, Timeline, read_record
from wheelsmith.documents.builds import RunHead
from wheelsmith.events import ignore

MODELS = Path(__file__).parents[1] / "recipes/models"
SHIPPED = MODELS / "vllm.json"
_WIDE, _DEAR = 0.66, 1.047
_SHORTER = 0.63  # of a wide unit's time the shorter pass takes
_FREE = 10**15
_TICKS = 300  # forecasts of a build, about


@dataclass(frozen=True, slots=True)
class Replayed:
    """Seconds to the end, how busy the cores were (0 to 1), and each forecast: when, and seconds left."""

    seconds: float
    busy: float
    forecasts: tuple[tuple[float, float | None], ...]

    def worst(self, after: float = 0.1) -> float | None:
        """The largest error of the forecasts after a share of the build, in shares of what was really left, counted
        while a twentieth of the build is left; None: not once was anything known."""
        seen = [
            abs(told / (self.seconds - at) - 1) if told is not None else 1.0
            for at, told in self.forecasts
            if after * self.seconds <= at <= 0.95 * self.seconds
        ]
        return max(seen, default=None)


def replay(
    units: Sequence[tuple[Unit, Cost]],
    model: CostModel,
    cores: int,
    *,
    slowness: Callable[[float], float] = lambda now: 1.0,
    steps: bool = True,
    waits: Mapping[str, float] | None = None,
) -> Replayed:
    """Build `units`, whose true costs come with them, on `cores` with a scheduler that knows `model`.

    `slowness`: wall seconds for each second of a true cost, of units that start at a moment; half of it is CPU time,
    half waiting for a processor. `waits`: wall seconds for each CPU-second of single units. `steps`: the build tool
    says of how many it has done how many.
    """
    tick = sum(cost.cpu_seconds for _, cost in units) / cores / _TICKS
    head = RunHead(name="replay", version="", key="", started=0.0, jobs=cores, memory=None)
    scheduler = Scheduler(model, Capacity(cores), timeline=Timeline(head, cores, []), listener=ignore)
    true = dict(enumerate(units))
    for number, (unit, _) in true.items():
        scheduler.arrive(number, unit, number, 0.0)
    now, used, done, tell = 0.0, 0.0, 0, 0.0
    running: dict[int, tuple[float, float, float]] = {}  # start, end, CPU-seconds
    ends: list[tuple[float, int]] = []
    forecasts = []
    while True:
        usage = {}
        for number, (start, end, cpu) in running.items():
            share, passes = progress((now - start) / (end - start), scheduler.width(number) > 1)
            usage[number] = Usage(0, cpu * share, passes)
        for number in scheduler.decide(Reading(now, _FREE, usage)):
            wide = scheduler.width(number) > 1
            slow, wait = slowness(now), (waits or {}).get(true[number][0].name, 1.0)
            cpu = true[number][1].cpu_seconds * (_DEAR if wide else 1.0) * slow**0.5
            wall = true[number][1].cpu_seconds * (_WIDE if wide else 1.0) * slow * wait
            running[number] = now, now + wall, cpu
            heapq.heappush(ends, (now + wall, number))
        scheduler.step(done, len(units) if steps else None)
        if now >= tell:
            forecasts.append((now, scheduler.state().eta_seconds))
            tell = now + tick
        if not ends:
            return Replayed(now, used / (now * cores), tuple(forecasts))
        if ends[0][0] > now + tick:
            now += tick
            continue
        now, number = heapq.heappop(ends)
        _, _, cpu = running.pop(number)
        used, done = used + cpu, done + 1
        scheduler.finish(number, Outcome(0, cpu, true[number][1].peak, "miss"), now)
        scheduler.leave(number)


def progress(share: float, wide: bool) -> tuple[float, int]:
    """Of a unit that has run for a `share` of its time: the share of its CPU time that it has used, and how many passes
    are at work: of two at once the shorter one ends first."""
    if not wide:
        return share, 1
    return (share + min(share, _SHORTER)) / (1 + _SHORTER), 2 if share < _SHORTER else 1


def longest_first(costs: Sequence[float], cores: int) -> float:
    """Seconds to the end of a list schedule with true costs, one pass after another."""
    free = [0.0] * cores
    for cost in sorted(costs, reverse=True):
        heapq.heapreplace(free, free[0] + cost)
    return max(free)


def taken(rows: Sequence[tuple[Unit, Cost]], without: str = "sm_90") -> list[tuple[Unit, Cost]]:
    """The rows of one build, with as many passes as a unit has archs: not those that are for an arch that begins with
    `without`, of which another build with the same names may have been measured."""
    return [
        (replace(unit, passes=len(unit.archs) or 1), cost)
        for unit, cost in rows
        if not any(arch.startswith(without) for arch in unit.archs)
    ]


@dataclass(frozen=True, slots=True)
class Recorded:
    """A build as it was: units, wall seconds for each CPU-second of each of them if its passes had not run side by
    side, processors, seconds from the first start to the last end, and the units with what was expected of them."""

    units: list[tuple[Unit, Cost]]
    waits: dict[str, float]
    cores: int
    seconds: float
    expected: list[tuple[Unit, Cost]]


def recorded(path: Path) -> Recorded:
    """The units of the last run in a timeline that ended well, and were compiled."""
    run = read_record(path)["runs"][-1]
    units, waits, expected = [], {}, []
    for fact in run["units"]:
        if fact["status"] or fact["cache"] == "hit":
            continue
        unit = Unit(fact["name"], fact["kind"], tuple(fact["archs"]), passes=len(fact["archs"]) or 1)  # type: ignore[arg-type]
        wide = fact["threads"] > 1
        cpu = max(0.01, fact["cpu_seconds"] / (_DEAR if wide else 1.0))
        units.append((unit, Cost(fact["peak"], cpu)))
        expected.append((unit, Cost(fact["expected_peak"], fact["expected_cpu_seconds"])))
        waits[unit.name] = (fact["end"] - fact["start"]) / (_WIDE if wide else 1.0) / cpu
    begun = min(fact["start"] for fact in run["units"])
    return Recorded(units, waits, run["jobs"], max(fact["end"] for fact in run["units"]) - begun, expected)


def compare(path: Path, model: Path | None) -> Recorded:
    """Replay a recorded build on the cores it had, and say how it differs."""
    build = recorded(path)
    package = read_record(path)["runs"][-1]["name"]
    before = read_rows(model or MODELS / f"{package}.json")
    models = {"what was expected then": build.expected, "what is shipped": before, "true costs": build.units}
    for what, rows in models.items():
        levelled = [(replace(unit, level=""), cost) for unit, cost in rows]
        made = replay(build.units, CostModel(10**10, levelled), build.cores, waits=build.waits)
        eta = made.worst()
        print(
            f"{package}, {len(build.units)} units on {build.cores} cores: {build.seconds:.0f} s in truth, replayed with"
            f" {what} {made.seconds:.0f} ({made.seconds / build.seconds:.3f}), cores {made.busy:.0%} busy, time left"
            f" wrong by {'-' if eta is None else f'{eta:.0%}'} at the worst",
            flush=True,
        )
    return build


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", nargs="?", type=Path, default=SHIPPED)
    parser.add_argument("--cores", default="2,4,8,16,32,64,128")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--hide", type=float, default=0.5)
    parser.add_argument("--eta", action="store_true")
    options = parser.parse_args()
    path = options.record
    if path.name.endswith(SUFFIX):
        build = compare(path, options.model)
        units = build.units
    else:
        units = taken(read_rows(path))
    costs = [cost.cpu_seconds for _, cost in units]
    print(f"{len(units)} units, {sum(costs):,.0f} CPU-s, the longest {max(costs):.0f}")
    shuffled = random.Random(1).sample(units, len(units))
    half = shuffled[: round(len(units) * (1 - options.hide))]
    models = {"true costs": units, f"{options.hide:.0%} unknown": half, "nothing known": []}
    print(f"{'cores':>5} {'bound':>7} {'longest 1st':>11} " + " ".join(f"{name:>22}" for name in models))
    for cores in map(int, options.cores.split(",")):
        bound, reference = sum(costs) / cores, longest_first(costs, cores)
        cells = []
        for rows in models.values():
            made = replay(shuffled, CostModel(10**10, rows), cores)
            eta = made.worst() if options.eta else None
            cells.append(f"{made.seconds:8.0f} {made.seconds / reference:6.3f}" + (f" {eta:6.0%}" if eta else " " * 7))
        print(f"{cores:5} {max(bound, 0):7.0f} {reference:11.0f} " + " ".join(cells), flush=True)


if __name__ == "__main__":
    main()
