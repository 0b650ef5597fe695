"""What an interruption costs: CPU-seconds that were spent and must be spent again.

    python -m benchmarks.interrupt [--moments 3] [--rows 40] [--toolkit auto] [--source DIR]

A project of three units for two archs is built whole; then it is built again, interrupted at moments spread over its
compile, and continued: once by one Ctrl-C (what runs comes to its end), once by two (it is stopped at once). Lost is
what both runs used together beyond the whole build and the second start. `--rows`: how large the units are; 40: some
twenty CPU-seconds each, most of it device code. `--source`: a checkout of another version of
wheelsmith, to compare with; it is run with this Python.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.cache import TILES
from tests.support import toyproject
from wheelsmith.compile.memory import process_tree

_TICKS = os.sysconf("SC_CLK_TCK")


def unit(number: int, rows: int = 40) -> str:
    """A unit whose largest kernel has so many rows."""
    return TILES.replace("SEED", str(number)).replace("tile<16, 64, 16>", f"tile<{rows}, 64, 32>")


class Bench:
    """Builds in a directory of its own with one version of wheelsmith."""

    def __init__(self, root: Path, source: Path, toolkit: str, rows: int) -> None:
        self.root, self.source, self.toolkit = root, source, toolkit
        content = toyproject.files() | {
            f"{name}.cu": unit(n, rows) for n, name in enumerate(("one", "two", "three"), 1)
        }
        self.recipes = toyproject.make(root, content)

    def fetch(self, name: str) -> None:
        """Make all that a build needs: sources, environment, toolkit."""
        command = self._command("fetch", name)
        subprocess.run(command, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Begin a build; every `name` has a cache, a wheel and a work directory of its own."""
        command = [*self._command("build", name), "--index", self.root / name / "dist", "--verbose"]
        return subprocess.Popen(command, env=self._environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)

    def _command(self, what: str, name: str) -> list[str | Path]:
        command: list[str | Path] = [sys.executable, "-m", "wheelsmith", what, "toycuda", "--recipes", self.recipes]
        return [*command, "--store", self.root / name / "store", "--toolkit", self.toolkit]

    @property
    def _environment(self) -> dict[str, str]:
        return os.environ | {"PYTHONPATH": str(self.source)}

    def whole(self, name: str) -> tuple[float, float]:
        """CPU-seconds of a build to its end, and wall seconds from the first unit on."""
        self.fetch(name)
        before, process = _used(), self.start(name)
        begun = _compiling(process)
        assert process.stderr is not None
        process.stderr.read()
        if process.wait() != 0:
            raise SystemExit("the build failed")
        return _used() - before, time.monotonic() - begun

    def interrupted(self, name: str, moment: float, presses: int) -> tuple[float, float]:
        """CPU-seconds until a build that was interrupted had ended, and seconds that this took."""
        self.fetch(name)
        before, process = _used(), self.start(name)
        begun = _compiling(process)
        time.sleep(max(0.0, begun + moment - time.monotonic()))
        spent, sent = tree_seconds(process.pid), time.monotonic()
        for _ in range(presses):
            process.send_signal(signal.SIGINT)
            time.sleep(0.3)
        assert process.stderr is not None
        process.stderr.read()
        status = process.wait()
        if status != 130:
            raise SystemExit(f"the build ended with {status} before {moment:.0f} s")
        # Of those who were killed nobody counts the time but we, just before.
        return max(spent, _used() - before), time.monotonic() - sent


def _compiling(process: subprocess.Popen[bytes]) -> float:
    """Wait for the build tool to begin; when that was."""
    assert process.stderr is not None
    for line in process.stderr:
        if b"Build files have been written" in line:
            return time.monotonic()
    raise SystemExit("the build did not begin")


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
    parser.add_argument("--moments", type=int, default=3)
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--toolkit", default="auto")
    parser.add_argument("--source", type=Path, default=Path(__file__).parents[1])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wheelsmith-bench-") as name:
        bench = Bench(Path(name), options.source.resolve(), options.toolkit, options.rows)
        full, seconds = bench.whole("whole")
        print(f"whole: {full:.1f} CPU-s, {seconds:.1f} s from the first unit on", flush=True)
        for presses in (1, 2):
            losses = []
            for number in range(options.moments):
                moment = seconds * (number + 0.5) / options.moments * 0.9
                place = f"{presses}-{number}"
                spent, waited = bench.interrupted(place, moment, presses)
                again, _ = bench.whole(place)
                losses.append(spent + again - full)
                text = f"after {moment:.0f} s: {spent:.1f} CPU-s, ended {waited:.0f} s later; then {again:.1f} CPU-s"
                print(f"  {presses} Ctrl-C {text}: lost {losses[-1]:.1f}", flush=True)
            print(f"{presses} Ctrl-C: {sum(losses) / len(losses):.1f} CPU-s lost on average", flush=True)


if __name__ == "__main__":
    main()
