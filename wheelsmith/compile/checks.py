"""What one look at the machine says.

In: nothing. Out: `Check`. Nothing can fail.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wheelsmith.errors import WheelsmithError

if TYPE_CHECKING:
    from wheelsmith.documents.machines import CheckFacts


@dataclass(frozen=True, slots=True)
class Check:
    """One line of `wheelsmith doctor`.

    Attributes:
        name: of the thing.
        found: what the machine has, with a number.
        needed: what the build needs, with a number; empty: nothing.
        ok: whether that is enough; None where it is only information.
        error: what is wrong and what to do about it, if it is not enough.
        stops: whether a build must not begin then. If not, it may still go well, and the check is a warning.
    """

    name: str
    found: str
    needed: str = ""
    ok: bool | None = None
    error: WheelsmithError | None = field(default=None, compare=False)
    stops: bool = False

    def to_dict(self) -> CheckFacts:
        """JSON-ready form."""
        return {
            "name": self.name,
            "found": self.found,
            "needed": self.needed,
            "ok": self.ok,
            "stops": self.stops,
            "cause": self.error.cause if self.error else "",
            "remedy": self.error.remedy if self.error else "",
        }
