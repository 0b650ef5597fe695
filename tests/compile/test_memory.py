import pytest

from wheelsmith.compile.memory import available_memory, fitting_jobs

GB = 10**9


@pytest.mark.parametrize(
    ("per_job", "available", "cpus", "jobs"),
    [(3 * GB, 24 * GB, 16, 8), (3 * GB, 24 * GB, 2, 2), (3 * GB, 1 * GB, 8, 1), (9.5 * GB, 24 * GB, 8, 2)],
)
def test_as_many_compilers_as_processors_and_memory_allow(per_job, available, cpus, jobs):
    assert fitting_jobs(int(per_job), available=available, cpus=cpus) == jobs


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
