"""What wheelsmith costs over calling the PEP 517 backend by hand, and what a second build costs.

    python -m benchmarks.build [REQUIREMENT] [--pairs N] [--toolkit wheels]

Each pair compiles the package twice from nothing, in turn: once by hand (the same environment, toolkit, variables and
job count, `build` called directly) and once through wheelsmith (cold: nothing compiled; sources, environment and
toolkit are in the store, as they are for the run by hand). Ratios are taken pair by pair; the median is printed. Then
the same plan is built again, and once more in another store, to compare the wheels' bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import wheelsmith
from wheelsmith.events import ignore
from wheelsmith.planning.model import CANONICAL, Plan
from wheelsmith.sources.stage import lay_out
from wheelsmith.store import Store
from wheelsmith.toolchain.cuda import provide_toolkit
from wheelsmith.toolchain.environment import provide_environment
from wheelsmith.toolchain.uv import Uv

DRIVER = """
import json, subprocess, sys
from build import ProjectBuilder
request = json.load(open(sys.argv[1]))
def run(cmd, cwd=None, extra_environ=None):
    subprocess.run(cmd, cwd=cwd, env=request["environment"] | dict(extra_environ or {}), check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
ProjectBuilder(request["source"], python_executable=request["python"], runner=run).build(
    "wheel", request["out"], config_settings=request["config_settings"])
"""


def by_hand(plan: Plan, store: Store, toolkit: str, jobs: int) -> float:
    """Seconds of wall time that the backend takes without wheelsmith."""
    uv = Uv(offline=True, index_url=None, listener=ignore)
    environment = provide_environment(plan, store, uv)
    math = plan.target.torch is not None
    cuda = provide_toolkit(plan.target.cuda, math=math, choice=toolkit, store=store, uv=uv)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        lay_out(plan, store, root)
        for directory in ("home", "tmp", "out"):
            (root / directory).mkdir()

        def real(text: str) -> str:
            text = text.replace(f"{CANONICAL}/env", str(environment.prefix)).replace(
                f"{CANONICAL}/cuda", str(cuda.root)
            )
            return text.replace(CANONICAL, str(root))

        request = {
            "source": str(root / "src"),
            "out": str(root / "out"),
            "python": str(environment.prefix / "bin/python"),
            "environment": {key: real(value) for key, value in plan.environment}
            | {"MAX_JOBS": str(jobs), "CMAKE_BUILD_PARALLEL_LEVEL": str(jobs)},
            "config_settings": {key: real(value) for key, value in plan.config_settings},
        }
        (root / "request.json").write_text(json.dumps(request), "utf-8")
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", DRIVER, root / "request.json"], check=True)
        return time.perf_counter() - started


def through_wheelsmith(requirement: str, store: Path, index: Path, toolkit: str, jobs: int) -> tuple[float, str, int]:
    """Seconds of wall time of the whole command, the wheel's SHA-256, and bytes of sources fetched."""
    command = [sys.executable, "-m", "wheelsmith", "build", requirement, "--json", "--jobs", str(jobs)]
    command += ["--store", str(store), "--index", str(index), "--toolkit", toolkit]
    started = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    result = json.loads(done.stdout)
    return seconds, result["sha256"], result["bytes_fetched"]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("requirement", nargs="?", default="cuvec==6.0.1")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--toolkit", default="wheels")
    options = parser.parse_args()
    jobs = len(os.sched_getaffinity(0))
    plan = wheelsmith.plan(options.requirement)

    with tempfile.TemporaryDirectory(prefix="wheelsmith-bench-") as name:
        root = Path(name)
        store_path, index = root / "store", root / "dist"
        wheelsmith.fetch(plan, store=store_path, toolkit=options.toolkit)
        store = Store(store_path)
        hand, ours = [], []
        digest = ""
        for number in range(options.pairs):
            hand.append(by_hand(plan, store, options.toolkit, jobs))
            shutil.rmtree(store_path / "wheels", ignore_errors=True)
            shutil.rmtree(index, ignore_errors=True)
            seconds, digest, _ = through_wheelsmith(options.requirement, store_path, index, options.toolkit, jobs)
            ours.append(seconds)
            print(f"pair {number + 1}: by hand {hand[-1]:.2f} s, wheelsmith {ours[-1]:.2f} s", flush=True)
        overhead = statistics.median(b / a - 1 for a, b in zip(hand, ours, strict=True))
        print(f"overhead over the backend by hand (cold, median of pairs): {overhead:+.1%}")

        again = [through_wheelsmith(options.requirement, store_path, index, options.toolkit, jobs) for _ in range(5)]
        median = statistics.median(seconds for seconds, _, _ in again)
        fetched = sum(size for _, _, size in again)
        print(f"second build of the same plan: {median:.2f} s (median of 5), {fetched} bytes fetched,")
        print(f"  that is {median / statistics.median(ours):.1%} of the cold build")

        other = through_wheelsmith(options.requirement, root / "elsewhere/store", root / "d2", options.toolkit, jobs)
        print(f"built in another directory: {'the same bytes' if other[1] == digest else 'OTHER BYTES'} ({digest})")


if __name__ == "__main__":
    main()
