import pytest

from wheelsmith.compile.deaths import died_of_memory

KILLED, FAILED = 9, 1 << 8


@pytest.mark.parametrize(
    ("status", "errors"),
    [
        (KILLED, ""),
        (137 << 8, ""),
        (FAILED, "g++: fatal error: Killed signal terminated program cc1plus\ncompilation terminated."),
        (FAILED, "nvcc error   : 'cicc' died due to signal 9 (Kill signal)"),
        (4 << 8, "x.cu: catastrophic error: out of memory\n1 catastrophic error detected in the compilation"),
        (FAILED, "cc1plus: out of memory allocating 65536 bytes after a total of 1234 bytes"),
        (6, "terminate called after throwing an instance of 'std::bad_alloc'"),
        (FAILED, "collect2: fatal error: ld terminated with signal 9 [Killed]"),
    ],
)
def test_deaths_of_memory(status, errors):
    assert died_of_memory(status, errors)


@pytest.mark.parametrize(
    ("status", "errors"),
    [
        (0, "warning: out of memory allocating 1 bytes"),
        (FAILED, "x.cu(3): error: identifier is undefined"),
        (FAILED, 'x.cpp:3: error: "Killed" was not declared in this scope'),
        (11, "Segmentation fault"),
    ],
)
def test_other_ends(status, errors):
    assert died_of_memory(status, errors) == ""
