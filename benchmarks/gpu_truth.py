"""What `wheelsmith fits` predicts, against what a real GPU's driver does.

    python benchmarks/gpu_truth.py make build/gpu-truth --newer-nvcc …/nvidia/cu13/bin/nvcc   # any machine with nvcc
    python3 benchmarks/gpu_truth.py run build/gpu-truth                                       # the machine with the GPU

`make` compiles small libraries (the CUDA runtime linked statically, so that each stands alone), and writes them with
the predictions for one GPU and driver. `--newer-nvcc` is the compiler of a toolkit that is newer than that driver, for
example from the package `cuda-toolkit[nvcc,cudart,cccl,crt,nvvm]`. `run` needs nothing but python3 and the driver: it
calls every translation unit of every library in a process of its own, once as it is and once with the driver's compiler
turned off (CUDA_DISABLE_PTX_JIT), and loads the same code once more through the driver API. It exits with 1 if a
prediction was wrong.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

# CUDA driver API, cuda.h: CUresult; the runtime's cudaError_t has the same numbers.
NO_BINARY, UNSUPPORTED_PTX, JIT_DISABLED = 209, 222, 223

SOURCE = """
#include <cuda_runtime.h>
extern "C" __global__ void scale_{unit}(float *x) {{ x[threadIdx.x] *= 2; }}
extern "C" int run_{unit}(void) {{
  float host = 21, *x = nullptr;
  cudaError_t error = cudaMalloc(&x, sizeof host);
  if (error) return error;
  cudaMemcpy(x, &host, sizeof host, cudaMemcpyHostToDevice);
  scale_{unit}<<<1, 1>>>(x);
  if ((error = cudaGetLastError())) return error;
  if ((error = cudaMemcpy(&host, x, sizeof host, cudaMemcpyDeviceToHost))) return error;
  return host == 42 ? 0 : -1;
}}
"""


@dataclass(frozen=True)
class Case:
    """A library: for each translation unit its `-gencode` targets, the compiler, and further flags."""

    name: str
    units: tuple[str, ...]
    newer: tuple[bool, ...] = (False,)
    link: str = ""
    flags: tuple[str, ...] = ()


CASES = (
    Case("sm_90 machine code", ("sm_90",)),
    Case("sm_90, compressed", ("sm_90",), flags=("--compress-mode=size",)),
    Case("sm_90 of the newer toolkit", ("sm_90",), (True,)),
    Case("compute_80 PTX only", ("compute_80",)),
    Case("sm_80 machine code only", ("sm_80",)),
    Case("sm_86 + sm_120 machine code only", ("sm_86 sm_120",)),
    Case("compute_80 PTX of the newer toolkit", ("compute_80",), (True,)),
    Case("the same PTX beside sm_90", ("sm_90 compute_90",), (True,)),
    Case("sm_90a machine code", ("sm_90a",)),
    Case("compute_90a PTX", ("compute_90a",)),
    Case("sm_100f machine code", ("sm_100f",)),
    Case("compute_100 PTX", ("compute_100",)),
    Case("compiled for sm_86, linked for sm_90", ("sm_86",), link="sm_90"),
    Case("unit 1 sm_90, unit 2 newer PTX", ("sm_90", "compute_80"), (False, True)),
    Case("unit 1 sm_90, unit 2 compute_80", ("sm_90", "compute_80"), (False, False)),
    Case("unit 1 sm_90, unit 2 sm_86", ("sm_90", "sm_86"), (False, False)),
)


def gencode(targets: str) -> list[str]:
    return [f"-gencode=arch={target.replace('sm_', 'compute_')},code={target}" for target in targets.split()]


def make(folder: Path, nvcc: str, newer: str, gpu: str, driver: str) -> None:
    """Compile every case and write `cases.json` with the predictions."""
    import wheelsmith

    folder.mkdir(parents=True, exist_ok=True)
    cases = []
    with tempfile.TemporaryDirectory() as work:
        for number, case in enumerate(CASES):
            objects, fatbins = [], []
            for unit, (targets, by_newer) in enumerate(zip(case.units, case.newer, strict=True)):
                source, target = Path(work, f"{number}_{unit}.cu"), Path(work, f"{number}_{unit}.o")
                source.write_text(SOURCE.format(unit=unit))
                compiler = [newer if by_newer else nvcc, *case.flags, *gencode(targets)]
                subprocess.run([*compiler, "-c", "-Xcompiler=-fPIC", "-o", target, source], check=True)
                fatbins.append(f"{number}_{unit}.fatbin")
                subprocess.run([*compiler, "-fatbin", "-o", folder / fatbins[-1], source], check=True)
                objects.append(target)
            library = folder / f"{number}.so"
            linker = [newer if any(case.newer) else nvcc, "-shared", "-cudart=static", *case.flags]
            subprocess.run([*linker, *gencode(case.link), "-o", library, *objects], check=True)
            (fit,) = wheelsmith.fits(library, gpu=gpu, driver=driver).libraries
            cases.append(
                {
                    "name": case.name,
                    "library": library.name,
                    "units": len(case.units),
                    "fatbins": fatbins,
                    "answer": fit.answer,
                    "predicted": {"native": fit.native, "jit": fit.jit, "refused": fit.refused, "absent": fit.absent},
                    "says": fit.reasons[0].says if fit.reasons else "",
                }
            )
    (folder / "cases.json").write_text(json.dumps({"gpu": gpu, "driver": driver, "cases": cases}, indent=1))
    print(f"{len(cases)} libraries in {folder}, predicted for {gpu} with driver {driver}")


def run(folder: Path) -> int:
    """Try every case and print the table."""
    told = json.loads((folder / "cases.json").read_text())
    print(f"predicted for {told['gpu']}, driver {told['driver']}; here: {here()}\n")
    rows, wrong = [("case", "answer", "predicted", "the driver did", "driver API", "")], 0
    for case in told["cases"]:
        runtime = Counter(outcome("library", folder / case["library"], unit) for unit in range(case["units"]))
        direct = Counter(outcome("fatbin", folder / name, unit) for unit, name in enumerate(case["fatbins"]))
        predicted = Counter({kind: count for kind, count in case["predicted"].items() if count})
        right = runtime == predicted == direct
        wrong += not right
        rows.append(
            (case["name"], case["answer"], *map(listed, (predicted, runtime, direct)), "ok" if right else "WRONG")
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(f"\n{len(rows) - 1 - wrong} of {len(rows) - 1} predictions right")
    return 1 if wrong else 0


def listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))


def outcome(how: str, path: Path, unit: int) -> str:
    """What happens to one translation unit: `native`, `jit`, `refused`, `absent`, or the error's number."""
    codes: list[int] = []
    for disabled in ("1", "0"):
        command = [sys.executable, __file__, "try", how, str(path.resolve()), str(unit)]
        environment = os.environ | {"CUDA_DISABLE_PTX_JIT": disabled, "CUDA_CACHE_DISABLE": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        last = done.stdout.split()
        if done.returncode or not last:
            return f"died: {done.stderr[-200:]}"
        codes.append(int(last[-1]))
    return {
        (0, 0): "native",
        (JIT_DISABLED, 0): "jit",
        (JIT_DISABLED, UNSUPPORTED_PTX): "refused",
        (UNSUPPORTED_PTX, UNSUPPORTED_PTX): "refused",
        (NO_BINARY, NO_BINARY): "absent",
    }.get((codes[0], codes[1]), f"{codes[0]} without the compiler, {codes[1]} with it")


def attempt(how: str, path: str, unit: int) -> int:
    """In a process of its own: load, launch, check the result; the error's number, 0 for success."""
    if how == "library":
        return int(getattr(ctypes.CDLL(path), f"run_{unit}")())
    cuda = ctypes.CDLL("libcuda.so.1")
    context, module, function, memory = (ctypes.c_void_p() for _ in range(4))
    number, value = ctypes.c_int(), ctypes.c_float(21)
    image = Path(path).read_bytes()
    for call, *arguments in (
        ("cuInit", 0),
        ("cuDeviceGet", ctypes.byref(number), 0),
        ("cuDevicePrimaryCtxRetain", ctypes.byref(context), 0),
        ("cuCtxSetCurrent", context),
        ("cuModuleLoadData", ctypes.byref(module), image),
        ("cuModuleGetFunction", ctypes.byref(function), module, f"scale_{unit}".encode()),
        ("cuMemAlloc_v2", ctypes.byref(memory), ctypes.c_size_t(4)),
        ("cuMemcpyHtoD_v2", memory, ctypes.byref(value), ctypes.c_size_t(4)),
    ):
        if error := getattr(cuda, call)(*arguments):
            return int(error)
    parameters = (ctypes.c_void_p * 1)(ctypes.addressof(memory))
    if error := cuda.cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, None, parameters, None):
        return int(error)
    if error := cuda.cuMemcpyDtoH_v2(ctypes.byref(value), memory, ctypes.c_size_t(4)):
        return int(error)
    return 0 if value.value == 42 else -1


def here() -> str:
    """GPU and driver of this machine, in the words of nvidia-smi."""
    query = ["nvidia-smi", "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "nvidia-smi says nothing"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    maker = commands.add_parser("make")
    maker.add_argument("folder", type=Path)
    maker.add_argument("--nvcc", default="nvcc")
    maker.add_argument("--newer-nvcc", required=True)
    maker.add_argument("--gpu", default="H100")
    maker.add_argument("--driver", default="580.x")
    commands.add_parser("run").add_argument("folder", type=Path)
    trier = commands.add_parser("try")
    trier.add_argument("how", choices=("library", "fatbin"))
    trier.add_argument("path")
    trier.add_argument("unit", type=int)
    given = parser.parse_args()
    if given.command == "make":
        make(given.folder, given.nvcc, given.newer_nvcc, given.gpu, given.driver)
    elif given.command == "run":
        sys.exit(run(given.folder))
    else:
        print(attempt(given.how, given.path, given.unit))


if __name__ == "__main__":
    main()
