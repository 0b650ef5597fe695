"""How a compiler dies for want of memory.

In: the wait status and the end of stderr. Out: whether it was memory, in words. It cannot fail.

The texts are those of GCC's and nvcc's drivers, of EDG's front end (cudafe++), of LLVM (cicc) and of the GNU linkers,
provoked with cgroups and `ulimit -v`.
"""

from __future__ import annotations

import os
import re
import signal

_KILLED = re.compile(
    r"Killed signal terminated program \w+|died due to signal 9|terminated with signal 9"
    r"|internal compiler error: Killed"
    r"|^(?:sh: line \d+: +\d+ )?Killed\b",
    re.MULTILINE,
)
_EXHAUSTED = re.compile(
    r"catastrophic error: out of memory|out of memory allocating \d+ bytes|virtual memory exhausted|std::bad_alloc"
    r"|LLVM ERROR: out of memory|memory exhausted|Memory allocation failure|[Cc]annot allocate memory",
)


def died_of_memory(status: int, errors: str) -> str:
    """The sign that a compiler died of memory; empty if it ended well or failed in another way.

    Args:
        status: as waitpid(2) gives it.
        errors: what it wrote to stderr last.
    """
    if status == 0:
        return ""
    if os.WIFSIGNALED(status):
        return "killed by SIGKILL" if os.WTERMSIG(status) == signal.SIGKILL else _text(errors)
    if os.WEXITSTATUS(status) == 128 + signal.SIGKILL:
        return "exit status 137: a part of it was killed by SIGKILL"
    return _text(errors)


def _text(errors: str) -> str:
    found = _KILLED.search(errors) or _EXHAUSTED.search(errors)
    return found[0].strip() if found else ""
