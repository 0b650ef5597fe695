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
        (FAILED, "g++: internal compiler error: Killed (program cc1plus)"),
        (FAILED, "/usr/bin/ld: final link failed: memory exhausted"),
        (FAILED, "/usr/bin/ld: x.so: Memory allocation failure"),
        (FAILED, "cc1plus: fatal error: cannot map pch file: Cannot allocate memory"),
        (FAILED, "virtual memory exhausted: Cannot allocate memory"),
        (FAILED, "sh: line 1: 77 Killed  cicc"),
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
        (FAILED, "a.cpp:5:9: error: bad\n    5 |   catch (std::bad_alloc e) { }\n      |          ^"),
        (FAILED, "a.cpp(5): error: bad\n    throw std::bad_alloc();  // Killed\n          ^"),
        (FAILED, "a.cpp:5:25: warning: catching polymorphic type 'class std::bad_alloc' by value [-Wcatch-value=]"),
        (FAILED, 'a.cpp:1:2: error: #error "virtual memory exhausted: Cannot allocate memory"'),
        (FAILED, "a.cpp:1:2: fatal error: Killed signal terminated program cc1plus.h: No such file or directory"),
        (FAILED, "LLVM ERROR: Broken module found\nnote: 'out of memory allocating 1 bytes' is a string of the source"),
    ],
)
def test_other_ends(status, errors):
    assert died_of_memory(status, errors) == ""
