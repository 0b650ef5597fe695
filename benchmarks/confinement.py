"""What it costs to confine a build: CPU-seconds and wall time of compilers inside and outside, and the start.

    python -m benchmarks.confinement [--toolkit DIR] [--rounds 5] [--package cuvec==6.0.1]

The same units, C++ and (where there is a toolkit) CUDA, are compiled by the same commands, in turns inside the sandbox
and outside of it. Printed are medians over the rounds, and the ratio of the least that each took: on a machine that
others use, trust that one, of the CPU-seconds. With --package a whole `wheelsmith build` of it is measured so, without
a compile cache, from a store that has been fetched: two builds a round.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from wheelsmith.compile.sandbox import NO_NAMESPACES, Room, isolation_here
from wheelsmith.toolchain.cuda import pick_toolkit

CXX = """#include <iostream>
#include <regex>
int f(const char *s) { return std::regex_match(s, std::regex(s)); }
"""
CUDA = """#include <cooperative_groups.h>
__global__ void k(float *x) { cooperative_groups::this_grid().sync(); x[threadIdx.x] *= 2; }
"""
SCRIPT = """cd "$1/src" || exit
g++ -O2 -c unit.cpp -o unit.o || exit
[ -z "$2" ] || "$2/bin/nvcc" -O2 -arch=sm_86 -c unit.cu -o unit.cu.o || exit
i=0; while [ $i -lt 30 ]; do g++ --version > /dev/null; i=$((i+1)); done
"""


Row = tuple[tuple[float, float], tuple[float, float]]


def measure(command: list[str], **environment: str) -> tuple[float, float]:
    """CPU-seconds and seconds of a command."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **environment}
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, time.monotonic() - started


def units(toolkit_choice: str, rounds: int) -> tuple[list[Row], float]:
    """Units outside and inside, by the round, and the milliseconds that a start costs."""
    isolation = isolation_here()
    toolkit = pick_toolkit("13.0", math=False, choice=toolkit_choice)
    with tempfile.TemporaryDirectory(prefix="wheelsmith-bench-") as name:
        root = Path(name)
        for directory in ("src", "trees", "home", "tmp", "out", "launch", "cache", "env", "cuda"):
            (root / directory).mkdir()
        (root / "src/unit.cpp").write_text(CXX, "utf-8")
        (root / "src/unit.cu").write_text(CUDA, "utf-8")
        room = Room(root, root, toolkit.root if toolkit else root / "cuda", isolation)
        room.hand_over()
        real = str(toolkit.root) if toolkit else ""
        inside = room.command(["sh", "-c", SCRIPT, "sh", room.place, real and f"{room.place}/cuda"])
        outside = ["sh", "-c", SCRIPT, "sh", str(root), real]
        start = room.command(["true"])
        rows = in_turns(rounds, lambda _: measure(outside), lambda _: measure(inside))
        starts = [measure(start)[1] - measure(["true"])[1] for _ in range(4 * rounds)]
    return rows, 1000 * statistics.median(starts)


def package(requirement: str, toolkit: str, rounds: int) -> list[Row]:
    """Whole builds of a package without namespaces and with them, by the round."""
    program = [sys.executable, "-m", "wheelsmith"]
    with tempfile.TemporaryDirectory(prefix="wheelsmith-bench-") as name:
        root = Path(name)
        fetched = root / "fetched"
        measure([*program, "fetch", requirement, "--toolkit", toolkit, "--store", str(fetched)])

        def build(place: Path, **environment: str) -> tuple[float, float]:
            subprocess.run(["cp", "-al", str(fetched), str(place)], check=True)
            to = ["--store", str(place), "--index", f"{place}-index", "--toolkit", toolkit, "--no-cache"]
            return measure([*program, "build", requirement, *to, "--container", "none"], **environment)

        return in_turns(
            rounds,
            lambda number: build(root / f"{number}-outside", **{NO_NAMESPACES: "1"}),
            lambda number: build(root / f"{number}-inside"),
        )


def in_turns(
    rounds: int, outside: Callable[[int], tuple[float, float]], inside: Callable[[int], tuple[float, float]]
) -> list[Row]:
    """Both, once a round; whoever comes second finds warmer caches, so that changes."""
    rows: list[Row] = []
    for number in range(rounds):
        if number % 2:
            within = inside(number)
            rows.append((outside(number), within))
        else:
            rows.append((outside(number), inside(number)))
        plain, confined = rows[-1][0][0], rows[-1][1][0]
        print(f"round {number + 1}: {plain:.2f} and {confined:.2f} CPU-seconds", flush=True)
    return rows


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toolkit", default="auto")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--package", help="a package and version that has a recipe")
    options = parser.parse_args()
    isolation = isolation_here()
    if not isolation.confined:
        raise SystemExit(f"isolation here: {isolation}")
    print(f"isolation: {isolation}", flush=True)
    start = None
    if options.package:
        rows = package(options.package, options.toolkit, options.rounds)
    else:
        rows, start = units(options.toolkit, options.rounds)
    for label, index in (("CPU-seconds", 0), ("seconds", 1)):
        plain = statistics.median(out[index] for out, _ in rows)
        confined = statistics.median(within[index] for _, within in rows)
        ratio = statistics.median(within[index] / out[index] for out, within in rows)
        least = min(within[index] for _, within in rows) / min(out[index] for out, _ in rows)
        print(f"{label:12} outside {plain:7.2f}  inside {confined:7.2f}  ratio {ratio:.3f}, of the least {least:.3f}")
    if start is not None:
        print(f"start-up     {start:.0f} ms")


if __name__ == "__main__":
    main()
