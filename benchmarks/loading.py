"""What stored forms of GPU code cost where it is loaded, with the code of any wheel, compiled or not by us.

    python -m benchmarks.loading take WHEEL PLACE [--arch 9.0]
    python -m benchmarks.loading build PLACE      (fatbinary and nvcc)
    python -m benchmarks.loading measure PLACE [--rounds 12] [--limit SECONDS]    (a GPU of that arch)

`take` writes the machine code for one arch, unit by unit, below PLACE. `build` makes of each library of the wheel one
for each form: none; lz4 (`-Xfatbin -compress-all --compress-mode=speed`); size (`--compress-mode=size`, Zstandard):
nothing but these units, registered with the CUDA runtime as nvcc's own code does it, and one kernel more.

`measure` loads each in fresh processes, in turns, from the page cache and from the disk (it is dropped from the cache
before), the CUDA context being there already. Printed are medians in milliseconds (lowest to highest) of: load, dlopen
to the end of all constructors; first, the own kernel to its end; units, one kernel of every unit looked up and so
loaded, as if a program used all of them; and the worst unit. With lazy loading, the default, a unit that is not used
costs nothing; `eager` (CUDA_MODULE_LOADING) loads all at `first`.
"""

from __future__ import annotations

import argparse
import ctypes
import io
import json
import os
import re
import struct
import subprocess
import sys
import time
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

FORMS = {
    "none": ["--compress-mode=none"],
    "lz4": ["--compress-all", "--compress-mode=speed"],
    "size": ["--compress-mode=size"],
}
_OWN = """
#include <cuda_runtime.h>
__global__ void own(int* x) { *x = 7; }
extern "C" int first() {
  int *p, v = 0;
  if (int e = cudaMalloc(&p, 4)) return e;
  own<<<1, 1>>>(p);
  if (int e = cudaGetLastError()) return e;
  if (int e = cudaMemcpy(&v, p, 4, cudaMemcpyDeviceToHost)) return e;
  return v == 7 ? 0 : -1;
}
"""
_REGISTER = """
#include <cuda_runtime.h>
#include <chrono>
struct Wrapper { int magic, version; const void* data; void* more; };
extern "C" {
void** __cudaRegisterFatBinary(void*);
void __cudaRegisterFatBinaryEnd(void**);
void __cudaRegisterFunction(void**, const char*, char*, const char*, int, void*, void*, void*, void*, int*);
EXTERN
static Wrapper wrappers[COUNT] = {WRAPPERS};
static char stubs[COUNT];
static const char* const names[COUNT] = {NAMES};
__attribute__((constructor)) static void all() {
  for (int i = 0; i < COUNT; i++) {
    void** handle = __cudaRegisterFatBinary(&wrappers[i]);
    __cudaRegisterFunction(handle, stubs + i, (char*)names[i], names[i], -1, 0, 0, 0, 0, 0);
    __cudaRegisterFatBinaryEnd(handle);
  }
}
int units() { return COUNT; }
int unit(int i, double* ms) {
  auto began = std::chrono::steady_clock::now();
  cudaFuncAttributes found;
  int error = cudaFuncGetAttributes(&found, (const void*)(stubs + i));
  *ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began).count();
  return error;
}
}
"""


def entries(section: bytes) -> Iterator[tuple[int, str, bytes]]:
    """Unit, arch as in `90a`, and content of every piece of machine code in a section of fatbins."""
    import lz4.block
    import zstandard

    unit, at = -1, 0
    while at < len(section) - 16:
        magic, _, head, size = struct.unpack_from("<IHHQ", section, at)
        if magic != 0xBA55ED50:
            at += 8
            continue
        unit, at = unit + 1, at + head
        end = at + size
        while at < end:
            kind, _, head, stored, used, number, flags, whole = struct.unpack_from("<HHIQI8xI8xQ8xQ", section, at)
            if kind == 2:
                content = section[at + head : at + head + stored]
                if flags & 0x8000:
                    content = zstandard.ZstdDecompressor().decompressobj().decompress(content[: used or stored])
                elif flags & 0x2000:
                    content = lz4.block.decompress(content[:used], uncompressed_size=whole)
                yield unit, f"{number}{'a' if flags & 0x100000 else 'f' if flags & 0x200000 else ''}", content
            at += head + stored


def take(wheel: Path, place: Path, arch: str) -> None:
    """Write `place/cubins/LIBRARY/UNIT-ARCH-NUMBER.cubin`."""
    from elftools.elf.elffile import ELFFile

    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if not re.search(r"\.so(\.|$)", name):
                continue
            section = ELFFile(io.BytesIO(archive.read(name))).get_section_by_name(".nv_fatbin")
            folder, count, units = place / "cubins" / Path(name).name.partition(".")[0], 0, set()
            for unit, number, content in entries(section.data()) if section else ():
                if number.rstrip("af") == arch.replace(".", ""):
                    folder.mkdir(parents=True, exist_ok=True)
                    (folder / f"{unit:04d}-{number}-{count}.cubin").write_bytes(content)
                    count += 1
                    units.add(unit)
            if count:
                print(f"{name}: {len(units)} units, {count} pieces for {arch}", flush=True)


def kernel(cubin: Path) -> str | None:
    """The name of the first kernel with a body: a section .text.NAME with constants and info of its own."""
    data = cubin.read_bytes()
    (start,) = struct.unpack_from("<Q", data, 40)
    size, count, names_at = struct.unpack_from("<HHH", data, 58)
    rows = [struct.unpack_from("<IIQQQQIIQQ", data, start + number * size) for number in range(count)]
    base = rows[names_at][4]
    named = {data[base + row[0] : data.index(0, base + row[0])].decode(): row for row in rows}
    for name, row in named.items():
        own = name.removeprefix(".text.")
        if own != name and row[5] and {f".nv.info.{own}", f".nv.constant0.{own}"} <= named.keys():
            return own
    return None


def build(place: Path) -> None:
    """Make `place/FORM/LIBRARY.so`."""
    for folder in sorted((place / "cubins").iterdir()):
        units: dict[str, list[Path]] = defaultdict(list)
        for cubin in sorted(folder.glob("*.cubin")):
            units[cubin.name.split("-")[0]].append(cubin)
        kernels = {unit: next(filter(None, map(kernel, reversed(cubins))), None) for unit, cubins in units.items()}
        names = {unit: name for unit, name in kernels.items() if name}
        for form, flags in FORMS.items():
            made = place / form / folder.name
            made.mkdir(parents=True, exist_ok=True)

            def fatbin(unit: str, made: Path = made, flags: list[str] = flags, units: Any = units) -> None:
                images = [f"--image3=kind=elf,sm={path.name.split('-')[1]},file={path}" for path in units[unit]]
                command = ["fatbinary", "-64", *flags, *images, f"--create={made / unit}.fatbin"]
                subprocess.run(command, check=True)

            with ThreadPoolExecutor(os.cpu_count()) as pool:
                list(pool.map(fatbin, names))
            link(made, names)
            library = made.with_suffix(".so")
            print(f"{form:5} {folder.name:14} {len(names):4} units {library.stat().st_size:>12,} bytes", flush=True)


def link(made: Path, names: dict[str, str]) -> None:
    """Of the fatbins in a folder, the library beside it."""
    count, rows = len(names), list(names)
    fatbins = [
        f'.align 8\n.hidden fat{i}\n.globl fat{i}\nfat{i}: .incbin "{made / u}.fatbin"' for i, u in enumerate(rows)
    ]
    head, tail = '.section .nv_fatbin,"a",@progbits', '.section .note.GNU-stack,"",@progbits\n'
    (made / "fat.S").write_text("\n".join((head, *fatbins, tail)))
    text = _REGISTER.replace("COUNT", str(count))
    text = text.replace("EXTERN", "".join(f"extern const char fat{i}[];" for i in range(count)))
    text = text.replace("WRAPPERS", ",".join(f"{{0x466243b1, 1, fat{i}, 0}}" for i in range(count)))
    (made / "register.cpp").write_text(text.replace("NAMES", ",".join(json.dumps(name) for name in names.values())))
    (made / "own.cu").write_text(_OWN)
    (arch,) = {path.name.split("-")[1].rstrip("af") for path in made.parents[1].glob("cubins/*/*.cubin")}
    command = ["nvcc", "-O1", f"-arch=sm_{arch}", "-cudart", "shared", "-Xcompiler", "-fPIC", "-shared"]
    sources = [str(made / name) for name in ("register.cpp", "own.cu", "fat.S")]
    subprocess.run([*command, *sources, "-o", str(made.with_suffix(".so"))], check=True)
    for unit in rows:
        (made / f"{unit}.fatbin").unlink()


def use(library: str) -> dict[str, Any]:
    """Milliseconds in this process, which has not used the GPU before."""
    runtime = ctypes.CDLL(os.environ.get("CUDART", "libcudart.so.13"), mode=ctypes.RTLD_GLOBAL)
    place, milliseconds = ctypes.c_void_p(), ctypes.c_double()
    if error := runtime.cudaMalloc(ctypes.byref(place), 256):  # makes the context
        return {"error": f"cudaMalloc: {error}"}
    clocks = [time.perf_counter()]
    loaded = ctypes.CDLL(library)
    clocks.append(time.perf_counter())
    if error := loaded.first():
        return {"error": f"the own kernel: {error}"}
    clocks.append(time.perf_counter())
    each, bad = [], []
    for number in range(loaded.units()):
        if error := loaded.unit(number, ctypes.byref(milliseconds)):
            bad.append([number, error])
        each.append(milliseconds.value)
    clocks.append(time.perf_counter())
    times = [1000 * (after - before) for before, after in pairwise(clocks)]
    return {**dict(zip(("load", "first", "units"), times, strict=True)), "worst unit": max(each), "bad": bad}


def once(library: Path, *, cold: bool, eager: bool) -> dict[str, Any]:
    """`use` in a fresh process."""
    with library.open("rb") as file:
        os.fsync(file.fileno())
        if cold:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        else:
            while file.read(1 << 24):
                pass
    environment = os.environ | {"CUDA_MODULE_LOADING": "EAGER" if eager else "LAZY"}
    command = [sys.executable, __file__, "use", str(library)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measure(place: Path, rounds: int, limit: float) -> None:
    """Use every library again and again, in turns, and print a table."""
    began, forms = time.monotonic(), list(FORMS)
    found: dict[tuple[str, str, str, str], list[dict[str, float]]] = defaultdict(list)
    failed = set()
    for turn in range(rounds):
        if time.monotonic() - began > limit:
            break
        for name in sorted(path.name for path in (place / "none").glob("*.so")):
            for cold, eager in ((False, False), (True, False), (False, True)):
                for form in forms[turn % 3 :] + forms[: turn % 3]:
                    times = once(place / form / name, cold=cold, eager=eager)
                    if "error" in times or times.pop("bad"):
                        failed.add((name, form, str(times)[:200]))
                        continue
                    times["all"] = times["load"] + times["first"] + times["units"]
                    found[name, "disk" if cold else "cache", "eager" if eager else "lazy", form].append(times)
    for failure in sorted(failed):
        print("FAILED", *failure)
    for (name, state, loading, form), rows in sorted(found.items(), key=lambda item: item[0][:3]):
        cells = []
        for step in rows[0]:
            values = [row[step] for row in rows]
            cells.append(f"{step} {median(values):.1f} ({min(values):.1f} to {max(values):.1f})")
        size = (place / form / name).stat().st_size
        print(f"{name:22} {state:5} {loading:5} {form:5} {size:>12,} bytes, {len(rows)} runs, ms: {', '.join(cells)}")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("take", "build", "measure", "use"))
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--arch", default="9.0")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--limit", type=float, default=float("inf"))
    options = parser.parse_args()
    place = options.paths[-1].resolve()
    if options.step == "take":
        take(options.paths[0], place, options.arch)
    elif options.step == "build":
        build(place)
    elif options.step == "measure":
        measure(place, options.rounds, options.limit)
    else:
        print(json.dumps(use(str(place))))


if __name__ == "__main__":
    main()
