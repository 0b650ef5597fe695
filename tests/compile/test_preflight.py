"""What a machine must have: each lack has its numbers, its remedy, and says whether a build must not begin."""

from __future__ import annotations

import dataclasses
import os
import resource
import sys
from pathlib import Path

import pytest

import wheelsmith
from tests.support import pure_build
from wheelsmith.compile.limits import most_waiting, processes
from wheelsmith.compile.preflight import preflight
from wheelsmith.compile.versions import gcc_check, host_compiler_check, supported_gcc, try_host_compiler
from wheelsmith.diagnostics.diagnose import diagnose
from wheelsmith.errors import NoCompilerError
from wheelsmith.toolchain.cuda import CudaToolkit
from wheelsmith.toolchain.host import HostCompiler, find_host_compiler


@pytest.fixture
def plan(recipe_dir):
    return wheelsmith.plan("toy", recipes=[recipe_dir])


def checks(plan, place):
    """With a toolkit that says its release, and compiles nothing."""
    cuda = place / "cuda"
    return preflight(plan, place, str(cuda if cuda.is_dir() else pure_build.toolkit(cuda)))


def check(plan, place, name):
    return {item.name: item for item in checks(plan, place)}[name]


def table_check(plan, version):
    return host_compiler_check(plan, HostCompiler("/usr/bin/g++", version), None, None)


def test_gcc_that_nvcc_accepts(plan):
    """For a toolkit that is not here yet."""
    found = table_check(plan, "g++ (Debian 12.2.0-14+deb12u1) 12.2.0")
    assert (found.found, found.needed, found.ok) == ("12.2.0", "6 to 15 for CUDA 13.0", True)


def test_gcc_that_is_too_new_stops_a_build(plan, monkeypatch):
    monkeypatch.setattr("wheelsmith.compile.versions.other_compilers", lambda *_: iter(()))
    found = table_check(plan, "g++ (GCC) 16.1.1 20260501 (Red Hat 16.1.1-2)")
    assert (found.ok, found.stops, found.error.exit_code) == (False, True, 30)
    assert found.error.cause == "The host compiler is g++ 16.1.1 (/usr/bin/g++); nvcc of CUDA 13.0 accepts 6 to 15."
    assert "--host-compiler g++-15" in found.error.remedy


@pytest.mark.parametrize(("oldest", "ok"), [("11.3", True), ("12.2", True), ("12.3", False), ("13", False)])
def test_gcc_that_is_too_old_for_the_sources_stops_a_build(plan, monkeypatch, oldest, ok):
    monkeypatch.setattr("wheelsmith.compile.versions.other_compilers", lambda *_: iter(()))
    made = dataclasses.replace(plan, expect=dataclasses.replace(plan.expect, gcc=oldest))
    found = gcc_check(made, HostCompiler("/usr/bin/g++", "g++ (Debian 12.2.0-14+deb12u1) 12.2.0"))
    assert (found.needed, found.ok, found.stops) == (f"GCC {oldest} or newer for toy 1.0", ok, True)
    if oldest == "13":
        assert found.error.cause == "The host compiler is g++ 12.2.0 (/usr/bin/g++); toy 1.0 needs 13 or newer."
        assert "--host-compiler g++-13" in found.error.remedy


def test_where_nobody_says_how_old_gcc_may_be_nothing_is_said(plan):
    assert gcc_check(plan, HostCompiler("/usr/bin/g++", "g++ 4.8")) is None


NVCC = """\
#!/bin/sh
# Stands for nvcc: takes g++ 13 only, and chooses it by itself if $CHOOSES says so.
echo run >> "$(dirname "$0")/runs"
cxx=${NVCC_PREPEND_FLAGS##*-ccbin }
cxx=${cxx:-@default@}
case $cxx in
    *13) ;;
    *) echo "143:2: error: #error -- unsupported GNU version! gcc versions later than 13 are not supported!"
       exit 1 ;;
esac
while [ $# -gt 1 ]; do [ "$1" = -o ] && printf 'GCC: (Debian 13.3.0-1) 13.3.0\\0' > "$2"; shift; done
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A toolkit whose nvcc takes g++-13 only, on a machine whose g++ is 14; how often nvcc ran."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, version in (("g++", "14.2.0"), ("g++-13", "13.3.0")):
        (folder / name).write_text(f"#!/bin/sh\necho 'g++ (Debian {version}-1) {version}'\n")
        (folder / name).chmod(0o755)
    for module in ("compile.versions", "toolchain.host", "toolchain.trial"):
        monkeypatch.setattr(f"wheelsmith.{module}.BUILD_PATH", f"{folder}:/usr/bin:/bin")
    for name in ("CUDAHOSTCXX", "NVCC_CCBIN"):
        monkeypatch.delenv(name, raising=False)

    def make(default: str) -> tuple[CudaToolkit, Path]:
        root = tmp_path / "cuda"
        (root / "bin").mkdir(parents=True)
        (root / "bin/nvcc").write_text(NVCC.replace("@default@", default))
        (root / "bin/nvcc").chmod(0o755)
        return CudaToolkit(root, "12.4", "12.4.131", "test"), root / "bin/runs"

    return make


def test_an_nvcc_that_prefers_another_compiler_is_believed(plan, machine, tmp_path):
    toolkit, runs = machine("/usr/bin/g++-13")
    compiler = find_host_compiler(None, {})
    found = host_compiler_check(plan, compiler, toolkit, tmp_path)
    assert (found.ok, found.found.partition(" (")[0]) == (True, "13.3.0, which nvcc prefers to 14.2.0")
    assert host_compiler_check(plan, compiler, toolkit, tmp_path).found.endswith("(tried before)")
    assert runs.read_text() == "run\n"
    tried, _ = try_host_compiler(plan, compiler, toolkit, tmp_path)
    assert tried.facts == "g++ (Debian 14.2.0-1) 14.2.0; nvcc takes 13.3.0"


def test_what_does_not_work_names_glibc_and_toolkit_and_what_was_tried(plan, machine, tmp_path):
    toolkit, runs = machine("g++")
    error = host_compiler_check(plan, find_host_compiler(None, {}), toolkit, tmp_path).error
    assert error.cause.startswith(f"nvcc of CUDA 12.4.131 in {toolkit.root} with {tmp_path}/bin/g++ (14.2.0) on glibc ")
    assert error.cause.endswith("does not compile a one-line program: the host compiler is newer than nvcc supports.")
    assert error.remedy == f"Choose --host-compiler {tmp_path}/bin/g++-13, which was tried here and works."
    assert "unsupported GNU version" in error.detail
    assert not list(tmp_path.glob("trials/*"))  # what fails is tried again
    assert runs.read_text() == "run\n" * 2


@pytest.mark.parametrize("how", ["--host-compiler", "CUDAHOSTCXX", "NVCC_CCBIN"])
def test_a_named_compiler_is_tried_and_given_to_the_build(plan, machine, tmp_path, how):
    toolkit, _ = machine("g++")
    choice, environment = ("g++-13", {}) if how.startswith("--") else (None, {how: "g++-13"})
    tried, _ = try_host_compiler(plan, find_host_compiler(choice, environment), toolkit, tmp_path)
    assert tried.asked == how
    path = f"{tmp_path}/bin/g++-13"
    assert tried.variables({"NVCC_PREPEND_FLAGS": "-v"}) == {
        "CUDAHOSTCXX": path,
        "NVCC_PREPEND_FLAGS": f"-v -ccbin {path}",
    }
    with pytest.raises(NoCompilerError, match=f"The host compiler g\\+\\+-99, which {how} names, is not in"):
        find_host_compiler("g++-99" if choice else None, dict.fromkeys(environment, "g++-99"))


def test_a_directory_with_a_compiler_is_taken_as_nvcc_takes_it(machine, tmp_path):
    machine("g++")
    found = find_host_compiler(None, {"NVCC_CCBIN": f"{tmp_path}/bin"})
    assert (found.path, found.number) == (f"{tmp_path}/bin/g++", "14.2.0")


def test_headers_that_contradict_glibc_are_told_as_that():
    words = (
        'mathcalls.h(79): error: exception\n  specification is incompatible with that of previous function "cospi"\n'
    )
    assert diagnose(words).id == "glibc-newer-than-toolkit"


def test_the_table_of_compilers_covers_every_toolkit():
    from wheelsmith.gpu.facts import known_toolkits

    assert [cuda for cuda in known_toolkits() if supported_gcc(cuda) is None] == []
    assert supported_gcc("12.8") == (6, 14)


def test_too_little_disk_stops_with_both_numbers(plan, tmp_path):
    large = dataclasses.replace(plan, expect=dataclasses.replace(plan.expect, disk_gb=1e9))
    found = check(large, tmp_path, "disk")
    assert (found.ok, found.stops, found.needed, found.error.exit_code) == (False, True, "1e+09 GB", 70)


def test_too_little_memory_warns(plan, tmp_path):
    large = dataclasses.replace(plan, expect=dataclasses.replace(plan.expect, memory_gb=1e6))
    found = check(large, tmp_path, "memory")
    assert (found.ok, found.stops) == (False, False)
    assert "may need 1e+06 GB" in found.error.cause


def test_a_limit_to_the_address_space_is_seen(plan, tmp_path, monkeypatch):
    real = resource.getrlimit
    tight = {resource.RLIMIT_AS: (100 << 20, 100 << 20), resource.RLIMIT_NOFILE: (64, 64)}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: tight.get(kind) or real(kind))
    assert check(plan, tmp_path, "memory of a process").error.cause.startswith("A process may map 0.1 GB here")
    assert check(plan, tmp_path, "open files").error.remedy == "`ulimit -n 1024`, as root."


@pytest.mark.parametrize(("line", "mount"), [("0::/a/b", ""), ("5:pids:/a/b", "pids")])
def test_a_containers_limit_to_processes_is_seen(tmp_path, line, mount):
    group = tmp_path / "sys/fs/cgroup" / mount / "a"
    (group / "b").mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(f"{line}\n")
    (group / "pids.max").write_text("50\n")
    (group / "pids.current").write_text("20\n")
    (group / "b/pids.max").write_text("max\n")
    found = processes(tmp_path)
    assert (found.found, found.ok, found.stops) == ("30 more", False, False)
    assert "--pids-limit" in found.error.remedy


def test_so_many_launchers_wait_as_the_limits_of_processes_and_files_allow(tmp_path, monkeypatch):
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    monkeypatch.setattr("resource.getrlimit", lambda which: {resource.RLIMIT_NOFILE: (1024, 4096)}.get(which, (-1, -1)))
    assert most_waiting(tmp_path) == 896
    (tmp_path / "sys/fs/cgroup/pids.max").write_text("1000\n")
    (tmp_path / "sys/fs/cgroup/pids.current").write_text("100\n")
    assert most_waiting(tmp_path) == (900 - 64 - 16 * len(os.sched_getaffinity(0))) // 2


def test_torch_for_another_cuda_stops(plan, tmp_path):
    target = dataclasses.replace(plan.target, torch="2.8.0")
    found = check(dataclasses.replace(plan, target=target), tmp_path, "torch")
    assert (found.ok, found.stops, found.found) == (False, True, "2.8.0, built with CUDA 12.8")


def test_an_old_cmake_of_the_machine_is_found_where_it_would_be_used(plan, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/cmake").write_text("#!/bin/sh\necho cmake version 3.25.1\n")
    (tmp_path / "bin/cmake").chmod(0o755)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))  # where the build's PATH begins with --env current
    monkeypatch.setenv("PATH", "/nowhere")  # the caller's own is not the build's
    names = {item.name for item in checks(plan, tmp_path)}
    assert "CMake" not in names  # the build environment is its own, and nobody calls CMake there
    current = dataclasses.replace(plan, target=dataclasses.replace(plan.target, environment="current"))
    found = check(current, tmp_path, "CMake")
    assert (found.ok, found.stops) == (False, False)
    assert found.error.cause == "CMake is version 3.25.1; CUDA 13.0 needs 4.0 or newer."


def test_every_lack_says_what_to_do(plan, tmp_path):
    for item in checks(plan, tmp_path):
        assert (item.error is not None) == (item.ok is False), item
        data = item.to_dict()
        assert list(data) == ["name", "found", "needed", "ok", "stops", "cause", "remedy"]
