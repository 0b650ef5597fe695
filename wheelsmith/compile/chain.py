"""What may stand between the wrapper and the compiler: a compile cache.

In: nothing. Out: the protocol that such a thing meets (`wheelsmith.toolchain.ccache.cache` provides one), and how it is
opened.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

#: The variables by which ccache, and the device code's own cache below it, are told where to write what they did.
LOG_VARIABLES = ("CCACHE_STATSLOG", "WHEELSMITH_DEVICE_LOG")
#: The variable that names a program for ccache to put before the compiler when it compiles (not part of its key).
BELOW = "CCACHE_PREFIX"
#: How the names of ccache's variables begin.
PREFIX = "CCACHE_"


class Chain(Protocol):
    """A command that takes a compiler's command line as its arguments, and runs it or does better."""

    @property
    def prefix(self) -> tuple[str, ...]:
        """The command, as the build sees it."""

    @property
    def environment(self) -> tuple[tuple[str, str], ...]:
        """Variables that it needs. Only it sees them, and what it starts.

        With the `LOG_VARIABLES` among them each unit is known as a hit or a miss, in the timeline and the progress.
        """

    @property
    def binds(self) -> tuple[tuple[Path, str], ...]:
        """Files, and the paths below the room's root over which they are mounted (where mounting is possible)."""

    @property
    def paths(self) -> tuple[tuple[Path, bool], ...]:
        """What else of the machine it needs, at its own path, and whether it writes there."""


#: Makes a chain ready for one build: called with the room's root as it is here and as the build sees it.
OpenChain = Callable[[Path, str], AbstractContextManager[Chain | None]]
