"""How much memory there really is, who uses it, and how many processors may be used.

In: /proc and the cgroup files. Out: bytes and counts. It cannot fail: what a machine does not tell is left out.

Sources: kernel documentation, Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst, scheduler/sched-bwc.rst,
filesystems/proc.rst.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wheelsmith.errors import UsageError

GB = 10**9
_LEAST = 10**6  # below, a number of bytes is one whose unit was forgotten
_PAGE, _TICKS = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
_V1, _V2 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"), ("memory.max", "memory.current", "")
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": GB, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


def parse_size(text: str) -> int:
    """Bytes of `12GB`, `12G`, `11.5GiB` or `12000000000`.

    Raises:
        UsageError: it is no size.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?", text.strip(), re.IGNORECASE)
    unit = match and _UNITS.get(match[2].upper())
    if match is None or unit is None or float(match[1]) == 0:
        raise UsageError(f"{text!r} is no amount of memory.", "Give a number with a unit: 12GB, 11.5GiB, 800MB.")
    size = int(float(match[1]) * unit)
    if size < _LEAST:
        raise UsageError(f"{text!r} is too little memory for a compiler.", f"Did you mean {match[1]}GB?")
    return size


def available_memory(root: Path = Path("/")) -> int:
    """Bytes that can be used now: the tightest of MemAvailable and the cgroup limits (v1 and v2) of this process."""
    return min(_free(root))


def oom_kills(root: Path = Path("/")) -> int:
    """How often the kernel killed a process for want of memory: in this process's cgroup, else on the machine.

    A kill counts in the cgroup of who is killed, whichever limit was hit; in version 2 in all above it, too.
    """
    files = [group / ("memory.oom_control" if first else "memory.events") for group, first in cgroups("memory", root)]
    for file in (*files, root / "proc/vmstat"):
        if found := re.search(r"^oom_kill (\d+)", _read(file), re.MULTILINE):
            return int(found[1])
    return 0


def usable_cpus(root: Path = Path("/")) -> int:
    """Processors that this process may use: its affinity, and the CPU quota of its cgroups, rounded up."""
    found = [len(os.sched_getaffinity(0))]
    for group, first in cgroups("cpu", root):
        if first:
            quota, period = _read(group / "cpu.cfs_quota_us").strip(), _read(group / "cpu.cfs_period_us").strip()
        else:
            quota, _, period = _read(group / "cpu.max").strip().partition(" ")
        if quota.isdigit() and period.isdigit():
            found.append(-(-int(quota) // int(period)))
    return max(1, min(found))


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process and all its descendants use: bytes of anonymous memory, CPU-seconds (also of those that have
    ended), and how many of them work: those that have no children and so wait for nobody.

    Pages of files are left out: compilers share those of their programs, and the kernel can drop them.
    """

    memory: int = 0
    seconds: float = 0.0
    workers: int = 0


def tree_usage(top: int, root: Path = Path("/")) -> Usage:
    """What `top` uses together with its descendants; nothing, if it is gone."""
    memory, ticks, parents = 0, 0, set()
    processes = process_tree(top, root)
    for process in processes:
        memory += _anonymous(root, process)
        if fields := _read(root / "proc" / str(process) / "stat").rpartition(")")[2].split():
            parents.add(int(fields[1]))
            ticks += sum(map(int, fields[11:15]))  # utime, stime, and of children waited for cutime, cstime: proc(5)
    return Usage(memory, ticks / _TICKS, sum(process not in parents for process in processes))


def process_tree(top: int, root: Path = Path("/")) -> list[int]:
    """A process and its descendants, parents first."""
    found, parents = [top], None
    for process in found:  # it grows
        listing = root / "proc" / str(process) / "task" / str(process) / "children"
        try:
            found += [int(word) for word in listing.read_text().split()]
        except FileNotFoundError:  # it is gone, or there is no CONFIG_PROC_CHILDREN
            if (root / "proc" / str(process)).is_dir():
                parents = _children(root) if parents is None else parents
                found += parents.get(process, [])
        except OSError:  # it ended just now: ESRCH, which Path.exists() does not take for "no"
            continue
    return found


def _anonymous(root: Path, process: int) -> int:
    fields = _read(root / "proc" / str(process) / "statm").split()
    return (int(fields[1]) - int(fields[2])) * _PAGE if len(fields) > 2 else 0


def _children(root: Path) -> dict[int, list[int]]:
    found = defaultdict(list)
    for stat in (root / "proc").glob("[0-9]*/stat"):
        # pid (name, which may hold anything) state ppid …
        if fields := _read(stat).rpartition(")")[2].split():
            found[int(fields[1])].append(int(stat.parent.name))
    return found


def _free(root: Path) -> Iterator[int]:
    for line in (root / "proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024
    for group, first in cgroups("memory", root):
        limit_name, usage_name, prefix = _V1 if first else _V2
        limit, usage = _read(group / limit_name).strip(), _read(group / usage_name).strip()
        if limit.isdigit() and usage.isdigit() and int(limit) < 1 << 60:
            yield min(int(limit), max(0, int(limit) - int(usage) + _droppable(group, prefix)))


def _droppable(group: Path, prefix: str) -> int:
    """Bytes of a cgroup's page cache that the kernel takes back when they are needed: not used lately, and half the
    rest, as in the kernel's own MemAvailable."""
    stat = dict(line.split() for line in _read(group / "memory.stat").splitlines() if line.count(" ") == 1)
    return int(stat.get(f"{prefix}inactive_file", 0)) + int(stat.get(f"{prefix}active_file", 0)) // 2


def cgroups(controller: str, root: Path = Path("/")) -> Iterator[tuple[Path, bool]]:
    """Every cgroup that may limit this process, its own first, and whether it is one of version 1.

    /proc/self/cgroup counts from the top of the hierarchy. A container may see its own part of it only, mounted as if
    it were the top; of what lies above nothing is known there.
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / (controller if controllers else "")
        directory = mount / _below(_mounted(mount, root), path)
        for group in (directory, *directory.parents):
            if not group.is_relative_to(mount):
                break
            yield group, bool(controllers)


def _mounted(mount: Path, root: Path) -> str:
    """Which cgroup is mounted there: the fourth field of mountinfo, proc(5)."""
    place, found = "/" + os.path.relpath(os.path.realpath(mount), os.path.realpath(root)), "/"
    for line in _read(root / "proc/self/mountinfo").splitlines():
        _, _, _, part, point, *_ = line.split()
        found = part if point == place else found  # the last one lies on top
    return found


def _below(top: str, path: str) -> str:
    top = top.rstrip("/")
    return (path[len(top) :] if f"{path}/".startswith(f"{top}/") else path).lstrip("/")


def _read(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text()
    return ""
