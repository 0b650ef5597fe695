"""A cell of a matrix on a farm, and what became of it.

In: a planned cell; what a run says of it. Out: `FarmCell`, and the same as JSON. Nothing can fail.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wheelsmith.builder.matrix import PlannedCell
from wheelsmith.errors import WheelsmithError

if TYPE_CHECKING:
    from wheelsmith.documents.farms import FarmCellFacts
    from wheelsmith.documents.matrices import CellState
    from wheelsmith.farm.worker import Built


@dataclass(slots=True)
class FarmCell:
    """A cell, and what became of it."""

    planned: PlannedCell
    state: CellState = "not begun"
    error: WheelsmithError | None = None
    built: Built | None = None
    seconds: float = 0.0
    units: int = 0
    parts: int = 0
    lost: int = 0
    workers: set[str] = field(default_factory=set)

    def to_dict(self) -> FarmCellFacts:
        """JSON-ready form."""
        built, entry = self.built, self.planned.published
        return {
            "id": self.planned.id,
            "requirement": self.planned.cell.requirement,
            "state": self.state,
            "wheel": built.wheel if built else entry.filename if entry else None,
            "sha256": built.sha256 if built else entry.sha256 if entry else None,
            "size": built.size if built else entry.size if entry else None,
            "seconds": round(self.seconds, 3),
            "units": self.units,
            "parts": self.parts,
            "lost_parts": self.lost,
            "workers": sorted(self.workers),
            "hits": built.hits if built else 0,
            "misses": built.misses if built else 0,
            "error": self.error.to_dict() if self.error else None,
        }
