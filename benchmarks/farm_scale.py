"""One wheel on 1, 2, 4, … workers of some cores each, in namespaces of their own: speed-up, and what kills cost.

    python -m benchmarks.farm_scale OUT --requirement ggml-cuda --recipes DIR --toolkit /usr/local/cuda \
        [--workers 1,2,4,8] [--cores 4] [--kills 4] [--kill-requirement ggml-part] [--seconds 500] [--env current]
        [--blobs DIR] [--models DIR]

Each machine is a worker in a network namespace of its own (a veth pair on a bridge; loopback where there is none), a
PID namespace (killed at once, as a machine that loses its power) and a mount namespace, pinned to cores of its own,
with a store of its own. Scheduler (TLS), Redis and whoever gives the command are on further cores. First one machine
builds alone and farms of 2, 4, … workers beside it, each on its own cores with an empty cache. On the cores of a farm
that has ended follow farms of `--kills` workers, of the same package or a smaller one, of which a worker, the
scheduler, Redis is killed when a third of the units is done. OUT/report.json and OUT/*.jsonl (every message, with the
moment) are what came of it. Needs root, redis-server, pyroute2.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HOST = "10.87.0.1"
KEY = secrets.token_hex(32)
_STORE = ("blobs",)


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


class Network:
    """A bridge with a namespace for each machine; `made` is false, and all is on loopback, where that cannot be."""

    def __init__(self, count: int) -> None:
        self.made, self.why, self._names = False, "", [f"farm{number}" for number in range(count)]
        try:
            self._make()
            self.made = True
        except Exception as error:
            self.why = f"{type(error).__name__} {error}"
            self.close()

    def _make(self) -> None:
        pyroute2 = importlib.import_module("pyroute2")
        with pyroute2.IPRoute() as here:
            here.link("add", ifname="farmbridge", kind="bridge")
            (bridge,) = here.link_lookup(ifname="farmbridge")
            here.addr("add", index=bridge, address=HOST, prefixlen=24)
            here.link("set", index=bridge, state="up")
            for number, name in enumerate(self._names):
                pyroute2.netns.create(name)
                here.link("add", ifname=f"fa{number}", kind="veth", peer=f"fb{number}")
                (outer,) = here.link_lookup(ifname=f"fa{number}")
                (inner,) = here.link_lookup(ifname=f"fb{number}")
                here.link("set", index=outer, master=bridge, state="up")
                here.link("set", index=inner, net_ns_fd=name)
                with pyroute2.NetNS(name) as there:
                    (inner,) = there.link_lookup(ifname=f"fb{number}")
                    there.addr("add", index=inner, address=f"10.87.0.{10 + number}", prefixlen=24)
                    there.link("set", index=inner, state="up")
                    there.link("set", index=there.link_lookup(ifname="lo")[0], state="up")

    def enter(self, number: int) -> list[str]:
        """A command's beginning."""
        return ["nsenter", f"--net=/var/run/netns/{self._names[number]}", "--"] if self.made else []

    @property
    def host(self) -> str:
        """Where scheduler and Redis listen."""
        return HOST if self.made else "127.0.0.1"

    def close(self) -> None:
        """Remove it."""
        with contextlib.suppress(Exception):
            pyroute2 = importlib.import_module("pyroute2")
            for name in self._names:
                with contextlib.suppress(Exception):
                    pyroute2.netns.remove(name)
            with pyroute2.IPRoute() as here:
                here.link("del", index=here.link_lookup(ifname="farmbridge")[0])


@dataclass
class Machines:
    """What all farms of a run share."""

    out: Path
    options: argparse.Namespace
    network: Network
    tls: Path
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(10_000)))
    ports: Iterator[int] = field(default_factory=lambda: iter(range(21000, 30000)))
    hosts: str = ""  # cores of who is no worker

    def store(self, name: str) -> Path:
        place = Path(self.options.work) / f"store-{name}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        if self.options.blobs:
            shutil.copytree(self.options.blobs, place / "blobs")
        if self.options.models:
            shutil.copytree(self.options.models, place / "models")
        return place

    def requirement(self, name: str) -> str:
        """What the scenario builds."""
        other = self.options.kill_requirement if name.startswith("kill") else None
        return str(other or self.options.requirement)

    def drive(self, name: str, cores: str, *more: str) -> subprocess.Popen[bytes]:
        o = self.options
        command = [
            sys.executable,
            "-m",
            "benchmarks.farm_scale",
            str(self.out),
            "--drive",
            str(self.out / f"{name}.jsonl"),
        ]
        command += ["--requirement", self.requirement(name), "--env", o.env]
        command += ["--toolkit", o.toolkit, "--cores", str(o.cores)]
        command += ["--recipes", o.recipes] if o.recipes else []
        command += ["--arch", o.arch] if o.arch else []
        command += ["--offline"] if o.offline else []
        matrix = Path(o.work) / f"{name}.toml"
        archs = f"gpus = ['{o.arch}']\n" if o.arch else ""
        matrix.write_text(f"schema_version = 1\n[[package]]\nrequirement = '{self.requirement(name)}'\n{archs}")
        command += ["--index", str(Path(o.work) / f"dist-{name}"), "--matrix", str(matrix), *more]
        return self.start(f"{name}.log", cores, command, os.environ)

    def start(
        self, log: str, cores: str, command: list[str], environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        with (self.out / log).open("ab") as sink:
            return subprocess.Popen(
                ["taskset", "-c", cores, *command],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env=dict(environment),
                start_new_session=True,
            )


def _kill(process: subprocess.Popen[bytes] | None) -> None:
    if process is not None and process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Farm:
    """Scheduler, Redis, workers; all of them new."""

    def __init__(self, machines: Machines, name: str, count: int, cores: list[str]) -> None:
        self.machines, self.name, self.count, self.cores = machines, name, count, cores
        self.port, self.redis_port = next(machines.ports), next(machines.ports)
        self.redis: subprocess.Popen[bytes] | None = None
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []
        self.numbers = [next(machines.numbers) for _ in range(count)]
        self._stores = [machines.store(f"{name}-w{number}") for number in range(count)]
        self._dask = str(Path(sys.executable).with_name("dask"))

    @property
    def address(self) -> str:
        return f"tls://{self.machines.network.host}:{self.port}"

    @property
    def cache(self) -> str:
        return f"redis://:{KEY[:16]}@{self.machines.network.host}:{self.redis_port}/0"

    def start_redis(self) -> None:
        host = self.machines.network.host
        command = [
            "redis-server",
            "--port",
            str(self.redis_port),
            "--bind",
            host,
            "--save",
            "",
            "--requirepass",
            KEY[:16],
        ]
        self.redis = self.machines.start(f"{self.name}-redis.log", self.machines.hosts, command, os.environ)

    def start_scheduler(self) -> None:
        command = [self._dask, "scheduler", "--host", self.address, "--no-dashboard", *self._tls()]
        self.scheduler = self.machines.start(f"{self.name}-scheduler.log", self.machines.hosts, command, os.environ)

    def start_workers(self) -> None:
        self.workers = [self._worker(number) for number in range(self.count)]

    def _worker(self, number: int) -> subprocess.Popen[bytes]:
        command = [*self.machines.network.enter(self.numbers[number])]
        command += ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--uts"]
        command += [self._dask, "worker", self.address, "--nworkers", "1", "--nthreads", "2", "--memory-limit", "0"]
        command += ["--name", f"w{number}", "--no-dashboard", "--local-directory", f"{self._stores[number]}-scratch"]
        places = {"WHEELSMITH_STORE": str(self._stores[number]), "WHEELSMITH_CACHE": self.cache}
        environment = dict(os.environ) | places | {"WHEELSMITH_CACHE_KEY": KEY}
        return self.machines.start(
            f"{self.name}-w{number}.log", self.cores[number], [*command, *self._tls()], environment
        )

    def _tls(self) -> list[str]:
        keys = {"ca-file": "ca.pem", "cert": "cert.pem", "key": "key.pem"}
        return [f"--tls-{key}={self.machines.tls / file}" for key, file in keys.items()]

    def wait(self) -> None:
        """Until all workers are there: a cluster is, before anybody uses it."""
        from distributed import Client
        from distributed.security import Security

        ca, cert, key = (str(self.machines.tls / name) for name in ("ca.pem", "cert.pem", "key.pem"))
        keys = Security(require_encryption=True, tls_ca_file=ca, tls_client_cert=cert, tls_client_key=key)
        with Client(self.address, security=keys, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(self.count, timeout=60)

    def build(self) -> subprocess.Popen[bytes]:
        more = ["--scheduler", self.address, "--tls", str(self.machines.tls), "--count", str(self.count)]
        return self.machines.drive(self.name, self.machines.hosts, *more)

    def moved(self) -> dict[str, int]:
        """Bytes that Redis took and gave, and what it holds."""
        with contextlib.suppress(Exception):
            import redis

            with redis.Redis.from_url(self.cache) as client:
                facts = client.info()
            return {
                "in": facts["total_net_input_bytes"],
                "out": facts["total_net_output_bytes"],
                "held": facts["used_memory_dataset"],
            }
        return {}

    def close(self) -> None:
        for process in (*self.workers, self.scheduler, self.redis):
            _kill(process)


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
    """One farm with an empty cache. `trouble` happens when a third of the units is done."""
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
                _kill(process)
            if trouble is not None and killed is None:
                found = messages(path)
                total = machines.options.units or 30
                if len(_done(found)) >= total // 3:
                    running = _running(found)
                    trouble(farm)
                    killed = time.time()
                    result["killed"] = {"at": killed, "done": len(_done(found)), "running_by_last_word": running}
            time.sleep(0.1)
        result["code"] = process.returncode
        if farm.scheduler is not None and farm.scheduler.poll() is not None and time.time() < machines.options.until:
            for worker in farm.workers:
                _kill(worker)
            farm.start_scheduler()
            farm.start_workers()
            farm.wait()
            again = farm.build()
            while again.poll() is None and time.time() < machines.options.until:
                time.sleep(0.1)
            _kill(again)
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
    _kill(process)
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
    parser.add_argument("--workers", default="1,2,4,8")
    parser.add_argument("--cores", type=int, default=4)
    parser.add_argument("--kills", type=int, default=0, help="workers of the farms in which something is killed")
    parser.add_argument("--units", type=int, default=0, help="how many the package has, about")
    parser.add_argument("--seconds", type=float, default=500)
    parser.add_argument("--work", default="/tmp/farm-scale")
    parser.add_argument("--blobs")
    parser.add_argument("--models", help="a directory of cost models, for all stores")
    parser.add_argument("--kill-requirement", help="another package for these farms")
    parser.add_argument("--offline", action="store_true")
    for name in ("drive", "scheduler", "tls", "index", "store", "matrix"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drive:
        return _drive(options)
    options.until = time.time() + options.seconds
    return _all(options)


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
    counts = [int(text) for text in options.workers.split(",")]
    kills = ("worker", "redis", "scheduler") if options.kills else ()
    todo = list(kills)
    network = Network(sum(counts) + options.kills * len(kills))
    machines = Machines(out, options, network, tls)
    cpus, width, taken = sorted(os.sched_getaffinity(0)), options.cores, 0

    def take(count: int) -> list[str]:
        nonlocal taken
        numbers = range(taken, taken + width * count)
        taken += width * count
        got = [str(cpus[number % len(cpus)]) for number in numbers]  # shared, where there are too few
        return [",".join(got[width * number : width * (number + 1)]) for number in range(count)]

    places = {count: take(count) for count in sorted(counts, reverse=True)}
    machines.hosts = ",".join(map(str, cpus[taken:] or cpus))
    results: list[dict[str, Any]] = []

    def save() -> None:
        report = {"network": network.made or network.why, "cpus": os.cpu_count(), "results": results}
        with contextlib.suppress(Exception):
            report["predictions"] = _predictions(out, results, width)
        (out / "report.json").write_text(json.dumps(report, indent=1, default=str))

    def farm(count: int) -> None:
        results.append(run_farm(machines, f"n{count}", count, places[count]))
        save()
        rooms = range(count // options.kills if options.kills else 0)
        with ThreadPoolExecutor(8) as more:
            for room in rooms:
                more.submit(kill_all, places[count][options.kills * room :][: options.kills])

    def kill_all(cores: list[str]) -> None:
        with contextlib.suppress(IndexError):
            while time.time() < options.until:
                kill(todo.pop(0), cores)

    def kill(what: str, cores: list[str]) -> None:
        def worker(there: Farm) -> None:
            _kill(there.workers[-1])

        ways = {"worker": worker, "scheduler": lambda it: _kill(it.scheduler), "redis": lambda it: _kill(it.redis)}
        try:
            results.append(run_farm(machines, f"kill-{what}", options.kills, cores, ways[what]))
        except Exception as error:  # the others are worth having
            results.append({"name": f"kill-{what}", "workers": options.kills, "walls": [], "broke": repr(error)})
        save()

    def solo() -> None:
        results.append(alone(machines, places[1][0]))
        save()

    try:
        with ThreadPoolExecutor(8) as pool:
            lonely = [pool.submit(solo)] if 1 in counts else []
            for one in [pool.submit(farm, count) for count in counts if count > 1]:
                one.result()
            kill_all(places[max(counts)][: options.kills])
            for one in lonely:
                one.result()
    finally:
        network.close()
        save()
    for result in results:
        print(json.dumps({key: value for key, value in result.items() if key != "phases"}, default=str))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
