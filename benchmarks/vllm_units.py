"""How much vLLM's build compiles: translation units and device passes, upstream's default against the recipe's.

Runs `wheelsmith build` until CMake is done, for both values of the recipe's option `standalone`, with
the stand-ins of `benchmarks.standins` in place of what a package index does not have, and counts in build.ninja what
the build was about to run. The files of FlashAttention-2 and -3 are stand-ins in content, not in number. Needs network
to a package index, 10 GB of disk and a few minutes; compiles nothing.

    python -m benchmarks.vllm_units [VERSION] [ARCHS] [TORCH] [STORE]

With `[mirrors]` in the configuration file, real trees take the place of stand-ins: see `benchmarks.standins`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from packaging.version import Version

import wheelsmith
from benchmarks.standins import make_partly
from wheelsmith.config import load_config
from wheelsmith.errors import InterruptedBuildError
from wheelsmith.events import Event, ToolLine, ignore
from wheelsmith.planning.model import CANONICAL, EditPatch, Expectation, Plan, SdistSource
from wheelsmith.sources import archive, sdist
from wheelsmith.store import Store
from wheelsmith.toolchain.host import find_host_compiler

#: What a package index offers a compiler for: nvcc comes as a wheel from CUDA 13.0 on, torch 2.11.0 is built with it.
CUDA, TORCH = "13.0", "2.11.0"
BUILD_FILES = "work/*/src/build/temp*/build.ninja"
_GENCODE = re.compile(r"code=\[?((?:(?:sm|compute)_\w+,?)+)")
_SOURCE = re.compile(r" -c (\S+\.cu)\b")


def _stop(event: Event, /) -> None:
    """A listener that interrupts the build when CMake is done, as Ctrl-C would."""
    if isinstance(event, ToolLine) and event.text.startswith("-- Build files have been written to"):
        raise KeyboardInterrupt


def count(
    version: str, archs: str, torch: str, recipes: Path, store: Path, *, standalone: bool
) -> dict[str, Counter[str]]:
    """For each extension: `units`, and device passes by arch as nvcc's `code=` names them."""
    plan = wheelsmith.plan(
        f"vllm=={version}",
        arch=archs,
        cuda=CUDA,
        torch=torch,
        recipes=[recipes],
        options={"standalone": standalone},
    )
    plan = dataclasses.replace(plan, expect=Expectation(3.0, 12.0, 0.0))  # nothing is compiled
    plan = dataclasses.replace(plan, patches=(*plan.patches, *_without_gcc_check(plan, store)))
    known = set(store.glob(BUILD_FILES))
    with tempfile.TemporaryDirectory() as index, contextlib.suppress(InterruptedBuildError):
        wheelsmith.build(plan, store=store, index=index, jobs=1, toolkit="wheels", listener=_stop)
    if not (made := set(store.glob(BUILD_FILES)) - known):
        raise SystemExit("interrupted before CMake was done, or this store has counted this release before")
    (build_file,) = made
    left_out = {"_vllm_fa3_C"} if standalone and "9.0" not in archs else set()
    ninja = next(store.glob("envs/*/venv/bin/ninja"))
    return count_units(ninja, build_file.parent, build_file.parents[2], left_out)


def _without_gcc_check(plan: Plan, store: Path) -> tuple[EditPatch, ...]:
    """Where this machine's g++ is too old for the sources, CMake's question about it is taken out, and that is said."""
    assert isinstance(plan.source, SdistSource)
    with tempfile.TemporaryDirectory() as name:
        archive.lay_out(plan.source, Store(store), Path(name, "source"))
        text = Path(name, "source", "CMakeLists.txt").read_text("utf-8")
    number = find_host_compiler().number
    wanted = re.findall(r'CXX_COMPILER_VERSION VERSION_LESS "([0-9.]+)"', text)
    asked = [oldest for oldest in wanted if Version(oldest) > Version(number)]
    for oldest in asked:
        print(f"g++ {number} here, CMake wants {oldest}: its check is taken out, as nothing is compiled", flush=True)
    why = "only what CMake would build is counted"
    lines = [f'CMAKE_CXX_COMPILER_VERSION VERSION_LESS "{oldest}"' for oldest in asked]
    return tuple(EditPatch(f"{CANONICAL}/src", "CMakeLists.txt", line, '"1" STREQUAL "0"', 1, why) for line in lines)


def count_units(ninja: Path, build: Path, source: Path, left_out: set[str]) -> dict[str, Counter[str]]:
    """For each extension that setup.py names, what `build` would compile, see `count`."""
    text = (source / "setup.py").read_text("utf-8")
    targets = set(re.findall(r'CMakeExtension\(\s*name="vllm\.(?:\w+\.)?(\w+)"', text)) - left_out
    found: dict[str, Counter[str]] = {}
    for target in sorted(targets):
        command_list = [str(ninja), "-C", str(build), "-t", "commands", target]
        done = subprocess.run(command_list, capture_output=True, text=True, check=False)
        for command in done.stdout.splitlines():
            if _SOURCE.search(command) is None:
                continue
            counts = found.setdefault(target, Counter())
            counts["units"] += 1
            codes = [code for group in _GENCODE.findall(command) for code in group.strip(",").split(",")]
            counts.update(codes or ["(default arch)"])
    return found


def main() -> None:
    """Print a table for both ways, and the ratio."""
    defaults = ("0.16.0", "8.6;12.0", TORCH)
    version, archs, torch = (*sys.argv[1:4], *defaults[len(sys.argv[1:4]) :])
    totals = {}
    with tempfile.TemporaryDirectory(prefix="wheelsmith-units-") as temporary:
        place = Path(temporary)
        store = Path(sys.argv[4]).absolute() if len(sys.argv) > 4 else place / "store"
        plan = wheelsmith.plan(f"vllm=={version}")
        assert isinstance(plan.source, SdistSource), "0.15.1 has none: its neighbours differ by one source file"
        sdist.fetch(plan.source, Store(store), None, ignore)
        archive.lay_out(plan.source, Store(store), place / "source")
        recipes = place / "recipes"
        for tree, kind in make_partly(recipes, place / "source", version, load_config().mirrors).items():
            print(f"{tree:<26} {kind}", flush=True)
        for standalone in (False, True):
            found = count(version, archs, torch, recipes, store, standalone=standalone)
            name = "recipe" if standalone else "upstream"
            print(f"\n{name}: vLLM {version} for {archs}, torch {torch}")
            for target, counts in found.items():
                codes = "  ".join(f"{code}:{number}" for code, number in sorted(counts.items()) if code != "units")
                print(f"  {target:<22} {counts['units']:>4} units   {codes}")
            units = sum(counts["units"] for counts in found.values())
            passes = sum(sum(counts.values()) - counts["units"] for counts in found.values())
            totals[name] = (units, passes)
            print(f"  {'together':<22} {units:>4} units, {passes} device passes (machine code and PTX)")
    ours, theirs = totals["recipe"], totals["upstream"]
    print(f"\nratio, recipe to upstream: units {ours[0] / theirs[0]:.2f}, device passes {ours[1] / theirs[1]:.2f}")


if __name__ == "__main__":
    main()
