"""Wheels that would not run though their libraries list the archs that were asked for, as nvcc really makes them."""

from __future__ import annotations

import gzip
import io
import shutil
import struct
import subprocess
import zipfile

import pytest

from tests.support.wheel_makers import build_wheel
from wheelsmith.compat.contract import check
from wheelsmith.compat.judge import judge
from wheelsmith.compat.model import Machine
from wheelsmith.compat.summarise import summarise
from wheelsmith.gpu.arch import Arch, ArchSet
from wheelsmith.gpu.drivers import Driver
from wheelsmith.wheel.inspect import inspect_path

pytestmark = pytest.mark.e2e

BOTH = ["-gencode=arch=compute_86,code=sm_86", "-gencode=arch=compute_120,code=sm_120"]
ONLY = ["-gencode=arch=compute_86,code=sm_86"]
FEWER = """
__global__ void A(float*x){x[0]+=1;}
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ < 1200
template<int N> __global__ void B(float*x){x[0]*=N;}
template __global__ void B<3>(float*);
#endif
extern "C" void run(float*x){A<<<1,1>>>(x);
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ < 1200
B<3><<<1,1>>>(x);
#endif
}
"""
HOLLOW = """
__global__ void C(float*x){
#if __CUDA_ARCH__ < 1200
 x[0]=x[0]*3+1;
#endif
}
__global__ void D(float*x){
#if __CUDA_ARCH__ < 1200
 x[0]=x[0]*3+1;
#else
 __trap();
#endif
}
extern "C" void run2(float*x){C<<<1,1>>>(x);D<<<1,1>>>(x);}
"""
PLAIN = '__global__ void A(float*x){x[0]+=1;} extern "C" void run3(float*x){A<<<1,1>>>(x);}'
#: Kernels for Hopper that do nothing elsewhere, in a unit of their own, as CUTLASS has them.
HOPPER = '__global__ void H(float*x){x[0]-=1;} extern "C" void run4(float*x){H<<<1,1>>>(x);}'


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    nvcc = shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")
    if nvcc is None:
        pytest.skip("nvcc is not installed")
    folder = tmp_path_factory.mktemp("hostile")

    def run(name, source, *flags):
        (folder / f"{name}.cu").write_text(source)
        subprocess.run([nvcc, *flags, "-o", folder / name, folder / f"{name}.cu"], check=True, capture_output=True)
        return (folder / name).read_bytes()

    shared = ["-shared", "-Xcompiler=-fPIC"]
    return {
        "fewer": run("fewer.so", FEWER, *shared, *BOTH),
        "hollow": run("hollow.so", HOLLOW, *shared, *BOTH),
        "honest": run("honest.so", PLAIN, *shared, *BOTH),
        "only": run("only.so", PLAIN, *shared, *ONLY),
        "cubin": run("only.cubin", PLAIN, "-cubin", "-arch=sm_86"),
        "hopper": run("hopper.so", HOPPER, *shared, "-gencode=arch=compute_90a,code=sm_90a"),
    }


def relabelled(library: bytes, old: int, new: int) -> bytes:
    """The arch number is 28 bytes into a fatbin entry."""
    data, place = bytearray(library), 0
    while (place := data.find(struct.pack("<HH", 2, 0x101), place)) >= 0:
        if struct.unpack_from("<I", data, place + 28)[0] == old:
            struct.pack_into("<I", data, place + 28, new)
        place += 4
    return bytes(data)


def zipped(data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("one.so", data)
    return file.getvalue()


@pytest.mark.parametrize(
    ("files", "sound"),
    [
        (lambda m: {"t/a.so": m["honest"]}, True),
        (lambda m: {"t/a.so": m["honest"], "t/h.so": m["hopper"]}, False),  # a library of its own runs on neither
        (lambda m: {"t/k.so": m["fewer"]}, False),
        (lambda m: {"t/e.so": m["hollow"]}, False),
        (lambda m: {"t/one.so": relabelled(m["only"], 86, 120)}, False),
        (lambda m: {"t/one.cubin": m["cubin"]}, False),
        (lambda m: {"t/a.so": m["honest"], "t/real/one.cubin": m["cubin"]}, False),
        (lambda m: {"t/a.so": m["honest"], "t/real.so.gz": gzip.compress(m["only"])}, False),
        (lambda m: {"t/a.so": m["honest"], "t/real.zip": zipped(m["only"])}, False),
        (lambda m: {"t/a.so": m["honest"], "t/real.zip": b"PK\3\4" + m["only"]}, False),
        (lambda m: {"t/a.so": m["honest"], "t/real.bin": b"\0" + m["only"]}, False),
        (lambda m: {"t/one.so": m["only"]}, False),
        (
            lambda m: {"t/a.so": m["honest"], "t/one.so": m["only"].replace(b".nv_fatbin\0", b".nv_fatbiX\0")},
            False,
        ),
    ],
    ids=lambda value: None,
)
def test_only_what_would_run_meets_the_contract(made, tmp_path, files, sound):
    wheel = build_wheel(tmp_path / "t-1.0-cp311-cp311-linux_x86_64.whl", files(made))
    verdict = check(inspect_path(wheel), ArchSet.parse("8.6;12.0"), ())
    assert (not verdict.violations) is sound, verdict.violations
    assert ("not whole" in verdict.headline) is not sound


def test_the_judge_says_what_a_gpu_finds_in_them(made, tmp_path):
    machine = Machine((("RTX 5090", Arch(12, 0)),), Driver.parse("580.65.06"))
    # nvcc's host half does not register B of `fewer`, so nothing launches it: that it is not there is only said.
    for name, answer in (("fewer", "yes"), ("hollow", "no"), ("honest", "yes"), ("only", "no")):
        (tmp_path / f"{name}.so").write_bytes(made[name])
        (fit,) = judge(summarise(inspect_path(tmp_path / f"{name}.so")), machine).libraries
        assert fit.answer == answer, name
        assert any("(B)" in reason.says for reason in fit.reasons) is (name == "fewer")
