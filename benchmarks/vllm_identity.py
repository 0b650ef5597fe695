"""vLLM's own default under the identity of another CUDA release: what upstream's CMake would compile with nvcc 12.8.

    python -m benchmarks.vllm_identity [--version 0.16.0] [--archs "8.6;12.0"] [--release 12.8] [--toolkit DIR]
        [--tree cutlass=DIR] [--tree vllm-flash-attn=DIR] [--tree qutlass=DIR] [--tree flashmla=DIR] [--tree triton=DIR]

No index has a CUDA 12.8 compiler, but which units and archs vLLM's CMake plans depends on the compiler's identity only:
what it calls itself (`nvcc --version`), the macros that CMake reads (`__CUDACC_VER_MAJOR__` and its like) and the two
version numbers in CUDA's headers. A toolkit of links gets these of the other release; everything else is the real one.
The real sdist of vLLM is configured with upstream's own flags, no patch and no recipe, and the units are counted in
build.ninja. This Python needs torch, cmake, ninja and jinja2; nothing is compiled but CMake's own probes. Trees that
are not named are stand-ins (see `benchmarks.standins`): the print says which.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import wheelsmith
from benchmarks.standins import make_standins
from benchmarks.vllm_units import count_units
from wheelsmith.events import ignore
from wheelsmith.planning.model import SdistSource
from wheelsmith.sources import archive, sdist
from wheelsmith.store import Store

_VARIABLES = {
    "cutlass": ("VLLM_CUTLASS_SRC_DIR", ""),
    "triton": ("TRITON_KERNELS_SRC_DIR", "python/triton_kernels/triton_kernels"),
    "vllm-flash-attn": ("VLLM_FLASH_ATTN_SRC_DIR", ""),
    "flashmla": ("FLASH_MLA_SRC_DIR", ""),
    "qutlass": ("QUTLASS_SRC_DIR", ""),
}
_BUILDS = {"12.8": 93, "12.9": 86}  # the last number of nvcc's own version, as NVIDIA's release notes give it
_NVCC = """\
#!/bin/sh
# The real nvcc {real}, as {release}: what it says of itself, and what CMake's probe of the compiler sees.
here={here}
case "$*" in
    *--version* | -V) "$here/nvcc-real" "$@" | sed 's/release [0-9.]*, V[0-9.]*/release {release}, V{version}/' ;;
    *CMakeCUDACompilerId*) exec "$here/nvcc-real" -include "$here/identity.h" "$@" ;;
    *) exec "$here/nvcc-real" "$@" ;;
esac
"""


def under(toolkit: Path, place: Path, release: str) -> Path:
    """A directory that looks like `toolkit` and says that it is another release."""
    major, minor = map(int, release.split("."))
    version = f"{release}.{_BUILDS.get(release, 0)}"
    for directory in (place, place / "bin", place / "include"):
        directory.mkdir(parents=True)
    for source, target in (
        (toolkit, place),
        (toolkit / "bin", place / "bin"),
        (toolkit / "include", place / "include"),
    ):
        for entry in source.iterdir():
            if not (target / entry.name).exists() and entry.name != "nvcc":
                (target / entry.name).symlink_to(entry.resolve())
    for name in ("cuda.h", "cuda_runtime_api.h"):
        text = (toolkit / "include" / name).read_text("utf-8", errors="surrogateescape")
        for macro in ("CUDA_VERSION", "CUDART_VERSION"):
            text = "\n".join(
                f"#define {macro} {major * 1000 + minor * 10}" if line.split()[:2] == ["#define", macro] else line
                for line in text.split("\n")
            )
        (place / "include" / name).unlink()
        (place / "include" / name).write_text(text, "utf-8", errors="surrogateescape")
    macros = {"MAJOR": major, "MINOR": minor, "BUILD": _BUILDS.get(release, 0)}
    (place / "bin" / "identity.h").write_text(
        "".join(f"#undef __CUDACC_VER_{n}__\n#define __CUDACC_VER_{n}__ {v}\n" for n, v in macros.items())
    )
    shutil.copy(toolkit / "bin" / "nvcc", place / "bin" / "nvcc-real")
    script = _NVCC.format(
        here=shlex.quote(str(place / "bin")), real=toolkit / "bin" / "nvcc", release=release, version=version
    )
    (place / "bin" / "nvcc").write_text(script)
    (place / "bin" / "nvcc").chmod(0o755)
    return place


def configure(source: Path, build: Path, toolkit: Path, archs: str, trees: dict[str, Path]) -> None:
    """Run CMake as vLLM's setup.py does."""
    tools = Path(sys.executable).parent
    environment = os.environ | {
        "TORCH_CUDA_ARCH_LIST": archs.replace(";", " "),
        "CUDA_HOME": str(toolkit),
        "PATH": f"{toolkit}/bin:{tools}:{os.environ['PATH']}",
        **{_VARIABLES[name][0]: str(path / _VARIABLES[name][1]) for name, path in trees.items()},
    }
    definitions = {
        "CMAKE_BUILD_TYPE": "RelWithDebInfo",
        "VLLM_TARGET_DEVICE": "cuda",
        "VLLM_PYTHON_EXECUTABLE": sys.executable,
        "VLLM_PYTHON_PATH": ":".join(sys.path),
        "FETCHCONTENT_BASE_DIR": str(build / "deps"),
        "FETCHCONTENT_FULLY_DISCONNECTED": "ON",
        "NVCC_THREADS": "1",
        "CMAKE_CUDA_COMPILER": f"{toolkit}/bin/nvcc",
    }
    command = [f"{tools}/cmake", "-G", "Ninja", "-S", str(source), "-B", str(build)]
    subprocess.run([*command, *(f"-D{key}={value}" for key, value in definitions.items())], env=environment, check=True)


def main() -> None:
    """Configure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", default="0.16.0")
    parser.add_argument("--archs", default="8.6;12.0")
    parser.add_argument("--release", default="12.8")
    parser.add_argument("--toolkit", type=Path, default=Path("/usr/local/cuda"))
    parser.add_argument("--tree", action="append", default=[], metavar="NAME=DIR")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wheelsmith-identity-") as temporary:
        place = Path(temporary)
        source = wheelsmith.plan(f"vllm=={options.version}").source
        assert isinstance(source, SdistSource), "0.15.1 has none: its neighbours differ by one source file"
        sdist.fetch(source, Store(place / "store"), None, ignore)
        archive.lay_out(source, Store(place / "store"), place / "source")
        given = dict(item.split("=", 1) for item in options.tree)
        trees = {name: Path(path) for name, path in given.items()}
        if missing := _VARIABLES.keys() - trees.keys():
            made = make_standins(place / "recipes", place / "source") / "trees"
            trees |= {name: made / name for name in missing}
        toolkit = under(options.toolkit.resolve(), place / "toolkit", options.release)
        configure(place / "source", place / "build", toolkit, options.archs, trees)
        found = count_units(Path(sys.executable).with_name("ninja"), place / "build", place / "source", set())
        print(f"\nupstream's default, vLLM {options.version} for {options.archs}, CMake told nvcc {options.release}")
        print(f"  stand-ins: {', '.join(sorted(missing)) or 'none'}")
        total: Counter[str] = Counter()
        for target, counts in found.items():
            codes = "  ".join(f"{code}:{number}" for code, number in sorted(counts.items()) if code != "units")
            print(f"  {target:<22} {counts['units']:>4} units   {codes}")
            total += counts
        print(f"  together {total['units']} units, {sum(total.values()) - total['units']} device passes")


if __name__ == "__main__":
    main()
