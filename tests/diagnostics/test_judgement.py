# ruff: noqa: E501
"""What counts as a failure, which of several leads, and what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheelsmith.diagnostics.diagnose import diagnose, diagnose_stream

HEALTHY = {
    "a warning about bad_alloc": "x.cpp:5:25: warning: catching polymorphic type 'class std::bad_alloc' by value\n    5 |   catch (std::bad_alloc e) {}\n      |          ^\n[2/2] Linking x.so\n",
    "a probe of autoconf": "configure:77: checking for cudnn.h\nconftest.c:9:10: fatal error: cudnn.h: No such file or directory\nconfigure:78: result: no\n",
    "a probe of numpy": "_configtest.c:1:10: fatal error: Python.h: No such file or directory\nfailure.\nremoving: _configtest.c\n",
    "a probe of CMake": "-- Performing Test HAVE_X - Failed\n-- Looking for nccl.h - not found\n-- Could NOT find CUDA (missing: CUDA_NVCC)\n-- Configuring done\n",
    "a label named error": "x.cu(7): warning #177-D: label \"error\" was declared but never referenced\n  error: cleanup();\n  ^\n\n",
    "an option": "g++ -Werror -DFAILED=1 -DMSG='\"fatal: CUDA error\"' -c x.cpp -o x.o\n[1/1] Linking x\n",
    "a README": "+ cat README.md\nfatal error: Python.h: No such file or directory\nKilled\n+ true\n",
    "a fetch that was tried again": "error: RPC failed; curl 56 GnuTLS recv error\nfatal: early EOF\n+ sleep 3\nReceiving objects: 100% (9/9), done.\n[7/7] Linking x\n",
    "a compile that was tried again": "FAILED: a.o\nnvcc -c a.cu -o a.o\nKilled\nninja: build stopped: subcommand failed.\n+ MAX_JOBS=1 ninja\n[1/2] a.o\n[2/2] Linking x\n",
    "a process that was ended on purpose": "+ kill -9 77\nci.sh: line 3:    77 Killed                  python serve.py\n",
    "tests that expect errors": "tests/test_errors.py::test_no_space_left_on_device PASSED\ntests/test_errors.py::test_killed PASSED [ 50%]\n=== 2 passed in 0.1s ===\n",
    "script text of a GitHub step": "2026-01-01T00:00:00.0000000Z ##[group]Run make || echo hi\n2026-01-01T00:00:00.0000000Z \x1b[36;1mecho \"ERROR: failed\" >&2\x1b[0m\n2026-01-01T00:00:00.0000000Z ##[endgroup]\n",
    "pip's remark": "ERROR: pip's dependency resolver does not currently take into account all the packages that are installed.\nSuccessfully installed x-1\n",
    "a linker's warning": "/usr/bin/ld: warning: libcuda.so.1, needed by x.so, not found (try using -rpath or -rpath-link)\n[3/3] Linking y\n",
    "statistics": "sccache: Compile requests 5\nCache errors 0\n0 errors generated.\nErrors: 0\n",
    "an exception at the end that is ignored": "Exception ignored in: <function x>\n",
}  # fmt: skip


@pytest.mark.parametrize("log", HEALTHY.values(), ids=HEALTHY)
def test_a_healthy_log_has_no_failure(log):
    found = diagnose(log)
    assert (found.outcome, found.id, found.line) == ("healthy", "", 0)


def test_an_empty_log_is_healthy():
    assert diagnose("").outcome == "healthy"


def test_an_unknown_failure_shows_its_lines_and_claims_nothing():
    found = diagnose('a\nb\nx.cu(7): error: identifier "thred" is undefined\n    thred.x;\n    ^\n')
    assert (found.outcome, found.id, found.cause, found.remedy) == ("unknown", "", "", "")
    assert (found.file, found.row, found.line) == ("x.cu", 7, 3)
    assert found.excerpt.splitlines()[-1] == "    ^"


def test_the_first_real_failure_leads_and_the_next_stands_beside_it():
    log = """\
FAILED: [code=1] a.o
g++ -c a.cpp -o a.o
a.cpp:1:1: error: 'x' was not declared in this scope
FAILED: [code=137] b.o
g++ -c b.cpp -o b.o
Killed
ninja: build stopped: subcommand failed.
ERROR: Failed building wheel for x
"""
    found = diagnose(log)
    assert (found.outcome, found.unit, found.line) == ("unknown", "a.o", 3)
    assert [(other.line, other.id, other.unit) for other in found.beside] == [(6, "out-of-memory", "b.o")]


def test_an_exception_that_was_handled_is_not_the_cause():
    log = """\
Traceback (most recent call last):
  File "setup.py", line 1, in run
    urlretrieve(url)
urllib.error.HTTPError: HTTP Error 404: Not Found

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "setup.py", line 9, in run
    build()
OSError: CUDA_HOME environment variable is not set. Please set it to your CUDA install root.
"""
    assert diagnose(log).id == "no-cuda-home"


def test_an_exception_that_caused_another_is_the_cause():
    log = """\
Traceback (most recent call last):
  File "a.py", line 1, in f
    g()
OSError: [Errno 28] No space left on device

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "b.py", line 1, in h
    raise RuntimeError("cannot build") from error
RuntimeError: cannot build
"""
    assert diagnose(log).id == "disk-full"


def test_a_warning_counts_only_where_there_is_no_error():
    warning = "UserWarning: \n    Found GPU0 X which is of cuda capability 7.0.\n"
    assert diagnose(warning).id == "torch-without-arch"
    assert diagnose(f"{warning}x.cpp:1:1: error: y\n").outcome == "unknown"


def test_what_pip_could_not_reach_is_the_cause_of_what_it_did_not_find():
    tail = "ERROR: Could not find a version that satisfies the requirement x (from versions: none)\nERROR: No matching distribution found for x\n"
    retry = "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError': /simple/x/\n"
    assert diagnose(tail).id == "no-matching-distribution"
    assert diagnose(retry + tail).id == "network-retries"


def test_an_interruption_explains_what_dies_after_it():
    found = diagnose("[1/9] a\n^Cninja: build stopped: interrupted by user.\nmake: *** [all] Interrupt\nKilled\n")
    assert (found.id, found.line, found.beside) == ("interrupted", 2, ())


def test_only_the_last_run_in_a_log_counts():
    log = "# wheelsmith: 1\nnvcc error   : 'cicc' died due to signal 9\n# wheelsmith: 2\nx.cu(7): error: no such type\n"
    found = diagnose(log)
    assert (found.id, found.line) == ("", 4)
    assert "died" not in found.excerpt


def test_source_that_is_echoed_decides_nothing():
    log = "b.cpp(5): error: x\n    throw std::bad_alloc();  // Killed\n          ^\nb.cpp(6): error: y\n  error: Killed\n  ^\n"
    found = diagnose(log)
    assert (found.outcome, found.line) == ("unknown", 1)
    assert not found.beside or all(other.id == "" for other in found.beside)


def test_a_failure_far_behind_the_beginning_is_found_in_little_memory():
    import tracemalloc

    block = b"[1/9999999] Building CUDA object CMakeFiles/error_utils.cu.o\n" * 16_000
    pieces = [block] * 4 + [b"FAILED: z.o\nnvcc -c z.cu -o z.o\nKilled\nninja: build stopped: subcommand failed.\n"]
    tracemalloc.start()
    found = diagnose_stream(lambda size: pieces.pop(0) if pieces else b"")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found.id, found.line, found.unit) == ("out-of-memory", 64_003, "z.o")
    assert peak < 6e6  # 3.9 MB at any length: the log itself would be as much again


def test_a_line_without_an_end_is_survived():
    pieces = [b"x" * 1_000_000] * 5 + [b"\nKilled\n"]
    assert diagnose_stream(lambda size: pieces.pop(0) if pieces else b"").id == "out-of-memory"


def test_many_errors_do_not_hide_the_first():
    log = "".join(f"x{i}.cpp:{i}:1: error: 'a{i}' was not declared in this scope\n" for i in range(220))
    assert diagnose(log).line == 1
    noise = "".join(f"ERROR 06-19 10:11:12 [core.py:7] request {i} was lost\n" for i in range(220))
    assert diagnose(f"{noise}x.cpp:1:1: error: y\n").line == 221


@given(st.text(max_size=200), st.integers(1, 50))
def test_any_text_is_explained_however_it_comes(text, size):
    found = diagnose(text)
    assert found.line <= text.count("\n") + 1
    data = text.encode()
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    assert diagnose_stream(lambda most: pieces.pop(0) if pieces else b"") == found


@given(st.lists(st.sampled_from(["Traceback (most recent call last):", "  File", "", "E: x", "FAILED: a", "CMake Error at x:", "  y", "KeyError: 1", "[2/2] z", "    ^", "#1 0.1 Killed", "During handling of the above exception, another exception occurred:", "ninja: build stopped: x"]), max_size=30))  # fmt: skip
def test_any_order_of_pieces_is_survived(lines):
    diagnose("\n".join(lines))


def test_what_is_special_is_asked_before_what_is_general():
    assert diagnose("sccache: error: Failed to connect to server\nsccache: caused by: x\n").id == "sccache-storage"


def test_a_message_below_its_exception_is_read():
    log = "      RuntimeError:\n      The detected CUDA version (13.0) mismatches the version that was used to compile\n      PyTorch (12.8). Please make sure.\n"
    found = diagnose(log)
    assert found.id == "torch-cuda-mismatch"
    assert "--cuda 12.8" in found.remedy
