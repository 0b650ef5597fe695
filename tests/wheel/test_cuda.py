"""The fatbin reader against NVIDIA's own listing, on what nvcc really writes."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from wheelsmith.binary.names import name_hash
from wheelsmith.compat.contract import check
from wheelsmith.compat.judge import judge
from wheelsmith.compat.model import Machine
from wheelsmith.compat.summarise import summarise
from wheelsmith.gpu.arch import Arch, ArchSet
from wheelsmith.gpu.drivers import Driver
from wheelsmith.wheel.inspect import inspect_path

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


def compile_object(nvcc, folder, name, *flags):
    source = folder / f"{name}.cu"
    source.write_text(f"namespace {name} {{ __global__ void scale(float *x) {{ x[threadIdx.x] *= 2; }} }}\n")
    target = folder / f"{name}.o"
    subprocess.run([nvcc, "-c", "-Xcompiler=-fPIC", *flags, "-o", target, source], check=True)
    return target


@pytest.mark.parametrize(
    "compress", [[], ["--compress-mode=size"], ["--compress-mode=speed"], ["--compress-mode=none"]]
)
def test_empty_code_of_the_link_command_proves_nothing(nvcc, tmp_path, compress):
    """nvcc adds an empty cubin for every -gencode of the link, whatever the objects hold."""
    kernel = compile_object(nvcc, tmp_path, "ours", *compress, *gencode("86=sm_86"))
    target = tmp_path / "lib.so"
    subprocess.run([nvcc, "-shared", *compress, *gencode("120=sm_120"), "-o", target, kernel], check=True)
    report = inspect_path(target)
    (library,) = report.libraries
    assert {str(arch): count for arch, count in library.sass} == {"8.6": 1, "12.0": 1}  # as cuobjdump lists
    assert {str(item.arch): item.empty for item in library.code} == {"8.6": 0, "12.0": 1}
    assert check(report, ArchSet.parse("8.6;12.0"), []).violations == ("lib.so does not run on 12.0: it holds sm_86.",)
    machine = Machine((("RTX 5090", Arch(12, 0)),), Driver.parse("580.65.06"))
    assert judge(summarise(report), machine).libraries[0].answer == "no"


def test_units_of_different_archs_are_told_apart_and_named(nvcc, tmp_path):
    both = compile_object(nvcc, tmp_path, "both", *gencode("80=sm_80", "120=sm_120"))
    late = compile_object(nvcc, tmp_path, "late", *gencode("80=sm_80", "80=compute_80"))
    target = tmp_path / "lib.so"
    subprocess.run([nvcc, "-shared", *gencode("80=sm_80"), "-o", target, both, late], check=True)
    report = inspect_path(target)
    (row,) = check(report, ArchSet.parse("12.0"), []).rows
    assert (row.outcome, row.only_ptx, row.units, row.kernels) == ("mixed", 1, 2, "late::scale")
    (fit,) = judge(summarise(report), Machine((("RTX 5090", Arch(12, 0)),), Driver.parse("570.x"))).libraries
    assert (fit.native, fit.refused) == (1, 1)
    refusal = next(reason.says for reason in fit.reasons if reason.rule == "ptx")  # first of all the driver is too old
    assert "unsupported toolchain" in refusal
    assert "late::scale" in refusal


def test_a_static_archive_agrees_with_cuobjdump(nvcc, cuobjdump, tmp_path):
    objects = [
        compile_object(nvcc, tmp_path, "one", *gencode("86=sm_86", "90a=sm_90a")),
        compile_object(nvcc, tmp_path, "two", "-rdc=true", *gencode("120=[sm_120,compute_120]")),
    ]
    subprocess.run(["ar", "rcs", tmp_path / "lib.a", *objects], check=True)
    listing = subprocess.run(
        [cuobjdump, "--list-elf", "--list-ptx", tmp_path / "lib.a"], check=True, capture_output=True, text=True
    )
    theirs = Counter((kind, arch) for kind, arch in _LISTED.findall(listing.stdout))
    codes = [code for library in inspect_path(tmp_path / "lib.a").libraries for code in library.facts.device_code]
    assert Counter(("ELF" if code.kind == "sass" else "PTX", code.arch.sm[3:]) for code in codes) == theirs
    assert sum(theirs.values()) == 4


HOLLOW = """
__global__ void real(float *x) { x[threadIdx.x] += 1; }
__global__ void hollow(float *x) {
#if __CUDA_ARCH__ < 1200
  x[0] = x[0] * 3 + 1;
#endif
}
__global__ void trapping(float *x) {
#if __CUDA_ARCH__ < 1200
  x[0] = x[0] * 3 + 1;
#else
  __trap();
#endif
}
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ < 1200
__global__ void early(float *x) { x[0] = 2; }
#endif
extern "C" void run(float *x) { real<<<1, 1>>>(x); hollow<<<1, 1>>>(x); trapping<<<1, 1>>>(x);
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ < 1200
  early<<<1, 1>>>(x);
#endif
}
"""


@pytest.mark.parametrize(
    "compress", [[], ["--compress-mode=size"], ["--compress-mode=speed"], ["--compress-mode=none"]]
)
def test_kernels_of_each_arch_by_name_and_by_what_they_do(nvcc, tmp_path, compress):
    source, target = tmp_path / "k.cu", tmp_path / "k.o"
    source.write_text(HOLLOW)
    archs = gencode("75=sm_75", "86=[sm_86,compute_86]", "90a=sm_90a", "120=[sm_120,compute_120]")
    subprocess.run([nvcc, "-c", *compress, *archs, "-o", target, source], check=True)
    (library,) = inspect_path(target).libraries
    names = {
        name_hash(mangled): name
        for mangled, name in ((b"_Z4realPf", "real"), (b"_Z6hollowPf", "hollow"), (b"_Z8trappingPf", "trapping"))
    } | {name_hash(b"_Z5earlyPf"): "early"}
    every = {"real", "hollow", "trapping", "early"}
    for code in library.facts.device_code:
        late = code.arch == Arch(12, 0)
        assert {names[key] for key in code.entries} == ({"real"} if late else every), code
        assert {names[key] for key in code.stubs} == ({"hollow", "trapping"} if late else set()), code
        assert (code.label, code.toolkit is not None) == (None, code.kind == "sass")
