"""Which compilers die for want of memory: decided here, for the scheduler and for what a failed build tells.

In: how a compiler ended, the end of its stderr, and what the kernel counts. Out: the sign that it was memory, in words;
and a log's explanation, corrected by what is known of the compilers. Fails only with `UsageError`, if the user's own
signatures are wrong.

The status comes first: SIGKILL, or what a shell, nvcc or Python make of it. Then the kernel's count: it rose while the
compiler ran, no other death accounts for that, and the compiler tells no error of its own. The text only helps: a
driver whose part was killed ends with an ordinary status, a compiler whose memory is limited (`ulimit -v`) says so
itself, and who names an error has not died. Only lines in which a program speaks of itself are read, from their first
character on; what it echoes (source, `#error`, warnings, file names) is never such a line. The texts are those of GCC's
and nvcc's drivers, of EDG's front end (cudafe++), of LLVM (cicc) and of the GNU linkers, provoked with cgroups and
`ulimit -v`.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from wheelsmith.compile.memory import GB

if TYPE_CHECKING:
    from wheelsmith.compile.timeline import Attempt
    from wheelsmith.diagnostics.diagnose import Explanation

#: Exit statuses of who runs something that SIGKILL ends: of shells and nvcc (CUDA 13.0 runs its parts through one), and
#: of a Python program that hands a child's return code of -9 on.
_OF_A_KILL = {128 + signal.SIGKILL, 256 - signal.SIGKILL}
_ID = "out-of-memory"  # the signature
_SAYS_MEMORY = re.compile(r"memory|bad_alloc", re.IGNORECASE)

_PROGRAM = r"(?:[\w./+-]*/)?[\w.+-]+"  # as a program names itself: without a line number, which a source has
_SAYS = re.compile(
    rf"^(?:{_PROGRAM}: (?:fatal error: |internal compiler error: |error: )?"
    r"(?:Killed signal terminated program \w+|Killed \(program \w+\)|\w+ terminated with signal 9\b"
    r"|out of memory allocating \d+ bytes|virtual memory exhausted|memory exhausted"
    r"|(?:\S+: )?(?:final link failed: )?[Mm]emory (?:exhausted|allocation failure)|.{0,80}[Cc]annot allocate memory)"
    r"|nvcc error +: '[\w+./-]+' died due to signal 9\b"
    r"|(?:\S+: line \d+: +\d+ )?Killed\b(?![:(])"
    rf"|(?:{_PROGRAM}(?:\(\d+\))?: )?catastrophic error: out of memory"
    r"|LLVM ERROR: out of memory"
    r"|virtual memory exhausted"
    r"|terminate called after throwing an instance of 'std::bad_alloc')",
    re.MULTILINE,
)

#: An error that a compiler, a driver or a linker names: at a place in a source, or as its own.
_NAMES_AN_ERROR = re.compile(
    rf"^(?:\S[^:(\n]*(?:\(\d+\)|:\d+(?::\d+)?)\s*: (?:fatal |catastrophic )?error\b"
    rf"|{_PROGRAM}\s*: (?:fatal )?error\s*:|(?:fatal )?error\s*:|nvcc (?:fatal|error)\s*:|ptxas (?:fatal|error)\b"
    r"|\d+ errors? detected in the compilation|.{1,300}: undefined reference to )",
    re.MULTILINE,
)


class Deaths:
    """Tells which of the compilers that share a cgroup died of memory.

    Args:
        kills: how often the kernel had killed for memory before (see `memory.oom_kills`).
    """

    def __init__(self, kills: int = 0) -> None:
        self._told_of = kills  # each death accounts for one more

    def sign(self, status: int, errors: str, *, begun: int = 0, ended: int = 0) -> str:
        """The sign that a compiler died of memory; empty if it ended well or failed in another way.

        Args:
            status: as waitpid(2) gives it.
            errors: what it wrote to stderr last.
            begun: how often the kernel had killed for memory when it began.
            ended: the same when it ended.
        """
        if status == 0:
            return ""
        moved = ended - max(begun, self._told_of) > 0
        found = _killed(status)
        if found:
            found += ", and the kernel counts a kill for memory" if moved else ""
        elif text := _SAYS.search(errors):
            found = text[0].strip()
        elif moved and not _NAMES_AN_ERROR.search(errors):
            found = "no error told, and the kernel counts a kill for memory"
        if found and moved:
            self._told_of = max(self._told_of, begun) + 1
        return found


def _killed(status: int) -> str:
    if os.WIFSIGNALED(status):
        return "killed by SIGKILL" if os.WTERMSIG(status) == signal.SIGKILL else ""
    code = os.WEXITSTATUS(status)
    return f"exit status {code}: a part of it was killed by SIGKILL" if code in _OF_A_KILL else ""


def with_deaths(found: Explanation, deaths: Sequence[Attempt], counted: int) -> Explanation:
    """What a failed build's log says, and what is known of its compilers.

    Args:
        found: by the log alone.
        deaths: the compilers that died of memory and did not end well later.
        counted: kills for memory that the kernel counted meanwhile.
    """
    if deaths and (found.id == _ID or found.outcome != "known"):
        from wheelsmith.diagnostics.signature import signatures

        row = next(row for row in signatures() if row.id == _ID)
        dead = deaths[0]
        cause = f"{dead.name} died of memory at {dead.peak / GB:.2f} GB ({dead.death})"
        unit = found.unit or dead.name
        return replace(
            found,
            outcome="known",
            id=row.id,
            phase=row.phase,
            cause=cause,
            remedy=row.remedy,
            links=row.links,
            unit=unit,
        )
    if found.id == _ID and not counted and not _SAYS_MEMORY.search(found.message):
        cause = "something that it ran was killed; that it was for memory, neither the kernel nor a compiler says"
        remedy = "Find out who sent the signal; if nobody did, run again with fewer jobs (--jobs 1)"
        return replace(found, cause=cause, remedy=remedy, links=())
    return found
