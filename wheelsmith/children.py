"""Programs that wheelsmith starts, and that end when it does.

In: a command line, as for `subprocess`. Out: what `subprocess` gives. Fails as it does. Who is killed can clean up
nothing, so the kernel does: a child that was started here gets SIGKILL when wheelsmith dies, by whatever signal
(prctl(2), PR_SET_PDEATHSIG). Whatever runs longer than a moment is started here: uv, git, auditwheel, compilers.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

_LIBC = ctypes.CDLL(None)
_PDEATHSIG, _DUMPABLE = 1, 4
_Command = Sequence[str | Path]


def start_child(command: _Command, *, limits: Mapping[int, int] | None = None, **options: Any) -> subprocess.Popen[Any]:
    """`subprocess.Popen`, for a child that does not outlive this process.

    The signal comes when the *thread* that started the child ends: a thread waits for its children. `limits` are what
    it and all that it starts may use (setrlimit(2)): a `resource.RLIMIT_…`, and how much.
    """
    # Between fork and exec only a few system calls are made, so threads do no harm.
    prepare = partial(_prepare, os.getpid(), tuple((limits or {}).items()))
    return subprocess.Popen(command, preexec_fn=prepare, **options)  # noqa: PLW1509


def run_child(command: _Command, *, text: str | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
    """`subprocess.run` for text, without a check of the status. `text` is what the child reads; default: nothing."""
    given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if text is None else {"stdin": subprocess.PIPE}
    streams: dict[str, int | IO[str]] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    timeout = options.pop("timeout", None)
    with start_child(command, text=True, errors="replace", **given, **(streams | options)) as process:
        try:
            output, errors = process.communicate(text, timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, output or "", errors or "")


def hide_from_children() -> None:
    """Make this process's environment, memory and descriptors unreadable in /proc, for whoever has not its rights.

    What is executed afterwards is readable again: prctl(2), PR_SET_DUMPABLE.
    """
    _LIBC.prctl(_DUMPABLE, ctypes.c_ulong(0), 0, 0, 0)


def _prepare(parent: int, limits: tuple[tuple[int, int], ...]) -> None:
    for number, most in limits:
        hard = resource.getrlimit(number)[1]
        limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(number, (limit, limit))
    _LIBC.prctl(_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)
