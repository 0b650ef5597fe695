"""One failure in whatever clothes: every tool that puts something in front of a line, and every way to end one."""

import json

import pytest

from wheelsmith.diagnostics.diagnose import diagnose, diagnose_stream
from wheelsmith.diagnostics.lines import clean

NINJA = """\
[12/57] Building CUDA object CMakeFiles/x.dir/b.cu.o
FAILED: [code=137] CMakeFiles/x.dir/b.cu.o
/cuda/bin/nvcc -x cu -c /src/b.cu -o CMakeFiles/x.dir/b.cu.o
Killed
ninja: build stopped: subcommand failed.
"""
GCC = """\
g++ -Iinc -c src/one.cpp -o out/one.o
src/one.cpp:3:10: fatal error: nccl.h: No such file or directory
    3 | #include <nccl.h>
      |          ^~~~~~~~
compilation terminated.
make[1]: *** [Makefile:9: out/one.o] Error 1
"""
PYTHON = """\
Traceback (most recent call last):
  File "serve.py", line 7, in <module>
    import torch
ImportError: libcupti.so.12: cannot open shared object file: No such file or directory
"""
CMAKE = """\
-- Detecting CXX compile features - done
CMake Error at /usr/share/cmake/Modules/CMakeDetermineCompilerId.cmake:9 (message):
  Compiling the CUDA compiler identification source file failed.

  /usr/include/bits/mathcalls.h(79): error: exception specification is
  incompatible with that of previous function "sinpi" (declared at line 25)

Call Stack (most recent call first):
  CMakeLists.txt:58 (project)
-- Configuring incomplete, errors occurred!
"""
CASES = {"out-of-memory": NINJA, "nccl-missing": GCC, "cuda-library-missing": PYTHON, "glibc-newer-than-toolkit": CMAKE}
WRAPS = {
    "plain": lambda line, i: line,
    "pip": lambda line, i: f"      {line}",
    "tabs": lambda line, i: f"\t{line}",
    "docker classic": lambda line, i: f"\x1b[91m{line}\x1b[0m",
    "buildkit": lambda line, i: f"#12 {i}.4{i % 10} {line}".rstrip(),
    "buildkit again": lambda line, i: f"{i}.123 {line}".rstrip(),
    "buildkit tty": lambda line, i: f" => => # {line}",
    "compose": lambda line, i: f"builder-1  | {line}",
    "github": lambda line, i: f"2026-09-14T08:00:{i % 60:02}.0007919Z {line}",
    "github cli": lambda line, i: f"build\tRun make\t2026-09-14T08:00:{i % 60:02}.0007919Z {line}",
    "gitlab": lambda line, i: f"2026-09-14T08:00:00.000000Z 01O {line}",
    "gitlab section": lambda line, i: f"section_start:1700000000:step_script\r\x1b[0K{line}",
    "azure": lambda line, i: f"2026-09-14T08:00:00.1234567Z {line}",
    "jenkins": lambda line, i: f"[2026-09-14T08:00:00.123Z] {line}",
    "timestamper": lambda line, i: f"08:00:{i % 60:02} {line}",
    "ts": lambda line, i: f"Sep 14 08:00:{i % 60:02} {line}",
    "journald": lambda line, i: f"Sep 14 08:00:00 host docker[812]: {line}",
    "conda-build": lambda line, i: f" │ │ {line}",
    "nix": lambda line, i: f"vllm> {line}",
    "nix quote": lambda line, i: f"       > {line}",
    "act": lambda line, i: f"[CI/build]   | {line}",
    "rank": lambda line, i: f"[rank0]: {line}",
    "mpirun": lambda line, i: f"[1,0]<stderr>:{line}",
    "srun": lambda line, i: f"3: {line}" if line else line,
    "vllm": lambda line, i: f"(EngineCore_DP0 pid=81) ERROR 06-19 10:11:12 [core.py:708] {line}",
    "logging": lambda line, i: f"2026-09-14 08:00:00,123 - build - ERROR - {line}",
    "glog": lambda line, i: f"E0619 10:11:12.123456 77 build.py:1] {line}",
    "kubernetes": lambda line, i: f"2026-09-14T08:00:00.000000000Z stderr F {line}",
    "json-file": lambda line, i: json.dumps({"log": f"{line}\n", "stream": "stderr", "time": "2026-09-14T08:00:00Z"}),
    "colours": lambda line, i: f"\x1b[1m\x1b[31m{line}\x1b[0m\x1b[K",
    "hyperlink": lambda line, i: f"\x1b]8;;http://x\x1b\\\x1b]8;;\x1b\\{line}",
    "crlf": lambda line, i: f"{line}\r",
    "overwritten": lambda line, i: f" 40%|####  |\r\x1b[2K{line}",
    "compose of pip": lambda line, i: f"web_1  |       {line}",
    "github of buildkit": lambda line, i: f"2026-09-14T08:00:00.0007919Z #9 {i}.442 \x1b[31m{line}\x1b[0m".rstrip(),
}  # fmt: skip


def wrapped(text: str, wrap: str) -> str:
    lines = [WRAPS[wrap](line, i) for i, line in enumerate(text.splitlines(), 1)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("id_", CASES)
def test_a_failure_is_the_same_in_every_log(id_, wrap):
    plain, found = diagnose(CASES[id_]), diagnose(wrapped(CASES[id_], wrap))
    assert (found.id, found.line, found.unit, found.command) == (id_, plain.line, plain.unit, plain.command)
    assert found.outcome == "known"


@pytest.mark.parametrize("wrap", WRAPS)
def test_what_repeats_a_unit_is_found_in_every_log(wrap):
    found = diagnose(wrapped(NINJA, wrap))
    assert found.repeat == "/cuda/bin/nvcc -x cu -c /src/b.cu -o CMakeFiles/x.dir/b.cu.o"
    assert diagnose(wrapped(GCC, wrap)).repeat == "g++ -Iinc -c src/one.cpp -o out/one.o"


def test_the_frames_of_a_traceback_keep_their_indentation():
    assert clean('0.759       File "x"').text == '      File "x"'
    assert clean(" │ │   indented").text == "       indented"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_what_powershell_writes_is_read(encoding):
    data = NINJA.replace("\n", "\r\n").encode(encoding)
    pieces = [data[i : i + 1001] for i in range(0, len(data), 1001)]
    found = diagnose_stream(lambda size: pieces.pop(0) if pieces else b"")
    assert (found.id, found.unit) == ("out-of-memory", "CMakeFiles/x.dir/b.cu.o")


def test_two_steps_that_write_at_once_are_kept_apart():
    log = """\
#12 1.0 FAILED: a.o
#13 1.0 [1/2] Building CXX object z.o
#12 1.1 g++ -c a.cpp -o a.o
#13 1.1 Successfully built z
#12 1.2 a.cpp:1:1: error: 'x' was not declared in this scope
#13 1.3 [2/2] Linking z
#12 1.4 ninja: build stopped: subcommand failed.
"""
    found = diagnose(log)
    assert (found.outcome, found.line, found.unit, found.command) == ("unknown", 5, "a.o", "g++ -c a.cpp -o a.o")
    assert "z.o" not in found.excerpt
