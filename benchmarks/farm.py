"""What a farm costs and brings, and what is lost when a part of it is killed. Real processes on this machine.

    python -m benchmarks.farm --units 24 [--scenarios alone,one,two,worker,scheduler,cache] [--keep DIR]

A package of small CUDA units is built by `wheelsmith build`, then by `wheelsmith farm build` with a scheduler and one
and two workers of one slot each; each worker has a store of its own, and objects go through a redis-server (all over
TLS, but for Redis). Then a worker, the scheduler, or Redis is killed while units are compiled (the scheduler is started
again, and the same command given once more). Said of each: state, hits of the assembly, CPU-seconds of units by task,
how often a unit was compiled, bytes through Redis, wall seconds, and whether the wheel has the bytes of the first.
Wall seconds are of a quiet machine only; the rest is not. Needs g++, redis-server, and CUDA from the network or uv's
cache.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.support import toyproject
from tests.support.farming import KEY, Farm, Redis
from wheelsmith.farm.simulate import FarmFacts, predict, units_of

SCENARIOS = ("alone", "one", "two", "worker", "scheduler", "cache")
_STUCK = 1500.0  # seconds
_KEPT = ("cuda", "envs", "blobs", "trials", "served", "flocks")  # of a store: what is no result


def project(directory: Path, count: int) -> Path:
    """A package of so many units, with its recipe."""
    names = [f"unit{number:02}" for number in range(count)]
    files = toyproject.files()
    for name in ("one", "two", "three"):
        del files[f"{name}.cu"]
    files |= {f"{name}.cu": toyproject.KERNEL.replace("NAME", name) for name in names}
    files["CMakeLists.txt"] = files["CMakeLists.txt"].replace(
        "one.cu two.cu three.cu", " ".join(f"{n}.cu" for n in names)
    )
    return toyproject.make(directory, files)


class Bench:
    """The package, two workers' stores, and what each scenario did."""

    def __init__(self, root: Path, units: int, toolkit: str) -> None:
        self.root, self.toolkit = root, toolkit
        root.mkdir(parents=True, exist_ok=True)
        self.recipes = project(root, units)
        self.matrix = root / "wheels.toml"
        self.matrix.write_text("schema_version = 1\n[[package]]\nrequirement = 'toycuda'\n")
        self.redis = Redis(root)
        self.units: list[float] = []
        self.overhead = 0.0  # CPU-s of a build besides its units
        self._told = root / f"sha256-of-{units}"  # by an earlier run in this directory
        self.sha256 = self._told.read_text() if self._told.is_file() else ""

    def store(self, worker: str) -> Path:
        """Of a worker: emptied of results, toolkit and environment kept."""
        place = self.root / f"store-{worker}"
        for entry in place.iterdir() if place.is_dir() else ():
            if entry.name not in _KEPT:
                shutil.rmtree(entry)
        return place

    def environment(self, worker: str) -> dict[str, str]:
        """A worker's."""
        places = {"WHEELSMITH_STORE": str(self.root / f"store-{worker}"), "WHEELSMITH_CACHE": self.redis.secret_url}
        return dict(os.environ) | places | {"WHEELSMITH_CACHE_KEY": KEY}

    def alone(self) -> None:
        """One machine, no farm, no cache."""
        before, started = _cpu(), time.monotonic()
        places = ["--store", str(self.store("w0")), "--index", str(self._index("alone")), "--no-cache"]
        command = ["build", "toycuda", "--recipes", str(self.recipes), "--toolkit", self.toolkit, "--jobs", "1"]
        done = _run([*command, *places, "--json"], self.root / "alone")
        facts = json.loads(done)
        self.sha256 = facts["sha256"]
        self._told.write_text(self.sha256)
        record = self.root / "store-w0" / "logs" / f"{facts['record']['key']}.timeline.json"
        self.units = [u["cpu_seconds"] for run in json.loads(record.read_text())["runs"] for u in run["units"]]
        summary = facts["record"]["compile"]["summary"]
        wall, all_of_it = time.monotonic() - started, _cpu() - before
        self.overhead = all_of_it - summary["cpu_seconds"]
        print(f"alone: {wall:.0f} s, units {summary['cpu_seconds']} CPU-s, all {all_of_it:.1f}", flush=True)

    def farm(self, name: str, workers: int, trouble: Callable[[Farm, Path], bool] | None = None) -> None:
        """A scheduler and workers; `trouble` is called until it has happened."""
        self.redis.start()
        self.redis.empty()
        for number in range(2):
            self.store(f"w{number}")
        base = self.root / name
        shutil.rmtree(base, ignore_errors=True)
        farm = Farm(base)
        try:
            farm.start_scheduler()
            for number in range(workers):
                farm.start_worker(f"w{number}", self.environment(f"w{number}"))
            code = self._build(farm, base, 0, trouble)
            if farm.scheduler is None or farm.scheduler.poll() is not None:
                farm.close()
                farm.start_scheduler()
                for number in range(workers):
                    farm.start_worker(f"w{number}", self.environment(f"w{number}"))
                print(f"  {name}: exit code {code}; the same command again")
                self._build(farm, base, 1, None)
        finally:
            farm.close()
            self.redis.kill()

    def _build(self, farm: Farm, base: Path, run: int, trouble: Callable[[Farm, Path], bool] | None) -> int:
        events = base / f"events-{run}"
        command = ["farm", "build", str(self.matrix), "--scheduler", farm.address, "--tls", str(farm.tls)]
        command += ["--recipes", str(self.recipes), "--jobs", "1", "--split", "always", "--toolkit", self.toolkit]
        command += [
            "--index",
            str(base / "dist"),
            "--wait",
            "300",
            "--workers",
            str(len(farm.workers)),
            "--events",
            str(events),
            "--json",
        ]
        farm.wait_for_workers()
        idle = {name: farm.cpu_seconds(name) for name in farm.workers}
        before, started = _cpu(), time.monotonic()
        with (base / f"out-{run}").open("wb") as out, (base / f"err-{run}").open("wb") as err:
            process = subprocess.Popen([sys.executable, "-m", "wheelsmith", *command], stdout=out, stderr=err)
            while process.poll() is None:
                if time.monotonic() - started > _STUCK:
                    process.send_signal(signal.SIGKILL)
                if trouble is not None and trouble(farm, events):
                    print(f"  {base.name}: killed after {time.monotonic() - started:.0f} s", flush=True)
                    trouble = None
                time.sleep(0.2)
        wall = time.monotonic() - started
        spent = {name: round(farm.cpu_seconds(name) - idle[name], 1) for name in farm.workers}
        print(f"{base.name}: CPU-s of all processes of each worker: {spent}; predicted {self._predicted(len(spent))}")
        self._say(base.name, (base / f"out-{run}").read_text(), events, (wall, _cpu() - before))
        return process.returncode

    def _predicted(self, workers: int) -> str:
        """The simulator's seconds for the busiest worker, of the units as one machine compiled them."""
        if not self.units:
            return "nothing: one machine has not built it in this run"
        facts = FarmFacts(cores=1, configure=self.overhead, finish=0.0)
        (point,) = predict(units_of(self.units), (workers,), facts)
        return f"{point.seconds:.1f} for the busiest"

    def _say(self, name: str, text: str, events: Path, spent: tuple[float, float]) -> None:
        try:
            (cell,) = json.loads(text)["cells"]
        except ValueError:
            print(f"{name}: no report: {text[:300]}")
            return
        seconds: dict[tuple[str, str], float] = defaultdict(float)
        made: Counter[str] = Counter()
        for message in _messages(events):
            if message["event"] == "UnitDone":
                seconds[message["task"], message["worker"]] += message["cpu_seconds"]
                made[message["name"]] += message["cache"] == "miss"
        moved = "gone"
        with contextlib.suppress(Exception):
            moved = "{:,} in, {:,} out".format(*self.redis.moved())
        same = cell["sha256"] == self.sha256 if self.sha256 and cell["sha256"] else "-"
        spent_on = {" ".join(key): round(value, 1) for key, value in sorted(seconds.items())}
        twice = [unit for unit, count in made.items() if count > 1]
        print(
            f"{name}: {cell['state']}, {cell['units']} units in {cell['parts']} parts ({cell['lost_parts']} lost), "
            f"assembly {cell['hits']} hits {cell['misses']} misses, cell {cell['seconds']} s, wall {spent[0]:.0f} s\n"
            f"  CPU-s of units {spent_on}; compiled more than once {twice}; Redis {moved}; same bytes {same}",
            flush=True,
        )

    def _index(self, name: str) -> Path:
        shutil.rmtree(self.root / f"dist-{name}", ignore_errors=True)
        return self.root / f"dist-{name}"


def _messages(events: Path) -> list[dict[str, Any]]:
    with contextlib.suppress(OSError):
        return [json.loads(line) for line in events.read_text().splitlines() if line.endswith("}")]
    return []


def _compiled(events: Path, worker: str = "") -> int:
    """Units that parts have compiled."""
    told = [m for m in _messages(events) if m["event"] == "UnitDone" and m["task"] == "part"]
    return sum(m["cache"] == "miss" and worker in m["worker"] for m in told)


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _run(command: list[str], log: Path) -> str:
    with log.with_suffix(".err").open("wb") as err:
        return subprocess.run(
            [sys.executable, "-m", "wheelsmith", *command], stdout=subprocess.PIPE, stderr=err, text=True, check=True
        ).stdout


def main() -> int:
    """Run the scenarios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--units", type=int, default=24)
    parser.add_argument("--scenarios", default=",".join(SCENARIOS))
    parser.add_argument("--toolkit", default="wheels")
    parser.add_argument("--keep", type=Path, help="work there, and leave it; toolkits that are there serve again")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        root = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bench = Bench(root, options.units, options.toolkit)

        def worker(farm: Farm, events: Path) -> bool:
            if _compiled(events, "w1") < 2:
                return False
            farm.kill(farm.workers["w1"])
            return True

        def scheduler(farm: Farm, events: Path) -> bool:
            if _compiled(events) < options.units // 3:
                return False
            farm.kill(farm.scheduler)
            return True

        def cache(farm: Farm, events: Path) -> bool:
            if _compiled(events) < options.units // 3:
                return False
            bench.redis.kill()
            return True

        ways: Mapping[str, Callable[[], None]] = {
            "alone": bench.alone,
            "one": lambda: bench.farm("one", 1),
            "two": lambda: bench.farm("two", 2),
            "worker": lambda: bench.farm("worker", 2, worker),
            "scheduler": lambda: bench.farm("scheduler", 2, scheduler),
            "cache": lambda: bench.farm("cache", 2, cache),
        }
        for name in options.scenarios.split(","):
            ways[name]()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
