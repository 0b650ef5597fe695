"""What a farm did, as JSON.

In: nothing. Out: shapes (see `wheelsmith.documents.table`). Nothing can fail.
"""

from __future__ import annotations

from typing import TypedDict

from wheelsmith.documents.machines import ErrorFacts
from wheelsmith.documents.matrices import CellState


class WorkerFacts(TypedDict):
    """A worker, and what it has done."""

    name: str
    tasks: int
    cpu_seconds: float
    """Of compilers that it ran for parts of wheels."""


class FarmCellFacts(TypedDict):
    """One cell: its wheel, and how it was made."""

    id: str
    requirement: str
    state: CellState
    wheel: str | None
    sha256: str | None
    size: int | None
    seconds: float
    """From the first task of the cell to its end."""
    units: int
    """Units that its build was found to have; 0: it was not split."""
    parts: int
    lost_parts: int
    """Parts whose workers were lost too often, or that failed: the machine that made the wheel compiled them."""
    workers: list[str]
    hits: int
    """Objects of the finished build that came from the cache."""
    misses: int
    error: ErrorFacts | None


class FarmDocument(TypedDict):
    """`wheelsmith farm build`."""

    schema_version: int
    matrix: str
    index: str
    scheduler: str
    dashboard: str | None
    counts: dict[str, int]
    seconds: float
    workers: list[WorkerFacts]
    cells: list[FarmCellFacts]


class PointFacts(TypedDict):
    """What is predicted for a number of workers: seconds of wall time, `speed_up` against one worker, `efficiency`
    (speed-up by worker), `bytes` moved through the cache, `cost` in the unit of the price."""

    workers: int
    seconds: float
    speed_up: float
    efficiency: float
    bytes: int
    cost: float


class SimulationDocument(TypedDict):
    """`wheelsmith farm simulate`."""

    schema_version: int
    units: int
    cpu_seconds: float
    longest: float
    points: list[PointFacts]
