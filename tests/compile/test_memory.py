import os
import subprocess
import sys
from pathlib import Path

import pytest

from wheelsmith.compile.memory import (
    available_memory,
    oom_kills,
    parse_size,
    process_tree,
    tree_usage,
    usable_cpus,
)
from wheelsmith.errors import UsageError

GB = 10**9


@pytest.mark.parametrize(
    ("text", "size"),
    [("12GB", 12 * GB), ("11.5GiB", 12_348_030_976), ("800m", 800_000_000), ("4096000", 4_096_000), ("2 G", 2 * GB)],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "12XB", "-1GB", "0GB", "1e9"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UsageError):
        parse_size(text)


def machine(root, cgroup, files):
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text("MemTotal: 99 kB\nMemAvailable:  1000 kB\n")
    (root / "proc/self/cgroup").write_text(cgroup)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_without_limits_it_is_what_the_kernel_calls_available(tmp_path):
    assert available_memory(machine(tmp_path, "0::/\n", {"memory.max": "max\n"})) == 1000 * 1024


def test_the_tightest_cgroup_v2_limit_counts_also_of_a_parent(tmp_path):
    files = {
        "a/memory.max": "300000\n",
        "a/memory.current": "100000\n",
        "a/b/memory.max": "max\n",
        "a/b/memory.current": "100000\n",
    }
    assert available_memory(machine(tmp_path, "0::/a/b\n", files)) == 200_000


def test_cgroup_v1(tmp_path):
    files = {"memory/j/memory.limit_in_bytes": "500000\n", "memory/j/memory.usage_in_bytes": "400000\n"}
    assert available_memory(machine(tmp_path, "4:cpu,memory:/j\n0::/\n", files)) == 100_000


def test_a_container_that_sees_its_own_part_of_the_cgroups_knows_those_below(tmp_path):
    """docker and podman on cgroup v1, without a cgroup namespace; lines as they stand in such a container."""
    files = {"memory/job/memory.limit_in_bytes": "500000\n", "memory/job/memory.usage_in_bytes": "400000\n"}
    root = machine(tmp_path, "4:memory:/libpod_parent/libpod-36/job\n", files)
    (root / "proc/self/mountinfo").write_text(
        "59 43 0:5 / /sys/fs/cgroup rw - tmpfs cgroup rw\n"
        "64 59 0:32 /libpod_parent/libpod-36 /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory\n"
    )
    assert available_memory(root) == 100_000


def test_the_page_cache_that_the_kernel_would_drop_counts_as_free(tmp_path):
    files = {
        "memory/memory.limit_in_bytes": "900000\n",
        "memory/memory.usage_in_bytes": "800000\n",
        "memory/memory.stat": "inactive_file 1\ntotal_inactive_file 300000\ntotal_active_file 200000\n",
    }
    assert available_memory(machine(tmp_path, "4:memory:/\n", files)) == 100_000 + 300_000 + 100_000


@pytest.mark.parametrize(
    ("line", "prefix", "name"), [("4:memory:/a\n", "memory/", "memory.oom_control"), ("0::/a\n", "", "memory.events")]
)
def test_a_kill_for_memory_counts_once_though_the_cgroups_above_count_it_too(tmp_path, line, prefix, name):
    root = machine(tmp_path, line, {f"{prefix}{name}": "low 0\noom_kill 3\n", f"{prefix}a/{name}": "oom_kill 1\n"})
    assert oom_kills(root) == 1


def test_kills_for_memory_are_those_of_the_machine_where_no_cgroup_counts(tmp_path):
    root = machine(tmp_path, "4:memory:/a\n", {"memory/a/memory.oom_control": "oom_kill 1\n"})
    (root / "proc/vmstat").write_text("pgfault 7\noom_kill 9\n")
    (root / "proc/self/cgroup").write_text("0::/\n")
    assert oom_kills(root) == 9


def test_a_cpu_quota_limits_the_processors(tmp_path):
    assert usable_cpus(machine(tmp_path, "0::/\n", {"cpu.max": "max 100000\n"})) == len(os.sched_getaffinity(0))
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text("50000 100000\n")
    assert usable_cpus(tmp_path) == 1


def test_a_process_is_measured_with_its_children():
    code = "import subprocess, sys; b = bytearray(30_000_000); print(flush=True); sys.stdin.read()"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"
    process = subprocess.Popen([sys.executable, "-c", outer], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    assert len(process_tree(process.pid)) == 2
    assert 30_000_000 < tree_usage(process.pid).memory < 100_000_000
    process.communicate()
    assert tree_usage(process.pid).memory == 0


def test_without_the_list_of_children_parents_are_asked(tmp_path):
    for pid, parent in ((1, 0), (7, 1), (8, 7), (9, 1)):
        directory = tmp_path / "proc" / str(pid)
        directory.mkdir(parents=True)
        (directory / "stat").write_text(f"{pid} (a ) b) S {parent} 1 1")
    assert process_tree(7, tmp_path) == [7, 8]


def test_a_process_that_ends_while_its_children_are_listed_counts_as_gone(monkeypatch):
    """Linux answers ESRCH then, to open(2) and to stat(2)."""
    real = Path.read_text

    def read(path, *more, **options):
        if path.name == "children":
            raise ProcessLookupError(3, "No such process", str(path))
        return real(path, *more, **options)

    monkeypatch.setattr(Path, "read_text", read)
    assert process_tree(os.getpid()) == [os.getpid()]
