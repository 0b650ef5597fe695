"""kill -9 at random moments of a build, from fetch to publish, and of a rebuild.

    python -m benchmarks.kills 100

A small CUDA project is built once without a kill. Then it is built again and again; each run is killed (SIGKILL, to
wheelsmith alone) at a random moment, and run again until it ends. Checked after each kill: no process of the build
lives on, and what stands under a final name is whole. Checked of each run that ends: exit code 0, the same bytes, no
traceback. Before the next round the index and the store's wheels are emptied, now and then its sources, environments
and toolkit as well, so that every stage is hit; every fifth round is a rebuild. Needs the network, or a uv cache that
has the packages, and g++.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.support import toyproject

_STUCK = 300.0  # seconds
_GRACE = 3.0  # seconds in which everything must be gone
_STAGES = ("toolchain", "sources", "compile", "proof", "index")


class Bench:
    """The project, its store and its index."""

    def __init__(self, root: Path, seed: int, within: float) -> None:
        self.within = within
        self.root, self.store, self.index = root, root / "store", root / "dist"
        recipe = toyproject.RECIPE.replace('"8.6;12.0"', '"8.6"')  # half the work: the kills are what counts
        self.recipes = toyproject.make(root, recipe=recipe)
        self.random = random.Random(seed)
        self.problems: list[str] = []
        self.where: Counter[str] = Counter()
        self.sha256, self.seconds, self.wheel = "", 0.0, ""

    def command(self, rebuild: bool) -> list[str]:
        """The command line of one run."""
        head = [sys.executable, "-m", "wheelsmith"]
        if rebuild:
            return [*head, "rebuild", self.wheel, "--store", str(self.store), "--toolkit", "wheels"]
        places = ["--store", str(self.store), "--index", str(self.index), "--toolkit", "wheels", "--no-cache"]
        return [*head, "build", "toycuda", "--recipes", str(self.recipes), *places]

    def problem(self, text: str) -> None:
        """Note it, and say it at once."""
        self.problems.append(text)
        print(f"  PROBLEM {text}", flush=True)

    def run(self, *, kill_after: float | None, rebuild: bool = False) -> bool:
        """One run; whether it came to its end."""
        log, started = self.root / "run.log", time.monotonic()
        with log.open("wb") as file:
            process = subprocess.Popen(self.command(rebuild), stdout=file, stderr=file)
            try:
                process.wait(kill_after or _STUCK)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
        said = log.read_text("utf-8", errors="replace")
        if "Traceback" in said:
            self.problem(f"traceback: {said[-600:]}")
        if process.returncode == -signal.SIGKILL:
            if kill_after is None:
                self.problem(f"stuck after {_STUCK} s: {said[-600:]}")
            done = [line.split()[0] for line in said.splitlines() if line.startswith(_STAGES)]
            self.where[f"after {done[-1]} spoke" if done else "at the start"] += 1
            self.look()
            return False
        if process.returncode:
            self.problem(f"exit code {process.returncode}: {said[-600:]}")
        self.seconds = time.monotonic() - started
        return True

    def look(self) -> None:
        """After a kill: who lives, and what stands there."""
        until = time.monotonic() + _GRACE
        while left := self.living():
            if time.monotonic() > until:
                self.problem(f"alive: {left}")
                for pid in left:
                    with contextlib.suppress(OSError):
                        os.kill(int(pid.split()[0]), signal.SIGKILL)
                break
            time.sleep(0.05)
        for name, needed in (("envs", "venv/pyvenv.cfg"), ("cuda", "toolkit/bin/nvcc"), ("wheels", "build.json")):
            for entry in self.store.glob(f"{name}/[!.]*"):
                if not (entry / needed).is_file():
                    self.problem(f"half: {entry}")
        for wheel in self.index.glob("*.whl"):
            if self.sha256 and hashlib.sha256(wheel.read_bytes()).hexdigest() != self.sha256:
                self.problem(f"half: {wheel}")

    def living(self) -> list[str]:
        """Processes whose command line or mounts name the store."""
        found, mark = [], str(self.store).encode()
        for directory in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                line = (directory / "cmdline").read_bytes()
                if (
                    int(directory.name) != os.getpid()
                    and line
                    and mark in line + (directory / "mountinfo").read_bytes()
                ):
                    found.append(f"{directory.name} {line[:80].replace(bytes(1), b' ').decode('utf-8', 'replace')}")
        return found

    def check(self) -> None:
        """The bytes of a run that came to its end, and that nothing unfinished is left."""
        wheels = list(self.index.glob("*.whl"))
        digests = {hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in wheels}
        if len(wheels) != 1 or (self.sha256 and digests != {self.sha256}):
            self.problem(f"other bytes: {digests}")
        left = [*self.store.glob("work/[!.]*"), *self.store.glob("*/.*.new"), *self.store.glob("*/.*.going")]
        if left:
            self.problem(f"left behind: {left}")
        self.wheel, self.sha256 = str(wheels[0]), self.sha256 or digests.pop()

    def reset(self) -> None:
        """Take back some of what is done."""
        depth = self.random.random()
        gone = [self.index, self.store / "wheels"]
        gone += [self.store / "blobs", self.store / "served"] if depth < 0.5 else []
        gone += [self.store / "envs"] if depth < 0.4 else []
        gone += [self.store / "cuda"] if depth < 0.15 else []
        for directory in gone:
            shutil.rmtree(directory, ignore_errors=True)

    def round(self, kills: int, rebuild: bool) -> int:
        """Kill until a run ends or so many kills are done; how many there were."""
        done = 0
        while done < kills:
            # At a moment of what the last run took that came to its end; what is done is not done again.
            if self.run(kill_after=self.random.uniform(0.05, min(self.seconds, self.within)), rebuild=rebuild):
                break
            done += 1
        else:
            self.run(kill_after=None, rebuild=rebuild)
        self.check()
        return done


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kills", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--within", type=float, default=60.0, metavar="SECONDS", help="latest moment of a kill")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wheelsmith-kills-") as name:
        bench = Bench(Path(name), options.seed, options.within)
        bench.run(kill_after=None)
        bench.check()
        print(f"without a kill: {bench.seconds:.1f} s, sha256 {bench.sha256}", flush=True)
        kills = rounds = 0
        while kills < options.kills:
            rebuild = rounds % 5 == 4
            if not rebuild:
                bench.reset()
            kills += bench.round(min(6, options.kills - kills), rebuild)
            rounds += 1
            print(f"{kills} kills, {rounds} rounds to their end, {len(bench.problems)} problems", flush=True)
        print(f"killed: {', '.join(f'{where} {count}' for where, count in bench.where.most_common())}")
        print(f"{kills} kills, {rounds} rounds, {len(bench.problems)} problems")
    return 1 if bench.problems else 0


if __name__ == "__main__":
    sys.exit(main())
