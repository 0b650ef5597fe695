"""How much memory there really is, and how many compilers fit into it.

In: /proc and the cgroup files. Out: bytes, and a number of jobs. It cannot fail: what a machine does not tell is left
out of the minimum.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

GB = 10**9


def available_memory(root: Path = Path("/")) -> int:
    """Bytes that can be used now: the tightest of MemAvailable and the cgroup limits (v1 and v2) of this process.

    Source: kernel documentation, Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
    """
    return min(_free(root))


def _free(root: Path) -> Iterator[int]:
    for line in (root / "proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            yield from _along(root / "sys/fs/cgroup", path, "memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            names = "memory.limit_in_bytes", "memory.usage_in_bytes"
            yield from _along(root / "sys/fs/cgroup/memory", path, *names)


def _along(mount: Path, path: str, limit_name: str, usage_name: str) -> Iterator[int]:
    """Every cgroup from this process's own up to the mount may set a limit; in a container the path may be hidden."""
    directory = mount / path.lstrip("/")
    for group in (directory, *directory.parents):
        if not group.is_relative_to(mount):
            break
        limit, usage = _read(group / limit_name).strip(), _read(group / usage_name).strip()
        if limit.isdigit() and usage.isdigit() and int(limit) < 1 << 60:
            yield max(0, int(limit) - int(usage))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def fitting_jobs(memory_per_job: int, *, available: int | None = None, cpus: int | None = None) -> int:
    """Compilers that may run at once: one per usable CPU, as many as fit into memory, at least one.

    Args:
        memory_per_job: bytes that one compiler process needs at its peak.
        available: bytes free; None: measured.
        cpus: usable processors; None: this process's affinity.
    """
    cpus = len(os.sched_getaffinity(0)) if cpus is None else cpus
    available = available_memory() if available is None else available
    return max(1, min(cpus, available // memory_per_job))
