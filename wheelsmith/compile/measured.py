"""What the scheduler hears: the state of the machine, and how a compiler ended.

In: nothing. Out: values. Nothing can fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wheelsmith.compile.memory import Usage


@dataclass(frozen=True, slots=True)
class Reading:
    """What the machine says: the time in seconds, bytes free, what each wrapper's process tree uses, and how often the
    kernel has killed for memory by then."""

    now: float
    free: int
    usage: Mapping[int, Usage] = field(default_factory=dict)
    oom_kills: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one run of a compiler ended, as its wrapper saw it.

    Wait status, CPU-seconds, peak RSS of its biggest process in bytes, what the cache did (`hit`, `part`: some of the
    device code, `miss`, or nothing), the end of stderr, how often the kernel has killed for memory by then, and why a
    cache was not used, if there was one.
    """

    status: int
    cpu_seconds: float
    peak: int
    cache: str = ""
    errors: str = ""
    oom_kills: int = 0
    uncached: str = ""
