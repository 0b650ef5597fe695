"""The table of failures: every row is recognised in its own words, in the noise, and with what belongs to it.

These are texts; tests/e2e/test_failures.py provokes the real failures.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheelsmith.diagnostics.diagnose import diagnose, signatures

NOISE = "[1/9] Building CUDA object a.o\nptxas info    : Used 32 registers\n-- Could NOT find MPI (missing: x)\n" * 40

# One line of a real log for each row of the table.
LINES = {
    "torch-too-old": 'x.h(12): error: namespace "c10" has no member "Float8_e8m0fnu"',
    "disk-full": "fatal error: error writing to /tmp/x.s: No space left on device",
    "out-of-memory": "g++: fatal error: Killed signal terminated program cc1plus",
    "ngc-mpi": "ImportError: libmpi.so.40: cannot open shared object file: No such file or directory",
    "ptx-too-new": "RuntimeError: CUDA error: the provided PTX was compiled with an unsupported toolchain.",
    "no-kernel-image": "RuntimeError: CUDA error: no kernel image is available for execution on the device",
    "torch-without-arch": "RTX 5090 with CUDA capability sm_120 is not compatible with the current PyTorch.",
    "unsupported-arch": "nvcc fatal   : Unsupported gpu architecture 'compute_120a'",
    "unknown-arch-name": "CMake Error: Found Unknown CUDA Architecture Name in CUDA_SELECT_NVCC_ARCH_FLAGS: 12.0f",
    "empty-arch-list": "    arch_list[-1] += '+PTX'",
    "ptxas-too-old": "ptxas fatal   : Value 'sm_120a' is not defined for option 'gpu-name'",
    "ptx-version": "ptxas /tmp/x.ptx, line 5; fatal   : PTX .version 8.6 does not support .target sm_120a",
    "compiler-crash": "nvcc error   : 'ptxas' died due to signal 11 (Invalid memory reference)",
    "setuptools-license": "configuration error: `project.license` must be valid exactly by one definition",
    "packaging-too-old": "ImportError: Cannot import `packaging.licenses`.",
    "no-scm-version": "LookupError: setuptools-scm was unable to detect version for /src.",
    "nvshmem-missing": "OSError: libnvshmem_host.so.3: cannot open shared object file",
    "torch-abi": "ImportError: _C.abi3.so: undefined symbol: _ZN3c104cuda9SetDeviceEi",
    "cutlass-missing": "ImportError: _C.so: undefined symbol: _Z22cutlass_moe_mm_sm100RN2at6TensorE",
    "cudart-major": "ImportError: libcudart.so.12: cannot open shared object file: No such file or directory",
    "cpu-torch": "ImportError: libtorch_cuda.so: cannot open shared object file: No such file or directory",
    "no-driver": "ImportError: libcuda.so.1: cannot open shared object file: No such file or directory",
    "glibc-too-new": "ImportError: /lib/libc.so.6: version `GLIBC_2.38' not found (required by x.so)",
    "host-compiler-too-new": "#error -- unsupported GNU version! gcc versions later than 12 are not supported!",
    "nvtoolsext": "CMake Error: The link interface of target c10_cuda contains: CUDA::nvToolsExt",
    "two-toolkits": "CMake Error: Found two conflicting CUDA installs:",
    "torch-cuda-mismatch": "The detected CUDA version (12.8) mismatches the version that was used to compile PyTorch",
    "no-cuda-home": "OSError: CUDA_HOME environment variable is not set. Please set it to your CUDA install root.",
    "cuda-headers-missing": "x.cu:1:10: fatal error: cublas_v2.h: No such file or directory",
    "python-headers": "x.cpp:1:10: fatal error: Python.h: No such file or directory",
    "python-unsupported": "CMake Error: Python version (3.14) is not one of the supported versions: 3.9;3.10",
    "extension-not-built": "error: can't copy 'build/lib/vllm/_C.abi3.so': doesn't exist or not a regular file",
    "triton-kernels": "ImportError: Failed to import Triton kernels. No module named 'triton_kernels.routing'",
    "network": "fatal: unable to access 'https://example.invalid/': Could not resolve host: example.invalid",
    "sccache-storage": "sccache: error: Server startup failed: cache storage failed to read: ConfigInvalid",
    "driver-unsupported": "RuntimeError: Error 803: system has unsupported display driver / cuda driver combination",
    "forward-compat": "RuntimeError: Error 804: forward compatibility was attempted on non supported HW",
    "wheel-too-large": "Not allowed: Wheel dist/vllm.whl is larger (520.30 MB) than the limit (500 MB).",
    "no-torch": "ModuleNotFoundError: No module named 'torch'",
    "generation": "CMake Error at CMakeLists.txt:380 (message): Marlin generation failed. Result: 1",
    "certificate": "ssl.SSLError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed (_ssl.c:1006)",
    "nested-fetch": "fatal: Failed to clone repository: 'https://example.invalid/cutlass.git'",
    "no-host-compiler": "CMake Error: No CMAKE_CXX_COMPILER could be found.",
}


def test_every_row_has_its_line_and_its_own_id():
    ids = [signature.id for signature in signatures()]
    assert sorted(ids) == sorted(LINES)
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("id_", LINES)
def test_a_known_failure_is_recognised_in_the_noise(id_):
    found = diagnose(f"{NOISE}{LINES[id_]}\n{NOISE}")
    assert found.id == id_
    assert LINES[id_] in found.excerpt
    assert found.line == 121
    assert found.cause and found.remedy
    assert not found.remedy.endswith(".")


def test_upstream_is_linked_by_full_addresses():
    found = diagnose("RuntimeError: CUDA error: no kernel image is available\n")
    assert found.links == ("https://github.com/vllm-project/vllm/issues/16901",)
    assert found.phase == "run"


@pytest.mark.parametrize(
    "text", ["nvcc error   : 'cicc' died due to signal 9 (Kill signal)", "sh: line 1: 77 Killed  cicc"]
)
def test_memory_is_what_wheelsmith_acts_upon(text):
    assert (diagnose(text).id, diagnose(text).action) == ("out-of-memory", "fewer-jobs")


def test_the_specific_cause_wins_over_its_consequence():
    log = """\
CMake Error at FetchContent.cmake:1100 (message):
  Build step for cutlass failed: 2
fatal: unable to access: Could not resolve host: example.invalid
CMake Error at x.cmake:3: self-signed certificate in certificate chain
"""
    assert diagnose(log).id == "certificate"


def test_a_mere_mention_is_not_the_cause():
    log = "-- Could NOT find Python (missing: Development)\nx.cu(3): fatal error: x: No space left on device\n"
    assert diagnose(log).id == "disk-full"


def test_only_the_last_run_in_a_log_counts():
    log = "# wheelsmith: 1\nnvcc error: 'cicc' died due to signal 9\n# wheelsmith: 2\nx.cu(7): error: no such type\n"
    found = diagnose(log)
    assert (found.id, found.line) == ("", 4)
    assert "died" not in found.excerpt


def test_colours_and_progress_bars_do_not_hide_an_error():
    found = diagnose("\x1b[2K 40%\r\x1b[31mnvcc fatal   : Unsupported gpu architecture 'compute_20'\x1b[0m\n")
    assert found.excerpt == "nvcc fatal   : Unsupported gpu architecture 'compute_20'"


@given(st.text())
def test_any_text_is_explained(text):
    found = diagnose(text)
    assert found.line <= text.count("\n") + 1
