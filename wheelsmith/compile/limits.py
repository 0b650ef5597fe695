"""The limits that the kernel and the shell set to processes, files and memory.

In: /proc, /sys and getrlimit(2); `root` is another directory in tests. Out: a `Check` each, warnings at most. Nothing
can fail: what a machine does not tell counts as no limit.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from wheelsmith.compile.checks import Check
from wheelsmith.compile.memory import GB, cgroups, usable_cpus
from wheelsmith.errors import WheelsmithError
from wheelsmith.planning.model import Plan

_FILES = 1024  # ninja keeps two pipes for each running command; Python's and CMake's own are few
_OWN_FILES = 128  # of ninja, of Python and of wheelsmith
_PER_CPU, _OWN = 16, 64  # processes: wrapper, driver, shell, preprocessor, compiler, for each nvcc thread; and ours


def processes(root: Path = Path("/")) -> Check:
    """Processes and threads that may be started: RLIMIT_NPROC, and pids.max of each cgroup (pids.txt, cgroup-v2)."""
    need, room = _OWN + _PER_CPU * usable_cpus(), _room(root)
    if room is None:
        return Check("processes", "no limit", str(need), True)
    error = None
    if room < need:
        error = WheelsmithError(
            f"Only {room:,} more processes may be started here; a build with all processors may have {need:,}.",
            "Raise `ulimit -u`, or the container's limit (--pids-limit).",
        )
    return Check("processes", f"{room:,} more", str(need), error is None, error)


def most_waiting(root: Path = Path("/")) -> int | None:
    """Launchers that may wait at once, beside a build at full work; None: as many as one likes. Each is two processes
    (itself and the shell that started it), and one open file of ninja's and of ours."""
    room, files = _room(root), resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    most = [] if room is None else [(room - _OWN - _PER_CPU * usable_cpus()) // 2]
    most += [] if files == resource.RLIM_INFINITY else [files - _OWN_FILES]
    return max(0, min(most)) if most else None


def _room(root: Path) -> int | None:
    soft = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    limits = [soft] if soft != resource.RLIM_INFINITY and os.geteuid() != 0 else []  # root is exempt: setrlimit(2)
    return min([*limits, *_free_pids(root)], default=None)


def _free_pids(root: Path) -> Iterator[int]:
    """Room in each cgroup that sets a limit."""
    for group, _ in cgroups("pids", root):
        limit, current = _read(group / "pids.max").strip(), _read(group / "pids.current").strip()
        if limit.isdigit() and current.isdigit():
            yield int(limit) - int(current)


def open_files() -> Check:
    """Files that one process may have open: RLIMIT_NOFILE."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    error = None
    if soft != resource.RLIM_INFINITY and soft < _FILES:
        error = WheelsmithError(
            f"A process may have {soft:,} files open here; a build may need {_FILES:,}.",
            f"`ulimit -n {_FILES}`{'' if hard == resource.RLIM_INFINITY or hard >= _FILES else ', as root'}.",
        )
    found = "no limit" if soft == resource.RLIM_INFINITY else f"{soft:,}"
    return Check("open files", found, str(_FILES), error is None, error)


def address_space(plan: Plan | None) -> Check:
    """Memory that one process may map: RLIMIT_AS (`ulimit -v`)."""
    soft = resource.getrlimit(resource.RLIMIT_AS)[0]
    found = "no limit" if soft == resource.RLIM_INFINITY else f"{soft / GB:.1f} GB"
    if plan is None:
        return Check("memory of a process", found)
    need, error = plan.expect.memory_gb, None
    if soft != resource.RLIM_INFINITY and soft < need * GB:
        error = WheelsmithError(
            f"A process may map {soft / GB:.1f} GB here (`ulimit -v`); a compiler of {plan.name} may need {need:g} GB.",
            "Raise it: `ulimit -v unlimited`.",
        )
    return Check("memory of a process", found, f"{need:g} GB", error is None, error)


def inotify(root: Path = Path("/")) -> Check:
    """What may be watched. Nothing in a build watches files, so this only informs (it is scarce in containers)."""
    numbers = [_read(root / f"proc/sys/fs/inotify/max_user_{name}").strip() for name in ("instances", "watches")]
    if not all(number.isdigit() for number in numbers):
        return Check("inotify", "not known")
    return Check("inotify", f"{int(numbers[0]):,} instances, {int(numbers[1]):,} watches (a build uses none)")


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
