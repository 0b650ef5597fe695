# ruff: noqa: E501
"""Logs of real builds, made here, and what `explain` says of them: the confusion table.

    python -m benchmarks.explain_corpus [--nvcc FILE] [--keep DIR] [NAME …]

Each scenario is a shell script in a directory of its own: it runs a real tool (gcc, nvcc, ninja, make, cmake, meson, pip,
uv, cargo, git, the loader, the kernel), which does its work or fails in a way that was arranged. What it prints is the
log; `want` is the right answer: an id, `healthy`, or `?text`: a failure that no signature knows, whose excerpt must hold
the text. A scenario whose tool is missing, or which ended otherwise than arranged, is left out and told.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import wheelsmith

BIN = Path(sys.executable).parent


@dataclass(frozen=True, slots=True)
class Scenario:
    """A script, the answer that is right for its log, the tools it needs, and whether it must fail."""

    name: str
    want: str
    script: str
    needs: str = ""

    @property
    def fails(self) -> bool:
        """Whether the script must end with a failure."""
        return self.want != "healthy"


NINJA = "printf 'rule r\\n command = $c\\nbuild a.o: r\\n c = %s\\nbuild b.o: r\\n c = true\\n' \"$C\" > build.ninja; "
PROJECT = (
    'printf \'[build-system]\\nrequires=[]\\nbuild-backend="setuptools.build_meta"\\n'
    '[project]\\nname="x"\\nversion="1"\\n\' > pyproject.toml; '
)
EXTENSION = (
    PROJECT + "printf 'from setuptools import setup, Extension\\n"
    'setup(ext_modules=[Extension("x", ["x.c"]%s)])\\n\' "$E" > setup.py; '
)
WHEEL = "pip wheel --no-build-isolation --no-deps . "
CMAKE = "cmake_minimum_required(VERSION 3.16)\\nproject(x LANGUAGES %s)\\n"
BIG = (
    "python -c \"print(''.join(f'int t{i}[]={{' + ','.join(str(i*7+j) for j in range(9000)) + '}};\\n'"
    ' for i in range(60)))" > x.cpp; '
)
LIMITED = 'g=/sys/fs/cgroup/memory/wse$$; mkdir $g && echo 31457280 > $g/memory.limit_in_bytes; trap "sleep 1; rmdir $g" EXIT; '
HASHED = (
    "python - <<'P'\nimport zipfile\nz=zipfile.ZipFile('y-1-py3-none-any.whl','w')\n"
    "z.writestr('y-1.dist-info/METADATA','Metadata-Version: 2.1\\nName: y\\nVersion: 1\\n')\n"
    "z.writestr('y-1.dist-info/WHEEL','Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n"
    "z.writestr('y-1.dist-info/RECORD','y-1.dist-info/METADATA,,\\ny-1.dist-info/WHEEL,,\\ny-1.dist-info/RECORD,,\\n')\nP\n"
)
ZEROS = "0" * 64

SCENARIOS = (
    # gcc and the linker
    Scenario("gcc-ok", "healthy", "echo 'int main(){return 0;}' > x.c; gcc -v -Wall x.c -o x && ./x"),
    Scenario("gcc-warnings", "healthy", "echo 'int error(int a){int b; return a;} int main(){return error(1);}' > x.c; gcc -Wall -Wextra x.c -o x"),
    Scenario("gcc-warns-bad-alloc", "healthy", "printf '#include <new>\\nint main(){try{}catch(std::bad_alloc e){return 1;}return 0;}' > x.cpp; g++ -Wall -Wextra x.cpp -o x"),
    Scenario("gcc-undeclared", "?undeclared_name", "echo 'int main(){return undeclared_name;}' > x.c; gcc x.c"),
    Scenario("gcc-undeclared-beside-bad-alloc", "?nothing", "printf '#include <new>\\nint main(){\\ntry{}catch(std::bad_alloc e){return nothing;}}' > x.cpp; g++ -Wall x.cpp"),
    Scenario("gcc-error-directive", "?do not", "echo '#error do not: Killed, out of memory' > x.c; gcc -c x.c"),
    Scenario("gcc-python-h", "python-headers", "echo '#include <Python.h>' > x.c; gcc -c x.c"),
    Scenario("gcc-cublas-h", "cuda-headers-missing", "echo '#include <cublas_v2.h>' > x.c; gcc -c x.c"),
    Scenario("gcc-cudnn-h", "cudnn-missing", "echo '#include <cudnn_version.h>' > x.c; gcc -c x.c"),
    Scenario("gcc-nccl-h", "nccl-missing", "echo '#include <nccl.h>' > x.c; gcc -c x.c"),
    Scenario("gcc-thrust", "cccl-headers", "echo '#include <thrust/sort.h>' > x.cpp; g++ -c x.cpp"),
    Scenario("gcc-numa-h", "system-headers", "echo '#include <numa.h>' > x.c; gcc -c x.c"),
    Scenario("gcc-own-h", "?mine.h", "echo '#include \"mine.h\"' > x.c; gcc -c x.c"),
    Scenario("gcc-cutlass-h", "submodule-missing", "echo '#include <cutlass/cutlass.h>' > x.cpp; g++ -c x.cpp"),
    Scenario("gcc-cxx17-error", "cxx-standard", "printf '#if __cplusplus < 201703L\\n#error C++17 or later compatible compiler is required to use PyTorch.\\n#endif\\n' > x.cpp; g++ -std=c++14 -c x.cpp"),
    Scenario("gcc-optional", "cxx-standard", "printf '#include <optional>\\nstd::optional<int> f();' > x.cpp; g++ -std=c++14 -c x.cpp"),
    Scenario("gcc-concept", "cxx-standard", "echo 'template<class T> concept c = true;' > x.cpp; g++ -std=c++17 -c x.cpp"),
    Scenario("gcc-unknown-std", "host-compiler-too-old", "echo > x.cpp; g++ -std=c++41 -c x.cpp"),
    Scenario("gcc-undefined", "?my_function", "echo 'int my_function(void); int main(){return my_function();}' > x.c; gcc x.c -o x"),
    Scenario("gcc-libcuda", "libcuda-stub", "echo 'int cuMemCreate(void); int main(){return cuMemCreate();}' > x.c; gcc x.c -o x"),
    Scenario("ld-lcuda", "libcuda-stub", "echo 'int main(){return 0;}' > x.c; gcc x.c -L/nowhere -lcuda -o x"),
    Scenario("ld-lcublas", "library-not-found", "echo 'int main(){return 0;}' > x.c; gcc x.c -lcublasNo -o x"),
    Scenario("ld-fpic", "not-position-independent", "echo 'int t[9]; int *f(){return t;}' > x.c; gcc -fno-pic -mcmodel=medium -c x.c; gcc -fno-pic -c x.c -o y.o; gcc -shared y.o -o x.so"),
    Scenario("ld-overflow", "linker-overflow", "printf 'char a[3000000000u]; int b; int main(){ return a[2999999999u]+b; }' > x.c; gcc -fno-pie -no-pie -mcmodel=small x.c -o x"),
    Scenario("ld-multiple", "?multiple definition", "echo 'int f(){return 0;}' > a.c; cp a.c b.c; echo 'int main(){}' > m.c; gcc a.c b.c m.c"),
    Scenario("gcc-oom-kernel", "out-of-memory", LIMITED + BIG + "(echo $$ > /dev/null; sh -c 'echo $$ > '$g'/cgroup.procs; exec g++ -O2 -c x.cpp')", "root"),
    Scenario("gcc-oom-ulimit", "out-of-memory", BIG + "ulimit -v 90000; g++ -O2 -c x.cpp"),
    Scenario("gcc-crash", "compiler-crash", "mkdir bin; printf '#!/bin/sh\\nkill -SEGV $$\\n' > bin/cc1plus; chmod +x bin/cc1plus; echo > x.cpp; g++ -B bin/ -c x.cpp"),
    Scenario("gcc-killed", "out-of-memory", "mkdir bin; printf '#!/bin/sh\\nkill -9 $$\\n' > bin/cc1plus; chmod +x bin/cc1plus; echo > x.cpp; g++ -B bin/ -c x.cpp"),
    Scenario("gcc-disk-full", "disk-full", "unshare -m sh -c 'mkdir s; mount -t tmpfs -o size=16k none s; printf \"#include <vector>\\nstd::vector<int> v;\" > x.cpp; g++ -g -c x.cpp -o s/x.o'", "root"),
    Scenario("no-compiler", "no-host-compiler", "no-such-prefix-g++ x.cpp 2>/dev/null; sh -c 'PATH=/nowhere; g++ -c x.cpp'"),
    # ninja and make
    Scenario("ninja-ok", "healthy", "C='gcc -c x.c -o a.o'; echo 'int error_count;' > x.c; " + NINJA + "ninja -v"),
    Scenario("ninja-error", "?thred", "C='gcc -c x.c -o a.o'; echo 'int f(){return thred;}' > x.c; " + NINJA + "ninja"),
    Scenario("ninja-killed", "out-of-memory", "printf 'kill -9 $$\\n' > k.sh; C='sh k.sh'; " + NINJA + "ninja"),
    Scenario("ninja-missing-input", "missing-input", "printf 'rule r\\n command = cc $in\\nbuild a.o: r no.c\\n' > build.ninja; ninja"),
    Scenario("ninja-interrupted", "interrupted", "printf 'rule r\\n command = sleep 20\\nbuild a: r\\n' > build.ninja; timeout -s INT 1 ninja"),
    Scenario("make-ok", "healthy", "printf 'a:\\n\\tgcc -Wall -Werror -c x.c -o x.o\\n' > Makefile; echo 'int fatal_error;' > x.c; make"),
    Scenario("make-error", "?thred", "printf 'a:\\n\\tgcc -c x.c -o x.o\\n' > Makefile; echo 'int f(){return thred;}' > x.c; make"),
    Scenario("make-no-rule", "missing-input", "printf 'a: b.c\\n\\ttrue\\n' > Makefile; make"),
    Scenario("make-no-nvcc", "no-cuda-home", "printf 'a:\\n\\tPATH=/usr/bin:/bin nvcc -c x.cu\\n' > Makefile; make"),
    Scenario("make-killed", "out-of-memory", "printf 'kill -9 $$\\n' > k.sh; printf 'a:\\n\\tsh k.sh\\n' > Makefile; make"),
    Scenario("make-segfault", "compiler-crash", "printf 'kill -SEGV $$\\n' > k.sh; printf 'a:\\n\\tsh k.sh\\n' > Makefile; make"),
    Scenario("make-retried", "healthy", "printf 'a:\\n\\ttest -f second || { touch second; gcc -c no.c; }\\n' > Makefile; make || make && echo '[1/1] all' && echo 'Build completed successfully'"),
    Scenario("fork-limit", "process-limit", "python -c 'import os,resource,threading; resource.setrlimit(resource.RLIMIT_NPROC,(1,1)); os.setgid(65534); os.setuid(65534); threading.Thread(target=print).start()'", "root"),
    # cmake and meson
    Scenario("cmake-ok", "healthy", f"printf '{CMAKE % 'C'}find_package(CUDAToolkit QUIET)\\nfind_package(MPI)\\ninclude(CheckIncludeFile)\\ncheck_include_file(nccl.h X)\\nadd_library(x x.c)\\n' > CMakeLists.txt; echo 'int x;' > x.c; cmake -B b -G Ninja . && cmake --build b"),
    Scenario("cmake-no-package", "cmake-package", f"printf '{CMAKE % 'C'}find_package(Foo REQUIRED)\\n' > CMakeLists.txt; cmake -B b ."),
    Scenario("cmake-no-nccl", "cmake-package", f"printf '{CMAKE % 'C'}find_package(CURL 99 REQUIRED)\\n' > CMakeLists.txt; cmake -B b ."),
    Scenario("cmake-too-old", "cmake-too-old", "printf 'cmake_minimum_required(VERSION 9.0)\\nproject(x)\\n' > CMakeLists.txt; cmake -B b ."),
    Scenario("cmake-no-cuda", "cuda-compiler", f"printf '{CMAKE % 'CUDA'}' > CMakeLists.txt; PATH=/usr/bin:/bin CUDACXX= cmake -B b ."),
    Scenario("cmake-no-source", "missing-input", f"printf '{CMAKE % 'C'}add_library(x no.c)\\n' > CMakeLists.txt; cmake -B b ."),
    Scenario("cmake-no-ninja", "ninja-missing", f"printf '{CMAKE % 'C'}' > CMakeLists.txt; mkdir e; ln -s $(command -v cmake) $(command -v cc) $(command -v gcc) e/; PATH=$PWD/e cmake -G Ninja -B b ."),
    Scenario("cmake-compile-error", "?thred", f"printf '{CMAKE % 'C'}add_library(x x.c)\\n' > CMakeLists.txt; echo 'int f(){{return thred;}}' > x.c; cmake -B b . && cmake --build b -v"),
    Scenario("cmake-stale", "stale-cmake-cache", f"mkdir a; printf '{CMAKE % 'C'}' > a/CMakeLists.txt; cmake -B a/b a > /dev/null; mv a c; cmake -B c/b c"),
    Scenario("cmake-hash", "hash-mismatch", f"printf '{CMAKE % 'C'}file(DOWNLOAD file://%s/CMakeLists.txt x EXPECTED_HASH SHA256={ZEROS})\\n' $PWD > CMakeLists.txt; cmake -B b ."),
    Scenario("cmake-fetch", "network", f"printf '{CMAKE % 'C'}include(FetchContent)\\nFetchContent_Declare(x GIT_REPOSITORY https://x.invalid/x.git)\\nFetchContent_MakeAvailable(x)\\n' > CMakeLists.txt; cmake -B b ."),
    Scenario("meson-ok", "healthy", "printf \"project('x','c')\\nlibrary('x','x.c')\\ndependency('nosuch', required: false)\\n\" > meson.build; echo 'int x;' > x.c; meson setup b && ninja -C b", "meson"),
    Scenario("meson-no-dependency", "cmake-package", "printf \"project('x','c')\\ndependency('nosuch')\\n\" > meson.build; meson setup b", "meson"),
    Scenario("meson-error", "?thred", "printf \"project('x','c')\\nlibrary('x','x.c')\\n\" > meson.build; echo 'int f(){return thred;}' > x.c; meson setup b && ninja -C b", "meson"),
    # pip, uv, Python
    Scenario("pip-wheel-ok", "healthy", "E=; echo '#include <Python.h>\\nPyMODINIT_FUNC PyInit_x(void){return 0;}' > x.c; printf '#include <Python.h>\\nPyMODINIT_FUNC PyInit_x(void){return 0;}' > x.c; " + EXTENSION + WHEEL + "-v"),
    Scenario("pip-compile-error", "?thred", "E=; printf 'int f(){return thred;}' > x.c; " + EXTENSION + WHEEL),
    Scenario("pip-header", "nccl-missing", "E=; printf '#include <nccl.h>' > x.c; " + EXTENSION + WHEEL),
    Scenario("pip-killed", "out-of-memory", "E=; printf 'int x;' > x.c; mkdir bin; printf '#!/bin/sh\\nkill -9 $$\\n' > bin/cc; chmod +x bin/cc; " + EXTENSION + "CC=$PWD/bin/cc " + WHEEL),
    Scenario("pip-no-torch", "no-torch", PROJECT + "echo 'import torch' > setup.py; " + WHEEL),
    Scenario("pip-no-module", "missing-module", PROJECT + "echo 'import nosuchmodule' > setup.py; " + WHEEL),
    Scenario("pip-own-exception", "?my own words", PROJECT + "echo 'raise RuntimeError(\"my own words\")' > setup.py; " + WHEEL),
    Scenario("pip-no-match", "no-matching-distribution", "pip install --no-index nosuchpackage"),
    Scenario("pip-no-network", "network-retries", "unshare -n pip install --retries 1 --timeout 2 --index-url https://x.invalid/simple nosuchpackage", "root"),
    Scenario("pip-hash", "hash-mismatch", HASHED + f"echo 'y==1 --hash=sha256:{ZEROS}' > r.txt; pip install --no-index --find-links . --target t -r r.txt"),
    Scenario("pip-python", "python-unsupported", "printf '[project]\\nname=\"x\"\\nversion=\"1\"\\nrequires-python=\">=9\"\\n' > pyproject.toml; " + WHEEL),
    Scenario("pip-platform", "no-wheel-for-platform", "cp /dev/null z-1-cp27-cp27m-win32.whl; pip install --no-index --target t ./z-1-cp27-cp27m-win32.whl"),
    Scenario("pip-no-project", "invalid-metadata", "mkdir p; pip wheel ./p"),
    Scenario("setuptools-layout", "invalid-metadata", PROJECT + "mkdir a b; touch a/__init__.py b/__init__.py; " + WHEEL),
    Scenario("scm-no-tag", "no-scm-version", "python -c 'import setuptools_scm; setuptools_scm.get_version()'"),
    Scenario("uv-no-match", "no-matching-distribution", "uv pip install --no-index --target t nosuchpackage"),
    Scenario("uv-hash", "hash-mismatch", HASHED + f"echo 'y==1 --hash=sha256:{ZEROS}' > r.txt; uv pip install --no-index --find-links . --target t --require-hashes -r r.txt"),
    Scenario("uv-no-network", "network", "unshare -n uv pip install --no-cache --target t --index-url https://x.invalid/simple nosuchpackage", "root"),
    Scenario("uv-platform", "no-wheel-for-platform", "cp /dev/null z-1-cp27-cp27m-win32.whl; uv pip install --no-index --find-links . --target t z"),
    Scenario("uv-ok", "healthy", HASHED + "uv pip install --no-index --find-links . --target t y"),
    Scenario("uv-build-error", "?thred", "E=; printf 'int f(){return thred;}' > x.c; " + EXTENSION + "uv build --wheel --no-build-isolation"),
    Scenario("python-killed", "out-of-memory", "sh -c 'python -c \"import os; os.kill(os.getpid(), 9)\"; echo exit code: $? >&2; exit 1' ; echo \"make: *** [x] Killed\"; false"),
    Scenario("python-memory", "out-of-memory", "ulimit -v 400000; python -c 'x = bytearray(10**9)'"),
    Scenario("python-interrupted", "interrupted", "timeout -s INT 2 python -c 'import time; time.sleep(20)'"),
    Scenario("python-ok", "healthy", "python -c 'import warnings; warnings.warn(\"CUDA error: no kernel image is available\"); print(\"Error: 0 failed\")'"),
    # cargo and git
    Scenario("cargo-ok", "healthy", "cargo init -q --name x . && cargo build", "cargo"),
    Scenario("cargo-error", "?cannot find value", "cargo init -q --name x . && echo 'fn main(){ nothing; }' > src/main.rs; cargo build", "cargo"),
    Scenario("cargo-no-linker", "no-host-compiler", "cargo init -q --name x . && RUSTFLAGS='-C linker=no-cc' cargo build", "cargo"),
    Scenario("cargo-no-network", "network", "cargo init -q --name x . && echo 'nosuch = \"1\"' >> Cargo.toml; CARGO_NET_RETRY=0 unshare -n cargo build", "cargo root"),
    Scenario("cargo-rustc", "rust-missing", "cargo init -q --name x . && sed -i 's/^edition.*/&\\nrust-version = \"1.999\"/' Cargo.toml; cargo build", "cargo"),
    Scenario("git-ownership", "git-ownership", "git init -q r; chown -R 65534 r; HOME=/nowhere git -C r status", "root"),
    Scenario("git-no-ref", "git-ref", "git init -q r; git -C r checkout v9"),
    Scenario("git-no-network", "network", "git clone https://x.invalid/x.git"),
    Scenario("git-ok", "healthy", "git init -q r; git -C r -c user.name=a -c user.email=a@b commit -q --allow-empty -m 'fix: fatal error: out of memory'; git clone r s; git -C s log --oneline"),
    # the loader
    Scenario("loader-libmpi", "ngc-mpi", "echo 'int f(){return 0;}' > m.c; gcc -shared m.c -Wl,-soname,libmpi.so.40 -o libmpi.so.40; echo 'int f(); int main(){return f();}' > x.c; gcc x.c ./libmpi.so.40 -o x; rm libmpi.so.40; ./x"),
    Scenario("loader-cupti", "cuda-library-missing", "echo 'int f(){return 0;}' > m.c; gcc -shared m.c -Wl,-soname,libcupti.so.12 -o l.so; echo 'int f(); int PyInit_x(){return f();}' > x.c; gcc -shared -fPIC x.c ./l.so -o x.so; rm l.so; python -c 'import x'"),
    Scenario("loader-torch-abi", "torch-abi", "echo 'namespace c10{void f();} extern \"C\" int PyInit_x(){c10::f(); return 0;}' > x.cpp; g++ -shared -fPIC x.cpp -o x.so; python -c 'import x'"),
    # nvcc
    Scenario("nvcc-ok", "healthy", "echo '__global__ void k(){int error;}' > x.cu; $NVCC -Xptxas -v -c x.cu", "nvcc"),
    Scenario("nvcc-error", "?thred", "echo '__global__ void k(){thred.x;}' > x.cu; $NVCC -c x.cu", "nvcc"),
    Scenario("nvcc-arch", "unsupported-arch", "echo > x.cu; $NVCC -gencode=arch=compute_20,code=sm_20 -c x.cu", "nvcc"),
    Scenario("nvcc-arch-option", "unsupported-arch", "echo > x.cu; $NVCC -arch=sm_999 -c x.cu", "nvcc"),
    Scenario("nvcc-std", "cxx-standard", "echo > x.cu; $NVCC -std=c++41 -c x.cu", "nvcc"),
    Scenario("nvcc-option", "nvcc-option", "echo > x.cu; $NVCC --no-such-option -c x.cu", "nvcc"),
    Scenario("nvcc-clockrate", "cuda13-removed", "printf '#include <cuda_runtime.h>\\nint f(cudaDeviceProp p){return p.clockRate;}' > x.cu; $NVCC -c x.cu", "nvcc"),
    Scenario("nvcc-bindtexture", "cuda13-removed", "echo 'void f(){cudaThreadSynchronize();}' > x.cu; $NVCC -c x.cu", "nvcc"),
    Scenario("nvcc-host-too-new", "host-compiler-too-new", "echo '__global__ void k(){}' > x.cu; $NVCC -Xcompiler -U__GNUC__,-D__GNUC__=99 -c x.cu", "nvcc"),
    Scenario("nvcc-wgmma", "arch-feature", "echo '__global__ void k(){asm volatile(\"wgmma.fence.sync.aligned;\");}' > x.cu; $NVCC -arch=sm_80 -c x.cu", "nvcc"),
    Scenario("nvcc-is-same-v", "cxx-standard", "printf '#include <type_traits>\\nstatic_assert(std::is_same_v<int,int>);' > x.cu; $NVCC -std=c++14 -c x.cu", "nvcc"),
    Scenario("nvcc-cudnn", "cudnn-missing", "echo '#include <cudnn.h>' > x.cu; $NVCC -c x.cu", "nvcc"),
    Scenario("nvcc-glibc", "glibc-newer-than-toolkit", "printf 'extern \"C\" double sinpi(double) noexcept(true);\\n' > x.cu; $NVCC -c x.cu", "nvcc"),
    Scenario("nvcc-ninja-echo", "?nothing", "printf 'void f(){\\n  try{}catch(int e){throw nothing; /* std::bad_alloc Killed */}}' > x.cu; C=\"$NVCC -c x.cu -o a.o\"; " + NINJA + "ninja", "nvcc"),
    Scenario("nvcc-killed", "out-of-memory", "mkdir b; printf '#!/bin/sh\\nkill -9 $$\\n' > b/g++; chmod +x b/g++; echo > x.cu; C=\"$NVCC -ccbin b/g++ -c x.cu -o a.o\"; " + NINJA + "ninja; sh -c 'kill -9 $$'; echo Killed; false", "nvcc"),
)  # fmt: skip


def missing(scenario: Scenario, nvcc: Path | None) -> str:
    """What a scenario needs that is not here."""
    for need in scenario.needs.split():
        there = {"root": os.geteuid() == 0, "nvcc": nvcc is not None}.get(need)
        there = shutil.which(need, path=f"{BIN}:{os.environ['PATH']}") is not None if there is None else there
        if not there:
            return need
    return ""


def run(scenario: Scenario, nvcc: Path | None, directory: Path) -> tuple[str, int]:
    """A scenario's log without the names of this machine, and its exit status."""
    environment = dict(os.environ) | {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "LC_ALL": "C.UTF-8",
        "NVCC": str(nvcc),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "TERM": "dumb",
    }
    done = subprocess.run(
        ["bash", "-c", scenario.script], cwd=directory, env=environment, stdin=subprocess.DEVNULL, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=180,
    )  # fmt: skip
    log = done.stdout.decode("utf-8", "replace")
    tools = [(str(nvcc.parent.parent), "/cuda")] if nvcc else []
    for name, instead in (*tools, (str(directory), "/w"), (str(BIN.parent), "/venv"), (str(Path.home()), "/home/me")):
        log = log.replace(name, instead)
    return re.sub(r"/tmp/[\w./-]*(?=/)", "/tmp/t", log), done.returncode


def judge(scenario: Scenario, log: str) -> tuple[str, str]:
    """Right, not known, wrong, or a healthy log diagnosed; and what was said."""
    found = wheelsmith.explain(f"{log}\n")
    said = found.id or found.outcome
    if scenario.want == "healthy":
        return ("right" if found.outcome == "healthy" else "healthy, diagnosed"), said
    if scenario.want.startswith("?"):
        right = found.outcome == "unknown" and scenario.want[1:] in found.excerpt
    else:
        right = found.id == scenario.want
    return "right" if right else "not known" if found.outcome != "known" else "wrong", said


def main() -> None:
    """Run all, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--nvcc", type=Path)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="write the logs there")
    options = parser.parse_args()
    kinds: Counter[tuple[str, str]] = Counter()
    for scenario in SCENARIOS:
        if options.names and scenario.name not in options.names:
            continue
        if need := missing(scenario, options.nvcc):
            print(f"left out  {scenario.name}: {need} is missing here")
            continue
        with tempfile.TemporaryDirectory() as directory:
            try:
                log, status = run(scenario, options.nvcc, Path(directory))
            except subprocess.TimeoutExpired:
                print(f"left out  {scenario.name}: it took too long")
                continue
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
            (options.keep / f"{scenario.name}.log").write_text(log, "utf-8")
        if bool(status) != scenario.fails:
            print(f"left out  {scenario.name}: it ended with {status}")
            continue
        verdict, said = judge(scenario, log)
        kinds["fails" if scenario.fails else "healthy", verdict] += 1
        if verdict != "right":
            print(f"{verdict}  {scenario.name}: wanted {scenario.want}, said {said}")
    for kind in ("fails", "healthy"):
        rows = {verdict: count for (group, verdict), count in kinds.items() if group == kind}
        print(
            f"{kind}: {sum(rows.values())} logs: {', '.join(f'{n} {verdict}' for verdict, n in sorted(rows.items()))}"
        )


if __name__ == "__main__":
    main()
