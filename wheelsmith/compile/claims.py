"""Which units a build compiles now, where many machines make one wheel: asked while its compilers wait.

In: the output of a unit. Out: compile it here, leave it to others, or wait. Answers are at hand: whoever gives them
asks others in a thread of its own. Cannot fail.
"""

from __future__ import annotations

from typing import Protocol


class Claims(Protocol):
    """Asked by the jobserver for every unit that waits, again and again."""

    def verdict(self, output: str) -> bool | None:
        """True: compile it; False: somebody else does, an empty object will do; None: not known yet."""

    def done(self, output: str) -> None:
        """It was compiled, and is in the cache."""
