"""Failures as they are: each is provoked with the real compiler, linker, loader, disk or kernel, then explained.

What this machine cannot provoke without a GPU is a text in tests/diagnostics/test_signatures.py: `ptx-too-new`,
`no-kernel-image` and the like are what the driver says (benchmarks/gpu_truth.py provokes those two on a GPU).
`torch-too-old` is provoked with a stand-in for torch's header: only the name that is missing matters to the compiler.
"""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

import wheelsmith
from wheelsmith.toolchain.cuda import CudaToolkit

pytestmark = pytest.mark.e2e

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
MEMORY = Path("/sys/fs/cgroup/memory")


def run(*command: object, cwd: Path, **more) -> str:
    """Run a command that fails; its output."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=dict(os.environ) | {"LC_ALL": "C.UTF-8"},
        check=False,
        **more,
    )
    assert done.returncode != 0, done.stdout
    return f"{done.stdout}\n"


@pytest.fixture(scope="module")
def nvcc(toolkit: CudaToolkit) -> Path:
    return toolkit.root / "bin/nvcc"


def test_torch_too_old(nvcc, tmp_path):
    (tmp_path / "old.h").write_text("namespace c10 { enum class ScalarType { Float8_e4m3fn }; struct Half {}; }\n")
    (tmp_path / "x.cu").write_text('#include "old.h"\nusing t = c10::Float8_e8m0fnu;\n')
    found = wheelsmith.explain(run(nvcc, "-c", "x.cu", cwd=tmp_path))
    assert found.id == "torch-too-old"
    assert "x.cu(2)" in found.excerpt


def many_classes(path: Path) -> Path:
    """A source whose compilation needs a few hundred megabytes."""
    path.write_text(
        "template <int N> struct c : c<N - 1> { virtual int f(int x) { return x * N + c<N - 1>::f(x); } };\n"
        "template <> struct c<0> { virtual int f(int x) { return x; } };\n"
        "int use() { c<850> a; return a.f(1); }\n"
        + "".join(f"int table{i}[] = {{{','.join(str(i * 7 + j) for j in range(9000))}}};\n" for i in range(60))
    )
    return path


@contextlib.contextmanager
def memory_cgroup(limit: int):
    """A cgroup (v1) of this test's own."""
    group = MEMORY / f"wheelsmith-test-{uuid.uuid4().hex[:8]}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(limit))
    except OSError as error:
        pytest.skip(f"no memory cgroup (v1) can be made here: {error}")
    try:
        yield group
    finally:
        group.rmdir()


@ROOT
def test_out_of_memory_the_kernel_kills_the_compiler(tmp_path):
    source = many_classes(tmp_path / "big.cpp")
    with memory_cgroup(60 << 20) as group:
        enter = ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh"]
        log = run(*enter, "g++", "-O2", "-c", source.name, "-o", "big.o", cwd=tmp_path)
    found = wheelsmith.explain(log)
    assert found.id == "out-of-memory", log
    assert "cc1plus" in found.excerpt


@ROOT
def test_out_of_memory_the_kernel_kills_a_part_of_nvcc(nvcc, tmp_path):
    (tmp_path / "x.cu").write_text("#include <cstdio>\n__global__ void k() {}\n")
    with memory_cgroup(20 << 20) as group:
        enter = ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh"]
        log = run(*enter, nvcc, "-c", "x.cu", cwd=tmp_path)
    assert wheelsmith.explain(log).id == "out-of-memory", log


def test_out_of_memory_the_compiler_says_so_itself(tmp_path):
    source = many_classes(tmp_path / "big.cpp")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (80 << 20, 80 << 20))

    log = run("g++", "-O2", "-c", source.name, "-o", "big.o", cwd=tmp_path, preexec_fn=limit)
    assert wheelsmith.explain(log).id == "out-of-memory", log


@ROOT
def test_disk_full(nvcc, tmp_path):
    (tmp_path / "small").mkdir()
    (tmp_path / "x.cu").write_text("#include <cstdio>\n__global__ void k() {}\n")
    script = f"mount -t tmpfs -o size=64k none small && TMPDIR={tmp_path}/small {nvcc} -c x.cu -o small/x.o"
    log = run("unshare", "--mount", "sh", "-c", script, cwd=tmp_path)
    assert wheelsmith.explain(log).id == "disk-full", log


def test_the_mpi_of_an_image_was_removed(tmp_path):
    (tmp_path / "mpi.c").write_text("int MPI_Init(void) { return 0; }\n")
    (tmp_path / "main.c").write_text("int MPI_Init(void); int main() { return MPI_Init(); }\n")
    library = tmp_path / "libmpi.so.40"
    subprocess.run(["gcc", "-shared", "-Wl,-soname,libmpi.so.40", "mpi.c", "-o", library], cwd=tmp_path, check=True)
    subprocess.run(["gcc", "main.c", library, "-o", "main"], cwd=tmp_path, check=True)
    library.unlink()
    assert wheelsmith.explain(run("./main", cwd=tmp_path)).id == "ngc-mpi"


def test_an_arch_that_nvcc_does_not_know(nvcc, tmp_path):
    (tmp_path / "x.cu").write_text("__global__ void k() {}\n")
    log = run(nvcc, "-gencode=arch=compute_999,code=sm_999", "-c", "x.cu", cwd=tmp_path)
    assert wheelsmith.explain(log).id == "unsupported-arch"


def test_ptxas_does_not_know_the_arch(nvcc, tmp_path):
    (tmp_path / "x.ptx").write_text(".version 8.0\n.target sm_80\n.address_size 64\n")
    assert wheelsmith.explain(run(nvcc.with_name("ptxas"), "-arch=sm_999", "x.ptx", cwd=tmp_path)).id == "ptxas-too-old"


def test_ptx_too_old_for_the_arch(nvcc, tmp_path):
    (tmp_path / "x.ptx").write_text(".version 8.0\n.target sm_120a\n.address_size 64\n.visible .entry k() { ret; }\n")
    assert wheelsmith.explain(run(nvcc.with_name("ptxas"), "-arch=sm_120a", "x.ptx", cwd=tmp_path)).id == "ptx-version"


def test_headers_are_missing(tmp_path):
    (tmp_path / "x.cpp").write_text("#include <Python.h>\n")
    found = wheelsmith.explain(run("g++", "-nostdinc++", "-c", "x.cpp", cwd=tmp_path))
    assert (found.id, found.line) == ("python-headers", 1)
    (tmp_path / "y.cpp").write_text("#include <cublas_v2.h>\n")
    assert wheelsmith.explain(run("g++", "-c", "y.cpp", cwd=tmp_path)).id == "cuda-headers-missing"


def test_torch_changed_after_the_build(tmp_path):
    (tmp_path / "x.cpp").write_text('namespace c10 { void f(); } extern "C" int PyInit_x() { c10::f(); return 0; }\n')
    subprocess.run(["g++", "-shared", "-fPIC", "x.cpp", "-o", "x.so"], cwd=tmp_path, check=True)
    assert wheelsmith.explain(run(sys.executable, "-c", "import x", cwd=tmp_path)).id == "torch-abi"


def test_glibc_is_older_than_the_build_needs(tmp_path):
    """A library asks for a version of libc.so.6 that no libc has: the version's name is changed in the file."""
    (tmp_path / "x.c").write_text('#include <stdlib.h>\nint PyInit_x() { return atoi("1"); }\n')
    subprocess.run(["gcc", "-shared", "-fPIC", "x.c", "-o", "x.so"], cwd=tmp_path, check=True)
    library = (tmp_path / "x.so").read_bytes()
    assert b"GLIBC_2.2.5" in library
    changed = library.replace(b"GLIBC_2.2.5", b"GLIBC_9.9.9")
    (tmp_path / "x.so").write_bytes(changed.replace((0x9691A75).to_bytes(4, "little"), elf_hash(b"GLIBC_9.9.9")))
    assert wheelsmith.explain(run(sys.executable, "-c", "import x", cwd=tmp_path)).id == "glibc-too-new"


def elf_hash(name: bytes) -> bytes:
    """The hash of the System V ABI, with which versions are looked up."""
    value = 0
    for byte in name:
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ (high >> 24)) & ~high & 0xFFFFFFFF
    return value.to_bytes(4, "little")


@ROOT
def test_no_network_in_the_room(tmp_path):
    command = ["git", "clone", "https://example.invalid/x.git"]
    assert wheelsmith.explain(run("unshare", "--net", *command, cwd=tmp_path)).id == "network"


def test_no_version_without_a_tag(tmp_path):
    pytest.importorskip("setuptools_scm")
    program = "import setuptools_scm; setuptools_scm.get_version()"
    found = wheelsmith.explain(run(sys.executable, "-c", program, cwd=tmp_path))
    assert found.id == "no-scm-version"


def test_the_host_compiler_is_too_new(nvcc, tmp_path):
    """nvcc's own header refuses it; a newer g++ is played by its version macro."""
    (tmp_path / "x.cu").write_text("__global__ void k() {}\n")
    log = run(nvcc, "-Xcompiler", "-U__GNUC__,-D__GNUC__=99", "-c", "x.cu", cwd=tmp_path)
    assert wheelsmith.explain(log).id == "host-compiler-too-new"


def test_a_wheel_that_imports_a_torch_that_is_not_there(tmp_path):
    (tmp_path / "setup.py").write_text("import torch\n")
    found = wheelsmith.explain(run(sys.executable, "-S", "setup.py", cwd=tmp_path))
    assert found.id == "no-torch"
    assert found.excerpt.startswith("Traceback")


def test_ninja_kills_nothing_else_and_the_unit_can_be_repeated(nvcc, tmp_path):
    ninja = pytest.importorskip("ninja")
    (tmp_path / "ok.cu").write_text("__global__ void k() {}\n")
    (tmp_path / "bad.cu").write_text("__global__ void k() { thred.x; }\n")
    rule = f"rule nvcc\n  command = {nvcc} -c $in -o $out\n"
    (tmp_path / "build.ninja").write_text(f"{rule}build ok.o: nvcc ok.cu\nbuild bad.o: nvcc bad.cu\n")
    log = run(Path(ninja.BIN_DIR) / "ninja", "-C", tmp_path, "-k0", cwd=Path("/"))
    found = wheelsmith.explain(log)
    assert (found.unit, found.directory) == ("bad.o", str(tmp_path))
    assert "thred" in run("sh", "-c", found.repeat, cwd=Path("/"))
