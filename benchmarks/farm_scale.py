"""One wheel on 1, 2, 4, … workers of some cores each, in namespaces of their own: speed-up, and what kills cost.

    python -m benchmarks.farm_scale OUT --requirement ggml-cuda --recipes DIR --toolkit /usr/local/cuda \
        [--plan "1;2;4;worker,redis,scheduler"] [--cores 4] [--kills 4] [--kill-requirement ggml-part] [--kill-after 28]
        [--seconds 500] [--env current] [--blobs DIR] [--models DIR] [--predicted FILE]

Each machine is a worker in a network namespace of its own (a veth pair on a bridge; loopback where there is none), a
PID namespace (killed at once, as a machine that loses its power) and a mount namespace, pinned to cores of its own,
with a store of its own. Scheduler (TLS), Redis and whoever gives the command are on further cores. `--plan` has streams
(`;`) that run beside each other, each on cores of its own, and what a stream does one after the other (`,`): 1 is one
machine that builds alone; N a farm of so many workers with an empty cache; `worker`, `redis`, `scheduler` a farm of
`--kills` workers, of the same package or a smaller one, of which this is killed when `--kill-after` units are done.
What stands there again keeps the cores busy, as neighbours slow a processor down, and ends as soon as everything else
has. OUT/report.json and OUT/*.jsonl (every message, with the moment) are what came of it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.farm_machines import Farm, Machines, Network, stop

_KILLS: dict[str, Callable[[Farm], None]] = {
    "worker": lambda farm: stop(farm.workers[-1]),
    "redis": lambda farm: stop(farm.redis),
    "scheduler": lambda farm: stop(farm.scheduler),
}


def _drive(options: argparse.Namespace) -> int:
    """In a process of its own: build, alone or on a farm, and write every event with its moment."""
    import dataclasses

    import wheelsmith

    def stamp(message: Mapping[str, object]) -> None:
        sink.write(json.dumps({"at": round(time.time(), 3), **message}, default=str) + "\n")
        sink.flush()

    def heard(event: object) -> None:
        if dataclasses.is_dataclass(event) and not isinstance(event, type):
            kind = type(event).__name__
            if kind in ("UnitDone", "StageStarted", "StageDone", "CellStarted", "CellDone", "Note"):
                stamp({"event": kind, "task": "alone", "worker": "alone", **dataclasses.asdict(event)})

    with Path(options.drive).open("a") as sink:
        stamp({"event": "Begin"})
        common: dict[str, Any] = {
            "environment": options.env,
            "recipes": [options.recipes] if options.recipes else [],
            "index": options.index,
            "toolkit": options.toolkit,
            "jobs": options.cores,
            "offline": options.offline,
            "listener": heard,
        }
        try:
            if options.scheduler:
                made = wheelsmith.farm_build(
                    options.matrix,
                    scheduler=options.scheduler,
                    tls=options.tls,
                    workers=options.count,
                    wait=60.0,
                    split="always" if options.count > 1 else "auto",
                    events=stamp,
                    **common,
                )
                stamp({"event": "End", "report": made.to_dict()})
                return made.exit_code
            else:
                built = wheelsmith.build(options.requirement, arch=options.arch, store=options.store, **common)
                stamp({"event": "End", "sha256": built.record["wheel"]["sha256"], "compile": built.record["compile"]})
        except wheelsmith.WheelsmithError as error:
            stamp({"event": "End", "error": error.to_dict()})
            return error.exit_code
    return 0


def messages(path: Path) -> list[dict[str, Any]]:
    """All that was said so far."""
    with contextlib.suppress(OSError):
        return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    return []


def _done(found: list[dict[str, Any]], worker: str = "") -> list[str]:
    """The units that were compiled (not those from the cache)."""
    return [
        m["name"]
        for m in found
        if m["event"] == "UnitDone" and not m["status"] and m["cache"] != "hit" and worker in m["worker"]
    ]


def run_farm(
    machines: Machines, name: str, count: int, cores: list[str], trouble: Callable[[Farm], None] | None = None
) -> dict[str, Any]:
    """One farm with an empty cache. `trouble` happens when `--kill-after` units are done."""
    farm, path = Farm(machines, name, count, cores), machines.out / f"{name}.jsonl"
    result: dict[str, Any] = {"name": name, "workers": count, "cores": machines.options.cores}
    try:
        farm.start_redis()
        farm.start_scheduler()
        farm.start_workers()
        farm.wait()
        process, killed = farm.build(), None
        while process.poll() is None:
            if time.time() > machines.options.until:
                result["stopped"] = "its time was over"
                stop(process)
            if trouble is not None and killed is None:
                found = messages(path)
                if len(_done(found)) >= machines.options.kill_after:
                    running = _running(found)
                    trouble(farm)
                    killed = time.time()
                    result["killed"] = {"at": killed, "done": len(_done(found)), "running_by_last_word": running}
            time.sleep(0.1)
        result["code"] = process.returncode
        if farm.scheduler is not None and farm.scheduler.poll() is not None and time.time() < machines.options.until:
            for worker in farm.workers:
                stop(worker)
            farm.start_scheduler()
            farm.start_workers()
            farm.wait()
            again = farm.build()
            while again.poll() is None and time.time() < machines.options.until:
                time.sleep(0.1)
            stop(again)
            result["code_again"] = again.returncode
        result["redis"] = farm.moved()
    finally:
        farm.close()
    return result | summary(messages(path))


def _running(found: list[dict[str, Any]]) -> dict[str, list[str]]:
    """What each worker compiled when it last said so."""
    last = {m["worker"]: [unit["name"] for unit in m["running"]] for m in found if m["event"] == "Compiling"}
    return {worker: units for worker, units in last.items() if units}


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Of all messages of a scenario: seconds from the first to the last, and what each worker did when."""
    ends = [m for m in found if m["event"] == "End"]
    begins = [m["at"] for m in found if m["event"] == "Begin"]
    made = Counter(_done(found))
    seconds: dict[str, float] = defaultdict(float)
    phases: dict[str, list[tuple[str, float]]] = defaultdict(list)
    start = begins[0] if begins else 0.0
    for m in found:
        if m["event"] == "UnitDone":
            seconds[f"{m['task']} {m['worker']}"] += m["cpu_seconds"]
        if m["event"] in ("StageStarted", "StageDone", "UnitDone"):
            what = m["event"] if m["event"] == "UnitDone" else f"{m['event']} {m.get('stage')}"
            line = phases[f"{m['task']} {m['worker']}"]
            if not line or line[-1][0] != what or what != "UnitDone":
                line.append((what, round(m["at"] - start, 1)))
            else:
                line[-1] = (what, round(m["at"] - start, 1))
    facts: dict[str, Any] = {
        "walls": [round(end["at"] - begin, 2) for end, begin in zip(ends, begins, strict=False)],
        "compiled": sum(made.values()),
        "compiled_twice": sorted(name for name, count in made.items() if count > 1),
        "cpu_seconds": {key: round(value, 1) for key, value in sorted(seconds.items())},
        "phases": phases,
    }
    for end in ends:
        if "report" in end:
            (cell,) = end["report"]["cells"]
            facts |= {key: cell[key] for key in ("state", "sha256", "units", "parts", "lost_parts", "hits", "misses")}
            facts["cell_seconds"], facts["error"] = cell["seconds"], cell["error"]
        else:
            facts |= {key: end[key] for key in ("sha256", "compile", "error") if key in end}
    return facts


def alone(machines: Machines, cores: str) -> dict[str, Any]:
    """One machine, with the cache that every build has."""
    store = machines.store("alone")
    process = machines.drive("alone", cores, "--store", str(store))
    while process.poll() is None and time.time() < machines.options.until:
        time.sleep(0.2)
    stop(process)
    model = f"models/{machines.options.requirement.partition('=')[0]}.json"
    for file in (*store.glob("logs/*.timeline.json"), *store.glob(model)):
        shutil.copy(file, machines.out / ("timeline.json" if "timeline" in file.name else "model.json"))
    return {"name": "alone", "workers": 1} | summary(messages(machines.out / "alone.jsonl"))


def _predictions(out: Path, results: list[dict[str, Any]], cores: int) -> list[dict[str, Any]]:
    """The simulator's seconds, told only what the machine that built alone has shown."""
    from wheelsmith.api.farming import _recorded
    from wheelsmith.farm.simulate import FarmFacts, predict, units_of

    told = messages(out / "alone.jsonl")
    units = _recorded(out / "timeline.json")
    done = [m for m in told if m["event"] == "UnitDone" and m["name"].endswith((".cu", ".cpp", ".c"))]
    begin, end = (next(m["at"] for m in told if m["event"] == kind) for kind in ("Begin", "End"))
    first = min(m["at"] - m["seconds"] for m in done)
    facts = FarmFacts(cores=cores, configure=first - begin, finish=end - max(m["at"] for m in done))
    counts = sorted({r["workers"] for r in results if r["name"].startswith("n")} | {1})
    said = []
    for point in predict(units_of(units), counts, facts):
        real: list[float] = next(
            (r["walls"] for r in results if r["workers"] == point.workers and "killed" not in r), []
        )
        error = round(point.seconds / real[0] - 1, 4) if real else None
        said.append({"workers": point.workers, "predicted": round(point.seconds, 1), "real": real, "error": error})
    return [{"configure": round(facts.configure, 1), "finish": round(facts.finish, 1)}, *said]


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--requirement", required=True)
    parser.add_argument("--arch")
    parser.add_argument("--recipes")
    parser.add_argument("--toolkit", default="auto")
    parser.add_argument("--env", default="isolated")
    parser.add_argument("--plan", default="1;2;4;worker,redis,scheduler")
    parser.add_argument("--cores", type=int, default=4)
    parser.add_argument("--kills", type=int, default=4, help="workers of the farms in which something is killed")
    parser.add_argument("--kill-requirement", help="another package for these farms")
    parser.add_argument("--kill-after", type=int, default=10, help="units that are done by then")
    parser.add_argument("--seconds", type=float, default=500)
    parser.add_argument("--work", default="/tmp/farm-scale")
    parser.add_argument("--blobs")
    parser.add_argument("--models", help="a directory of cost models, for all stores")
    parser.add_argument("--predicted", type=Path, help="points that were written beforehand, to be compared")
    parser.add_argument("--offline", action="store_true")
    for name in ("drive", "scheduler", "tls", "index", "store", "matrix"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drive:
        return _drive(options)
    options.until = time.time() + options.seconds
    return _all(options)


def _workers(what: str, kills: int) -> int:
    return kills if what in _KILLS else int(what)


class Schedule:
    """Who runs when and where."""

    def __init__(self, machines: Machines, streams: list[list[str]], cpus: list[int]) -> None:
        options = machines.options
        self.machines, self.streams, self.results = machines, streams, list[dict[str, Any]]()
        self._lock, self._begun = threading.Lock(), Counter[str]()
        self._needed = set[str]().union(*streams)
        self.cores: list[list[str]] = []  # of each stream, for each of its workers
        width, taken = options.cores, 0
        for stream in streams:
            count = max(_workers(what, options.kills) for what in stream)
            # Shared, where there are too few.
            got = [str(cpus[number % len(cpus)]) for number in range(taken, taken + width * count)]
            self.cores.append([",".join(got[width * number : width * (number + 1)]) for number in range(count)])
            taken += width * count
        machines.hosts = ",".join(map(str, cpus[taken:] or cpus))

    def run(self) -> None:
        """Everything."""
        with ThreadPoolExecutor(len(self.streams)) as pool:
            for one in [pool.submit(self._stream, number) for number in range(len(self.streams))]:
                one.result()

    def _stream(self, number: int) -> None:
        for what in self.streams[number]:
            if time.time() > self.machines.options.until:
                return
            with self._lock:
                self._begun[what] += 1
                turn = self._begun[what]
            name = "alone" if what == "1" else f"kill-{what}" if what in _KILLS else f"n{what}"
            name += f"-{turn}" if turn > 1 else ""
            cores = self.cores[number][: _workers(what, self.machines.options.kills)]
            try:
                result = self._one(what, name, cores)
            except Exception as error:  # the others are worth having
                result = {"name": name, "workers": len(cores), "walls": [], "broke": repr(error)}
            with self._lock:
                self.results.append(result)
                self._needed.discard(what)
                if not self._needed:
                    self.machines.options.until = time.time()
                save(self.machines, self.results)

    def _one(self, what: str, name: str, cores: list[str]) -> dict[str, Any]:
        if what == "1":
            return alone(self.machines, cores[0])
        return run_farm(self.machines, name, len(cores), cores, _KILLS.get(what))


def save(machines: Machines, results: list[dict[str, Any]]) -> None:
    """Write the report of what has ended so far."""
    made, cores = machines.network, machines.options.cores
    report = {"network": made.made or made.why, "cpus": os.cpu_count(), "cores": cores, "results": results}
    report["curve"] = curve(results, machines.options.predicted)
    with contextlib.suppress(Exception):
        report["predictions"] = _predictions(machines.out, results, cores)
    place = machines.out / "report.json.new"
    place.write_text(json.dumps(report, indent=1, default=str))
    place.replace(machines.out / "report.json")


def curve(results: list[dict[str, Any]], predicted: Path | None) -> list[dict[str, Any]]:
    """Seconds of the whole command, speed-up and efficiency against one machine alone, and what was predicted."""
    told = {one["workers"]: one["seconds"] for one in json.loads(predicted.read_text())["points"]} if predicted else {}
    whole = [one for one in results if not one["name"].startswith("kill") and one["walls"]]
    base = next((one["walls"][0] for one in whole if one["name"] == "alone"), None)
    points = []
    for one in sorted(whole, key=lambda one: (one["workers"], one["name"])):
        seconds, count = one["walls"][0], one["workers"]
        point = {"name": one["name"], "workers": count, "seconds": seconds}
        if base:
            point |= {"speed_up": round(base / seconds, 3), "efficiency": round(base / seconds / count, 3)}
        if count in told:
            point |= {"predicted": told[count], "error": round(told[count] / seconds - 1, 4)}
        points.append(point | {key: one.get(key) for key in ("hits", "misses", "redis", "sha256")})
    return points


def _all(options: argparse.Namespace) -> int:
    out: Path = options.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(options.work, ignore_errors=True)
    tls = Path(options.work) / "keys"
    tls.mkdir(parents=True)
    from distributed.security import Security

    keys = Security.temporary()
    for name, text in (("ca", keys.tls_ca_file), ("cert", keys.tls_client_cert), ("key", keys.tls_client_key)):
        (tls / f"{name}.pem").write_text(text)
    streams = [stream.split(",") for stream in options.plan.split(";")]
    network = Network(sum(_workers(what, options.kills) for stream in streams for what in stream))
    machines = Machines(out, options, network, tls)
    schedule = Schedule(machines, streams, sorted(os.sched_getaffinity(0)))
    try:
        schedule.run()
    finally:
        network.close()
        save(machines, schedule.results)
    for point in curve(schedule.results, options.predicted):
        print(json.dumps(point))
    for result in schedule.results:
        print(json.dumps({key: value for key, value in result.items() if key != "phases"}, default=str))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
