"""Units that need a known amount of memory, and a memory cgroup to compile them in. For benchmarks and tests.

In: sizes. Out: C++ sources, and a cgroup (version 1, where this process may make one).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

V1 = Path("/sys/fs/cgroup/memory")


def table(name: str, megabytes: int) -> str:
    """A C++ file whose compilation takes about so many MB: g++ needs 155 bytes for each number of a table."""
    numbers = ",".join(str(number % 1000) for number in range(megabytes * 10**6 // 155))
    return f"extern const int {name}[]; const int {name}[] = {{{numbers}}};\n"


def why_no_cgroup() -> str:
    """Why no memory cgroup can be made here; empty if one can."""
    if os.geteuid() != 0 or not os.access(V1 / "cgroup.procs", os.W_OK):
        return "making a memory cgroup (version 1) needs root and a writable hierarchy"
    return ""


@contextmanager
def memory_cgroup(limit: int) -> Iterator[Path]:
    """A cgroup that may use `limit` bytes; write a process's number into its `cgroup.procs`."""
    own = next(
        line.split(":", 2)[2]
        for line in Path("/proc/self/cgroup").read_text().splitlines()
        if "memory" in line.split(":")[1].split(",")
    )
    place = V1 / own.lstrip("/")
    group = (place if place.is_dir() else V1) / f"wheelsmith-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(limit))
        yield group
    finally:
        group.rmdir()
