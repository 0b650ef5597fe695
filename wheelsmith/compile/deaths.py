"""How a compiler dies for want of memory.

In: the wait status and the end of stderr. Out: whether it was memory, in words. It cannot fail.

The status decides: SIGKILL, or 137 where a shell stands between. A driver whose part was killed ends with an ordinary
status, and a compiler whose memory is limited says so itself: only then the text is read, and only lines in which a
program speaks of itself, from their first character on. What it echoes (source, `#error`, warnings, file names) is
never such a line. The texts are those of GCC's and nvcc's drivers, of EDG's front end (cudafe++), of LLVM (cicc) and of
the GNU linkers, provoked with cgroups and `ulimit -v`.
"""

from __future__ import annotations

import os
import re
import signal

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
    found = _SAYS.search(errors)
    return found[0].strip() if found else ""
