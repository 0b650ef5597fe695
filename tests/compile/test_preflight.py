"""What a machine must have: each lack has its numbers, its remedy, and says whether a build must not begin."""

from __future__ import annotations

import dataclasses
import os
import resource
import sys

import pytest

import wheelsmith
from wheelsmith.compile.limits import most_waiting, processes
from wheelsmith.compile.preflight import preflight
from wheelsmith.compile.versions import gcc_check, supported_gcc
from wheelsmith.toolchain.host import HostCompiler


@pytest.fixture
def plan(recipe_dir):
    return wheelsmith.plan("toy", recipes=[recipe_dir])


def check(plan, tmp_path, name):
    return {item.name: item for item in preflight(plan, tmp_path)}[name]


def with_gcc(monkeypatch, version):
    compiler = HostCompiler("/usr/bin/g++", version)
    monkeypatch.setattr("wheelsmith.compile.versions.find_host_compiler", lambda: compiler)


def test_gcc_that_nvcc_accepts(plan, monkeypatch):
    with_gcc(monkeypatch, "g++ (Debian 12.2.0-14+deb12u1) 12.2.0")
    found = gcc_check(plan)
    assert (found.found, found.needed, found.ok) == ("12.2.0", "6 to 15 for CUDA 13.0", True)


def test_gcc_that_is_too_new_stops_a_build(plan, monkeypatch):
    with_gcc(monkeypatch, "g++ (GCC) 16.1.1 20260501 (Red Hat 16.1.1-2)")

    found = gcc_check(plan)
    assert (found.ok, found.stops, found.error.exit_code) == (False, True, 30)
    assert found.error.cause == "g++ is version 16.1.1; nvcc of CUDA 13.0 accepts 6 to 15."
    assert "g++-15" in found.error.remedy


def test_gcc_that_is_too_new_only_warns_if_the_plan_allows_it(plan, monkeypatch):
    with_gcc(monkeypatch, "g++ (Ubuntu 16.1.0-1) 16.1.0")
    allowed = dataclasses.replace(plan, environment=(("NVCC_PREPEND_FLAGS", "-allow-unsupported-compiler"),))
    assert (gcc_check(allowed).ok, gcc_check(allowed).stops) == (False, False)


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
    names = {item.name for item in preflight(plan, tmp_path)}
    assert "CMake" not in names  # the build environment is its own, and nobody calls CMake there
    current = dataclasses.replace(plan, target=dataclasses.replace(plan.target, environment="current"))
    found = check(current, tmp_path, "CMake")
    assert (found.ok, found.stops) == (False, False)
    assert found.error.cause == "CMake is version 3.25.1; CUDA 13.0 needs 4.0 or newer."


def test_every_lack_says_what_to_do(plan, tmp_path):
    for item in preflight(plan, tmp_path):
        assert (item.error is not None) == (item.ok is False), item
        data = item.to_dict()
        assert list(data) == ["name", "found", "needed", "ok", "stops", "cause", "remedy"]
