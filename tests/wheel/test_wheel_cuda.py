"""The fatbin reader against NVIDIA's own listing, on what nvcc really writes."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from wheelsmith.wheel import inspect_path

pytestmark = pytest.mark.e2e

KERNEL = """
__global__ void scale(float *x, float by) { x[threadIdx.x] *= by; }
extern "C" void run(float *x) { scale<<<1, 32>>>(x, 2.0f); }
"""
_LISTED = re.compile(r"(ELF|PTX) file +\d+: .*\.sm_(\d+[af]?)\.(?:cubin|ptx)")


@pytest.fixture(scope="session")
def nvcc() -> str:
    found = shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")
    if found is None:
        pytest.skip("nvcc is not installed")
    return found


@pytest.fixture(scope="session")
def cuobjdump() -> str:
    if found := shutil.which("cuobjdump") or shutil.which("cuobjdump", path="/usr/local/cuda/bin"):
        return found
    try:
        files = importlib.metadata.files("nvidia-cuda-cuobjdump") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("cuobjdump is not installed (package nvidia-cuda-cuobjdump)")
    return str(next(Path(str(file.locate())) for file in files if file.name == "cuobjdump"))


def gencode(*pairs: str) -> list[str]:
    return [f"-gencode=arch=compute_{arch},code={code}" for arch, code in (pair.split("=") for pair in pairs)]


@pytest.mark.parametrize(
    ("flags", "sass", "ptx", "compression"),
    [
        (
            ["-shared", "-Xcompiler=-fPIC", *gencode("86=sm_86", "120=sm_120")],
            {"8.6": 2, "12.0": 2},
            {},
            {""},
        ),
        (["-c", *gencode("90a=sm_90a", "120a=sm_120a")], {"9.0a": 1, "12.0a": 1}, {}, {""}),
        (["-c", *gencode("100f=sm_100f")], {"10.0f": 1}, {}, {""}),
        (["-c", *gencode("86=sm_86", "120=compute_120")], {"8.6": 1}, {"12.0": 1}, {"", "zstd"}),
        (["-c", *gencode("90a=compute_90a")], {}, {"9.0a": 1}, {"zstd"}),
        (["-c", "--compress-mode=none", *gencode("86=[sm_86,compute_86]")], {"8.6": 1}, {"8.6": 1}, {""}),
        (["-c", "--compress-mode=size", *gencode("86=[sm_86,compute_86]")], {"8.6": 1}, {"8.6": 1}, {"zstd"}),
        (["-c", "--compress-mode=speed", *gencode("86=compute_86")], {}, {"8.6": 1}, {"lz4"}),
        (["-c", "-rdc=true", *gencode("86=[sm_86,compute_86]")], {"8.6": 1}, {"8.6": 1}, {"zstd"}),
        (["-shared", "-Xcompiler=-fPIC", "-rdc=true", *gencode("86=sm_86")], {"8.6": 1}, {}, {""}),
    ],
)
def test_agrees_with_cuobjdump(nvcc, cuobjdump, tmp_path, flags, sass, ptx, compression):
    source, target = tmp_path / "kernel.cu", tmp_path / "kernel.out"
    source.write_text(KERNEL)
    subprocess.run([nvcc, *flags, "-o", target, source], check=True)
    (library,) = inspect_path(target).libraries
    assert {str(arch): count for arch, count in library.sass} == sass
    assert {str(arch): count for arch, _, count in library.ptx} == ptx
    assert {code.compression for code in library.facts.device_code} == compression

    listing = subprocess.run(
        [cuobjdump, "--list-elf", "--list-ptx", target], check=True, capture_output=True, text=True
    )
    theirs = Counter((kind, arch) for kind, arch in _LISTED.findall(listing.stdout))
    ours = Counter(  # cuobjdump prints sm_100 for 100f
        ("ELF" if code.kind == "sass" else "PTX", code.arch.sm[3:].removesuffix("f"))
        for code in library.facts.device_code
    )
    assert ours == theirs
