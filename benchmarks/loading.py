"""What fatbin compression costs where the wheel is used: time until a library is imported, and until its kernels run.

    python -m benchmarks.loading PLACE [--package causal-conv1d==1.6.1] [--archs 9.0] [--modes none,speed,size]
        [--rounds 7] [--limit SECONDS] [--only build|measure] [--side-by-side] [OPTIONS OF BUILD]

Run it with the Python whose torch the wheel is for, on a machine with a GPU of `--archs`. In PLACE the package is built
once for each mode (the recipe's `[build] compress`); `--side-by-side`: all at the same time. Options that are not
listed go to `wheelsmith build`. What is in PLACE is not built again; `--only` does one half.

Then each wheel is used in `--rounds` fresh processes, in turns, once with its libraries read from the disk (they are
dropped from the page cache before) and once from the page cache; no round begins after `--limit`. torch is imported and
has used the GPU before the clock starts. Timed are the import, the first call of each of the package's functions below,
each to its end on the GPU, and, as what no loading is in, the same calls once more. Printed: the bytes of the
libraries, medians in milliseconds (lowest to highest), and the sum of import and first calls against that of the first
mode.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import zipfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

from benchmarks.slim import variant_of

ROOT = Path(__file__).parents[1]

#: By package: what comes before the clock starts, and the code of each step.
STEPS = {
    "causal-conv1d": (
        "x, w, b = (torch.randn(*s, device='cuda', requires_grad=True) for s in ((2, 64, 2048), (64, 4), (64,)))",
        {
            "import": "from causal_conv1d import causal_conv1d_fn",
            "forward": "y = causal_conv1d_fn(x, w, b, activation='silu')",
            "backward": "y.sum().backward()",
        },
    )
}
_PROGRAM = """
import json, sys, time, torch
before, steps = json.load(sys.stdin)
scope = {"torch": torch}
exec("torch.ones(8, device='cuda').sum().item()\\n" + before + "\\ntorch.cuda.synchronize()", scope)
times = {}
for turn in ("", "again "):
    for name, code in steps.items():
        began = time.perf_counter()
        exec(code, scope)
        torch.cuda.synchronize()
        times[turn + name] = 1000 * (time.perf_counter() - began)
print(json.dumps(times))
"""


def build(place: Path, package: str, archs: str, mode: str, more: list[str]) -> None:
    """Build the package in a mode, and unpack its wheel."""
    site, name = place / mode / "site", package.partition("==")[0]
    if site.is_dir():
        return
    recipes = place / mode / "recipes"
    if not recipes.is_dir():
        (place / mode).mkdir(parents=True, exist_ok=True)
        variant_of(ROOT / "recipes" / f"{name}.toml", (f'compress = "{mode}"',), recipes)
    command = [sys.executable, "-m", "wheelsmith", "build", package, "--arch", archs, "--env", "current"]
    command += ["--recipes", str(recipes), "--store", str(place / mode / "store")]
    began = time.monotonic()
    with (place / f"{mode}.log").open("wb") as log:
        subprocess.run(
            [*command, "--index", str(place / mode / "dist"), *more],
            check=True,
            stdout=log,
            stderr=log,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
    wheel = next((place / mode / "dist").glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site.with_name("part"))
    site.with_name("part").rename(site)
    print(
        f"{mode}: built in {time.monotonic() - began:.0f} s, the wheel has {wheel.stat().st_size:,} bytes", flush=True
    )


def use(site: Path, name: str, cold: bool) -> dict[str, float]:
    """Milliseconds of each step in a fresh process."""
    for library in site.rglob("*.so"):
        with library.open("rb") as file:
            os.fsync(file.fileno())
            if cold:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            else:
                while file.read(1 << 24):
                    pass
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        input=json.dumps(STEPS[name]),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd="/",
        env=os.environ | {"PYTHONPATH": str(site)},
    )
    times: dict[str, float] = json.loads(done.stdout)
    return times


def measure(place: Path, name: str, modes: list[str], rounds: int, limit: float) -> None:
    """Use each mode's wheel again and again, in turns, and print a table."""
    times: dict[tuple[str, bool, str], list[float]] = defaultdict(list)
    began = time.monotonic()
    for number in range(rounds):
        if time.monotonic() - began > limit:
            rounds = number
            break
        for cold in (True, False):
            turn = number % len(modes)
            for mode in modes[turn:] + modes[:turn]:
                found = use(place / mode / "site", name, cold)
                steps = [step for step in found if not step.startswith("again")]
                for step, value in {**found, "all": sum(found[step] for step in steps)}.items():
                    times[mode, cold, step].append(value)
    print(f"{'':6} {'library from':12} {'bytes':>12}  milliseconds, median of {rounds} (lowest to highest)")
    for cold in (True, False):
        for mode in modes:
            size = sum(path.stat().st_size for path in (place / mode / "site").rglob("*.so"))
            cells = [
                f"{step} {median(values):.1f} ({min(values):.1f} to {max(values):.1f})"
                for (its, state, step), values in times.items()
                if (its, state) == (mode, cold)
            ]
            ratio = median(times[mode, cold, "all"]) / median(times[modes[0], cold, "all"])
            print(
                f"{mode:6} {'disk' if cold else 'page cache':12} {size:>12,}  {ratio:.2f} of {modes[0]}; "
                + ", ".join(cells)
            )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("place", type=Path)
    parser.add_argument("--package", default="causal-conv1d==1.6.1")
    parser.add_argument("--archs", default="9.0")
    parser.add_argument("--modes", default="none,speed,size")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--limit", type=float, default=float("inf"))
    parser.add_argument("--only", choices=("build", "measure"), default="")
    parser.add_argument("--side-by-side", action="store_true")
    options, more = parser.parse_known_args()
    place, modes = options.place.resolve(), options.modes.split(",")
    if options.only != "measure":
        with ThreadPoolExecutor(len(modes) if options.side_by_side else 1) as pool:
            made = [pool.submit(build, place, options.package, options.archs, mode, more) for mode in modes]
        for future in made:
            future.result()
    if options.only != "build":
        measure(place, options.package.partition("==")[0], modes, options.rounds, options.limit)


if __name__ == "__main__":
    main()
