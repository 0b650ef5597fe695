"""What an interruption costs: CPU-seconds that were spent and must be spent again.

    python -m benchmarks.interrupt [--package cuvec==6.0.1] [--archs 8.6] [--moments 0.15,0.45,0.75]
        [--random N [--seed 1]] [--ways 1,2,term,kill] [--rows 40] [--toolkit auto] [--source DIR] [--whole CPU-SECONDS]

A package is built whole; then it is built again, interrupted when it has used a share of those CPU-seconds, and
continued: after one Ctrl-C or SIGTERM (what runs comes to its end), after two Ctrl-C (it is stopped at once), after
kill -9. Lost is what both runs used together beyond the whole build. `--random`: so many moments by chance, the same
for each way. Without `--package` it is a project of three units; `--rows`: how large they are; 40: twenty CPU-seconds
each, most of it device code. `--source`: a checkout of another version of wheelsmith, to compare with; it is run with
this Python. `--whole` spares the first build.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cache import TILES
from tests.support import toyproject
from wheelsmith.compile.memory import process_tree

_TICKS = os.sysconf("SC_CLK_TCK")


def unit(number: int, rows: int = 40) -> str:
    """A unit whose largest kernel has so many rows."""
    return TILES.replace("SEED", str(number)).replace("tile<16, 64, 16>", f"tile<{rows}, 64, 32>")


WAYS = {
    "1": (signal.SIGINT,),
    "2": (signal.SIGINT, signal.SIGINT),
    "term": (signal.SIGTERM,),
    "kill": (signal.SIGKILL,),
}


@dataclass(frozen=True, slots=True)
class Bench:
    """Builds in a directory of its own: a package with the version of wheelsmith in `source`; `more`: options."""

    root: Path
    source: Path
    package: str
    more: tuple[str, ...]

    def fetch(self, name: str) -> None:
        """Make all that a build needs: sources, environment, toolkit."""
        command = self._command("fetch", name)
        quiet = subprocess.DEVNULL
        subprocess.run(command, cwd=self.root, env=self._environment, stdout=quiet, stderr=quiet, check=True)

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Begin a build; every `name` has a cache, a wheel and a work directory of its own."""
        command = [*self._command("build", name), "--index", self.root / name / "dist", "--verbose"]
        quiet, there = subprocess.DEVNULL, self.root  # where `-m` finds no wheelsmith but that of `source`
        return subprocess.Popen(command, cwd=there, env=self._environment, stderr=subprocess.PIPE, stdout=quiet)

    def _command(self, what: str, name: str) -> list[str | Path]:
        command: list[str | Path] = [sys.executable, "-m", "wheelsmith", what, self.package, *self.more]
        return [*command, "--store", self.root / name / "store"]

    @property
    def _environment(self) -> dict[str, str]:
        return os.environ | {"PYTHONPATH": str(self.source)}

    def whole(self, name: str) -> float:
        """CPU-seconds of a build to its end."""
        self.fetch(name)
        before, process = _used(), self.start(name)
        assert process.stderr is not None
        told = process.stderr.read()
        if process.wait() != 0:
            raise SystemExit(f"the build failed: {told[-2000:].decode()}")
        return _used() - before

    def interrupted(self, name: str, until: float, signals: Sequence[signal.Signals]) -> tuple[float, float]:
        """CPU-seconds until a build that was interrupted after so many had ended, and seconds that this took."""
        self.fetch(name)
        before, process = _used(), self.start(name)
        threading.Thread(target=_drain, args=(process,), daemon=True).start()
        while tree_seconds(process.pid) < until and process.poll() is None:
            time.sleep(0.2)
        spent, sent = tree_seconds(process.pid), time.monotonic()
        for number in signals:
            process.send_signal(number)
            time.sleep(0.3)
        status = process.wait()
        if status not in (130, 143, -signal.SIGKILL):
            raise SystemExit(f"the build ended with {status} before {until:.0f} CPU-s")
        # Of those who were killed nobody counts the time but we, just before.
        return max(spent, _used() - before), time.monotonic() - sent


def _drain(process: subprocess.Popen[bytes]) -> None:
    assert process.stderr is not None
    while process.stderr.read(1 << 16):
        pass


def _used() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def tree_seconds(top: int) -> float:
    """CPU-seconds of a process with all that it started, also of those who have ended."""
    total = 0
    for pid in process_tree(top):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime: proc(5)
    return total / _TICKS


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", default="")
    parser.add_argument("--archs", default="")
    parser.add_argument("--moments", default="0.15,0.45,0.75")
    parser.add_argument("--random", type=int, default=0, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ways", default="1,2,term,kill")
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--toolkit", default="auto")
    parser.add_argument("--source", type=Path, default=Path(__file__).parents[1])
    parser.add_argument("--whole", type=float)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wheelsmith-bench-") as name:
        root, package = Path(name), options.package
        more = ["--toolkit", options.toolkit, *(["--arch", options.archs] if options.archs else [])]
        if not package:
            units = {f"{name}.cu": unit(n, options.rows) for n, name in enumerate(("one", "two", "three"), 1)}
            package = "toycuda"
            more += ["--recipes", str(toyproject.make(root, toyproject.files() | units))]
        moments = [float(moment) for moment in options.moments.split(",")]
        if options.random:
            chance = random.Random(options.seed)
            moments = [round(chance.random(), 2) for _ in range(options.random)]
        bench = Bench(root, options.source.resolve(), package, tuple(more))
        full = options.whole or bench.whole("whole")
        print(f"whole: {full:.1f} CPU-s", flush=True)
        for way in options.ways.split(","):
            losses = []
            for moment in moments:
                place = f"{way}-{moment}"
                spent, waited = bench.interrupted(place, moment * full, WAYS[way])
                again = bench.whole(place)
                losses.append(spent + again - full)
                text = f"after {moment:.0%}: {spent:.1f} CPU-s, ended {waited:.0f} s later; then {again:.1f} CPU-s"
                print(f"  {way:<4} {text}: lost {losses[-1]:.1f}", flush=True)
            print(f"{way:<4} {sum(losses) / len(losses):.1f} CPU-s lost on average", flush=True)


if __name__ == "__main__":
    main()
