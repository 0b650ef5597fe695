import pytest

from wheelsmith.compile.deaths import Deaths, with_deaths
from wheelsmith.compile.timeline import Attempt
from wheelsmith.diagnostics.diagnose import diagnose

KILLED, FAILED = 9, 1 << 8


@pytest.mark.parametrize(
    ("status", "errors"),
    [
        (KILLED, ""),
        (137 << 8, ""),
        (137 << 8, "x.cu(3): warning: variable never used\nKilled"),
        (247 << 8, ""),
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
    assert Deaths().sign(status, errors)


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
    assert Deaths().sign(status, errors) == ""


SILENT = "no error told, and the kernel counts a kill for memory"


@pytest.mark.parametrize(
    ("errors", "sign"),
    [
        ("", SILENT),
        ("a.cpp:3:9: warning: unused 'error'\n    3 |   int error: 1;\n      |       ^", SILENT),
        ("[ninja] errors are not counted here", SILENT),
        ("a.cu(3): error: identifier is undefined", ""),
        ("a.cpp:5:9: fatal error: x.h: No such file or directory", ""),
        ("collect2: error: ld returned 1 exit status", ""),
        ("/usr/bin/ld: a.o: in function `f':\na.cpp:(.text+0x5): undefined reference to `g'", ""),
        ("nvcc fatal   : Unsupported gpu architecture 'compute_20'", ""),
        ("ptxas fatal   : Unresolved extern function 'f'", ""),
        ("g++: error: unrecognized command-line option '-fx'", ""),
    ],
)
def test_the_kernel_counted_a_kill_and_the_status_says_nothing(errors, sign):
    assert Deaths(7).sign(FAILED, errors, begun=7, ended=8) == sign
    assert Deaths(7).sign(FAILED, errors, begun=7, ended=7) == ""


def test_a_kill_is_ascribed_to_one_that_ran_then_and_only_once():
    deaths = Deaths(7)
    assert deaths.sign(FAILED, "", begun=8, ended=8) == ""  # it began after that kill
    assert deaths.sign(KILLED, "", begun=7, ended=9) == "killed by SIGKILL, and the kernel counts a kill for memory"
    assert deaths.sign(FAILED, "", begun=7, ended=9) == SILENT  # two were killed, and one is told of
    assert deaths.sign(FAILED, "", begun=7, ended=9) == ""


def test_a_kill_that_the_kernel_does_not_count_is_not_called_one_for_memory():
    assert Deaths(7).sign(KILLED, "", begun=7, ended=7) == "killed by SIGKILL"


def dead(name="src/a.cu", sign=SILENT):
    return Attempt(name, "cuda", (), 1, 0.0, 0.0, 9.0, 3 * 10**9, 0, 9.0, 0.0, 1, "", 2, sign)


KILLED_LOG = (
    "[1/2] Building\nFAILED: [code=137] a.o\nnvcc -c a.cu -o a.o\nKilled\nninja: build stopped: subcommand failed.\n"
)


def test_a_failed_build_is_told_of_the_compiler_that_died():
    found = with_deaths(diagnose("FAILED: [code=1] a.o\nnvcc -c a.cu -o a.o\nninja: build stopped\n"), [dead()], 1)
    assert (found.outcome, found.id, found.unit) == ("known", "out-of-memory", "a.o")
    assert found.cause == f"src/a.cu died of memory at 3.00 GB ({SILENT})"
    assert "--jobs 1" in found.remedy


def test_an_error_that_is_known_leads_before_a_death():
    log = "FAILED: [code=1] a.o\ng++ -c a.cpp -o a.o\na.cpp:1:10: fatal error: nccl.h: No such file or directory\n"
    assert with_deaths(diagnose(log), [dead()], 1).id == "nccl-missing"


def test_killed_is_for_memory_only_if_the_kernel_or_a_compiler_says_so():
    found = diagnose(KILLED_LOG)
    assert found.cause == "memory ran out, and what ran was killed or gave up"
    assert with_deaths(found, [], 1) == found
    assert "neither the kernel nor a compiler says" in with_deaths(found, [], 0).cause
    said = diagnose("cc1plus: out of memory allocating 65536 bytes after a total of 1234 bytes\n")
    assert with_deaths(said, [], 0) == said
