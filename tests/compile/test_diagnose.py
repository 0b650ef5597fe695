import pytest

from wheelsmith.compile import diagnose
from wheelsmith.compile.diagnose import signatures

NOISE = "[1/9] Building CUDA object a.o\nptxas info    : Used 32 registers\n" * 40


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('error: namespace "c10" has no member "Float8_e8m0fnu"', "torch-too-old"),
        ("nvcc error   : 'cicc' died due to signal 9 (Kill signal)", "out-of-memory"),
        ("g++: fatal error: Killed signal terminated program cc1plus", "out-of-memory"),
        ("fatal error: error writing to /tmp/x.s: No space left on device", "disk-full"),
        ("ImportError: libmpi.so.40: cannot open shared object file", "ngc-mpi"),
        ("CUDA error: the provided PTX was compiled with an unsupported toolchain.", "ptx-too-new"),
        ("nvcc fatal   : Unsupported gpu architecture 'compute_120'", "unsupported-arch"),
        ("x.cu:1:10: fatal error: cublas_v2.h: No such file or directory", "cuda-headers-missing"),
    ],
)
def test_known_failures_are_recognised_in_the_noise(line, expected):
    found = diagnose(NOISE + line + "\n" + NOISE)
    assert found.id == expected
    assert line in found.excerpt
    assert found.cause
    assert found.remedy


def test_an_unknown_failure_still_shows_the_first_error():
    log = NOISE + 'src/a.cu(7): error: identifier "x" is undefined\n' + NOISE + "ninja: build stopped\n"
    found = diagnose(log)
    assert (found.id, found.cause) == ("", "")
    assert 'a.cu(7): error: identifier "x"' in found.excerpt


def test_ids_are_unique():
    ids = [signature.id for signature in signatures()]
    assert len(ids) == len(set(ids))
