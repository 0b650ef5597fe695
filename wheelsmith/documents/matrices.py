"""What a matrix of builds is, and came to, as JSON.

In: nothing. Out: shapes (see `wheelsmith.documents.table`). Nothing can fail.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from wheelsmith.documents.machines import ErrorFacts

#: planned: nothing was tried yet; refused: it cannot be built, known before anything started; built: compiled now;
#: stored: the store had it, and it is in the index now; published: the index had it; failed: see its error;
#: interrupted: the next run continues it; not begun: another cell's end ended the run.
CellState = Literal["planned", "refused", "built", "stored", "published", "failed", "interrupted", "not begun"]


class CellFacts(TypedDict):
    """One cell: what was asked for (null: as the recipe has it), what was planned, and what became of it."""

    id: str
    """Unique in its matrix; made of the planned values."""
    requirement: str
    python: str | None
    cuda: str | None
    torch: str | None
    gpus: str | None
    options: dict[str, bool]
    archs: str | None
    """What is compiled for, as torch spells it; null: it could not be planned."""
    wheel_version: str | None
    plan_digest: str | None
    state: CellState
    wheel: str | None
    """Its file name."""
    sha256: str | None
    size: int | None
    seconds: float
    cached: str | None
    """What came from the compile cache: `12 of 14 objects`; null: nothing was compiled."""
    log: str | None
    error: ErrorFacts | None


class MatrixDocument(TypedDict):
    """`wheelsmith matrix` and `wheelsmith build --matrix`: the cells of a matrix, in its order."""

    schema_version: int
    matrix: str
    """The file."""
    index: str | None
    counts: dict[str, int]
    """How many cells are in each state; states of none are left out."""
    seconds: float
    cells: list[CellFacts]
