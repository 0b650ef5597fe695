"""What the scheduler costs and what it saves, against `make -jN` on the same files in the same minutes.

    python -m benchmarks.scheduler [--units 24] [--skip-memory]

Prints: the wrapper's cost a unit; CPU-seconds and busy share of the processors against `make -j` by hand; and, where a
memory cgroup can be made (root, version 1), a build in one: which fixed `-j` survive, the best of them, and ours.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.limits import memory_cgroup, table, why_no_cgroup
from wheelsmith.compile.compiler_wrappers import lay_wrappers
from wheelsmith.compile.cost_model import load_model
from wheelsmith.compile.memory import usable_cpus
from wheelsmith.compile.process import Governed, run_process
from wheelsmith.compile.sandbox import Isolation, Room
from wheelsmith.compile.scheduler import Capacity, Scheduler
from wheelsmith.compile.timeline import Timeline
from wheelsmith.documents.builds import RunHead
from wheelsmith.events import ignore

WORK = """
#include <algorithm>
#include <map>
#include <string>
#include <vector>
int NAME(std::vector<std::string> &v) { std::sort(v.begin(), v.end()); return std::map<int, int>{}.size() + v.size(); }
"""


def governed(root: Path, command: list[str], jobs: int, prior: int) -> tuple[int, Timeline]:
    """Run a command in `root` with our compilers in front; its status, and the record."""
    toolkit = root / "toolkit"
    for name in ("bin", "include"):
        (toolkit / name).mkdir(parents=True, exist_ok=True)
    (toolkit / "bin" / "nvcc").touch()
    search = [(Path(path), path) for path in ("/usr/local/bin", "/usr/bin", "/bin")]
    wrappers = lay_wrappers(Room(root, root, toolkit, Isolation(False)), search, fallback_jobs=1)
    head: RunHead = {"name": "", "version": "", "key": "", "started": 0.0, "jobs": jobs, "memory": None}
    timeline = Timeline(head, usable_cpus(), [])
    model = load_model(prior, root / "model.json")
    scheduler = Scheduler(model, Capacity(jobs, reserve=16 * 10**6), timeline=timeline, listener=ignore)
    place = Governed(root / "launch", str(root), scheduler, timeline, False, lambda: model.save(root / "model.json"))
    line = [
        "env",
        f"PATH={wrappers.path}:/usr/local/bin:/usr/bin:/bin",
        "make",
        "-s",
        "-C",
        str(root / "src"),
        *command,
    ]
    return run_process(line, root / "log", place, ignore), timeline


def lay_sources(root: Path, sources: dict[str, str], compiler: str = "g++ -O1") -> None:
    """A Makefile and its files."""
    source = root / "src"
    source.mkdir(parents=True)
    for name, text in sources.items():
        (source / f"{name}.cpp").write_text(text)
    objects = " ".join(f"{name}.o" for name in sources)
    (source / "Makefile").write_text(f"all: {objects}\n%.o: %.cpp\n\t{compiler} -c $< -o $@\nclean:\n\trm -f *.o\n")


def launcher_cost(root: Path, count: int = 100) -> None:
    """Units that compile nothing, one after the other: with the wrapper and the jobserver, and without."""
    lay_sources(root, {f"u{number}": "" for number in range(count)}, compiler="g++ --version >/dev/null; true")
    fake = root / "src" / "g++"
    fake.write_text("#!/bin/sh\n")
    fake.chmod(0o755)
    makefile = root / "src" / "Makefile"
    text = makefile.read_text()
    seconds = {}
    for name, front in (("without", ""), ("with", f"{root}/launch/run ")):
        makefile.write_text(text.replace("g++ --version >/dev/null; true -c", f"{front}{fake} -c"))
        times = []
        for _ in range(3):
            started = time.perf_counter()
            status, _ = governed(root, ["-j1"], 1, 10**6)
            assert status == 0
            times.append(time.perf_counter() - started)
        seconds[name] = min(times)
    cost = (seconds["with"] - seconds["without"]) / count * 1000
    print(f"wrapper and jobserver: {cost:.1f} ms a unit ({count} units, one after the other, best of 3)")


def against_make(root: Path, count: int, cpus: int) -> None:
    """The same units with `make -j` by hand and governed, in turns."""
    lay_sources(root, {f"u{number}": WORK.replace("NAME", f"u{number}") for number in range(count)})
    hand: list[tuple[float, float]] = []
    ours: list[tuple[float, float, float]] = []
    for _ in range(3):
        for mine in (False, True):
            subprocess.run(["make", "-s", "-C", root / "src", "clean"], check=True)
            before, started = _cpu(), time.perf_counter()
            busy = 0.0
            if mine:
                status, timeline = governed(root, ["-j64"], cpus, 3 * 10**8)
                assert status == 0
                busy = timeline.summary().busy
            else:
                subprocess.run(["make", "-s", f"-j{cpus}", "-C", root / "src"], check=True)
            wall, used = time.perf_counter() - started, _cpu() - before
            if mine:
                ours.append((wall, used, busy))
            else:
                hand.append((wall, used))
    ratios = sorted((b[0] / a[0], b[1] / a[1]) for a, b in zip(hand, ours, strict=True))
    wall, cpu = ratios[1]
    print(f"{count} units against make -j{cpus} by hand (median of 3 pairs): wall {wall:.3f}, CPU-seconds {cpu:.3f};")
    best = max(ours, key=lambda item: item[2])
    by_hand = max(used / (wall * cpus) for wall, used in hand)
    print(f"  processors busy: {best[2]:.1%} governed, {by_hand:.1%} by hand (best of 3)")


def in_little_memory(root: Path, limit: int) -> None:
    """Hungry and modest units in a memory cgroup: every fixed -j, and ours with what it may know before."""
    big = {f"big{number}": table(f"big{number}", 300) for number in range(4)}
    small = {f"small{number}": WORK.replace("NAME", f"small{number}") for number in range(8)}
    lay_sources(root, big | small)
    print(f"4 units of 300 MB and 8 of about 80 MB where {limit // 10**6} MB are allowed:")
    best = None
    for jobs in (1, 2, 3, 4, 8):
        seconds, status, _ = _inside(limit, ["make", "-s", f"-j{jobs}", "-C", str(root / "src")], root)
        print(f"  make -j{jobs}: {f'{seconds:.1f} s' if status == 0 else 'killed'}")
        if status == 0:
            best = seconds if best is None else min(best, seconds)
    cases = {"the recipe's figure far too low": 30, "right": 300, "learned from the build before": None}
    for what, prior in cases.items():
        if prior is not None:
            (root / "model.json").unlink(missing_ok=True)
        own = [sys.executable, "-m", "benchmarks.scheduler", "--governed", str(root), "--prior", str(prior or 300)]
        seconds, status, output = _inside(limit, own, root)
        ratio = f", {seconds / best:.2f} of the best fixed -j" if best and status == 0 else ""
        print(f"  governed, {what}: {f'{seconds:.1f} s' if status == 0 else 'FAILED'}{ratio}; {output.strip()}")


def _inside(limit: int, command: list[str], root: Path) -> tuple[float, int, str]:
    subprocess.run(["make", "-s", "-C", root / "src", "clean"], check=True)
    with memory_cgroup(limit) as group:
        script = f'echo $$ > {group}/cgroup.procs; exec "$@"'
        started = time.perf_counter()
        done = subprocess.run(["sh", "-c", script, "sh", *command], capture_output=True, text=True, check=False)
        return time.perf_counter() - started, done.returncode, done.stdout


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime + own.ru_utime + own.ru_stime


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=24)
    parser.add_argument("--skip-memory", action="store_true")
    parser.add_argument("--governed", metavar="DIR", help=argparse.SUPPRESS)
    parser.add_argument("--prior", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    cpus = usable_cpus()
    if options.governed:
        status, timeline = governed(Path(options.governed), ["-j64"], cpus, options.prior * 10**6)
        print(timeline.summary())
        sys.exit(status)
    root = Path(tempfile.mkdtemp(prefix="wheelsmith-bench-"))
    try:
        launcher_cost(root / "a")
        against_make(root / "b", options.units, cpus)
        if options.skip_memory or why_no_cgroup():
            print(why_no_cgroup() or "builds in little memory: skipped")
        else:
            in_little_memory(root / "c", 520 * 10**6)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
