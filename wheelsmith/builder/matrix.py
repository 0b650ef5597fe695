"""The cells of a matrix: planned, looked for in the index, refused, and built one after another.

In: cells, and what plans and builds one. Out: `PlannedCell`s and `CellResult`s in the matrix's order. A cell that fails
fails alone: its error is in its result, and the others go on. What ends them all is an interrupt, or a machine that can
keep nothing (`DiskFullError`, `StoreError`); the cells after it are "not begun". Cells share the store, and with it
toolkits, sources and the compile cache; a cell whose wheel the index has is not built again, wherever it was built.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from wheelsmith.builder.destination import find_published
from wheelsmith.compile.preflight import preflight
from wheelsmith.errors import (
    DiskFullError,
    IndexConflictError,
    InterruptedBuildError,
    StoreError,
    TargetError,
    WheelsmithError,
)
from wheelsmith.events import CellDone, CellStarted, Listener
from wheelsmith.index.entry import Entry
from wheelsmith.planning.matrix import Cell
from wheelsmith.planning.model import Plan

if TYPE_CHECKING:
    from wheelsmith.builder.model import BuildResult
    from wheelsmith.documents.matrices import CellFacts, CellState

_ENDS_ALL = (InterruptedBuildError, DiskFullError, StoreError)


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """A cell and its plan; `error` says why it cannot be built, `published` is what the index has of it."""

    id: str
    cell: Cell
    plan: Plan | None = None
    error: WheelsmithError | None = None
    published: Entry | None = None

    @property
    def family(self) -> tuple[object, ...]:
        """What the cells have in common that differ in Python only: a wheel for the stable ABI serves many of them."""
        plan = self.plan
        if plan is None:
            return (self.id,)
        target = plan.target
        return plan.name, plan.wheel_version, target.archs, target.cuda, target.torch, plan.options, target.platform


@dataclass(frozen=True, slots=True)
class CellResult:
    """What became of a cell."""

    planned: PlannedCell
    state: CellState
    error: WheelsmithError | None = None
    result: BuildResult | None = None
    seconds: float = 0.0

    def to_dict(self) -> CellFacts:
        """JSON-ready form."""
        cell, plan, made, error = self.planned.cell, self.planned.plan, self.result, self.error
        entry = self.planned.published
        log = made.log if made else error.log if error else None
        filename = made.record["wheel"]["filename"] if made else entry.filename if entry else None
        return {
            "id": self.planned.id,
            "requirement": cell.requirement,
            "python": plan.target.python if plan else cell.python,
            "cuda": plan.target.cuda if plan else cell.cuda,
            "torch": plan.target.torch if plan else cell.torch,
            "gpus": cell.gpus,
            "options": dict(plan.options if plan else cell.options),
            "archs": plan.target.archs.torch if plan else None,
            "wheel_version": plan.wheel_version if plan else None,
            "plan_digest": plan.digest if plan else None,
            "state": self.state,
            "wheel": filename,
            "sha256": made.record["wheel"]["sha256"] if made else entry.sha256 if entry else None,
            "size": made.record["wheel"]["size"] if made else entry.size if entry else None,
            "seconds": round(self.seconds, 3),
            "cached": _cached(made) if made and not made.reused else None,
            "log": str(log) if log else None,
            "error": None if error is None else error.to_dict(),
        }


def plan_cells(cells: Iterable[Cell], make: Callable[[Cell], Plan]) -> tuple[PlannedCell, ...]:
    """Plan every cell. Two that come to one plan are one; of two whose wheels would have one name the second is
    refused."""
    planned: list[PlannedCell] = []
    digests: set[str] = set()
    names: dict[tuple[str, ...], str] = {}
    ids: dict[str, int] = {}
    for cell in cells:
        try:
            plan = make(cell)
        except WheelsmithError as error:
            planned.append(PlannedCell(_unique(_identity(cell, None), ids), cell, None, error))
            continue
        if plan.digest in digests:
            continue
        digests.add(plan.digest)
        identity = _unique(_identity(cell, plan), ids)
        name = (plan.name, plan.wheel_version, plan.target.python, plan.target.platform)
        first = names.setdefault(name, identity)
        same = None if first == identity else _same_name(plan, first)
        planned.append(PlannedCell(identity, cell, plan, same))
    return tuple(planned)


def look_up(planned: Sequence[PlannedCell], index: str | Path) -> tuple[PlannedCell, ...]:
    """The same cells, with what the index has of them; of another plan's wheel that is in the way: refused."""
    return tuple(_looked_up(one, planned, index) for one in planned)


def refuse_here(
    planned: Sequence[PlannedCell], store: Path, toolkit: str, host_compiler: str | None
) -> tuple[PlannedCell, ...]:
    """The same cells; those that this machine cannot build are refused."""
    found: dict[tuple[str | None, ...], WheelsmithError | None] = {}

    def looked_at(one: PlannedCell) -> PlannedCell:
        if one.plan is None or one.error is not None or one.published is not None:
            return one
        target = one.plan.target
        key = (one.plan.name, one.plan.version, target.cuda, target.python, target.torch)
        if key not in found:
            checks = preflight(one.plan, store, toolkit, host_compiler)
            found[key] = next((check.error for check in checks if check.stops and check.error is not None), None)
        return replace(one, error=found[key])

    return tuple(map(looked_at, planned))


def refused(planned: Sequence[PlannedCell], matrix: str) -> TargetError | None:
    """What to say where cells cannot be built; None: all can."""
    wrong = [(one, one.error) for one in planned if one.error is not None]
    if not wrong:
        return None
    what = "1 cell" if len(wrong) == 1 else f"{len(wrong)} cells"
    return TargetError(
        f"{what} of the {len(planned)} of {matrix} cannot be built; nothing was started.",
        f"Mend what is said of each, or [[exclude]] it in {matrix}; --skip-refused builds the others.",
        detail="\n".join(f"{one.id}: {error.cause} {error.remedy}" for one, error in wrong),
    )


def run_cells(
    planned: Sequence[PlannedCell],
    build: Callable[[Plan], BuildResult],
    index: str | Path,
    listener: Listener,
) -> Iterator[CellResult]:
    """Build what is to be built, in order."""
    ended = False
    for number, one in enumerate(planned, start=1):
        if one.error is not None or one.plan is None:
            yield CellResult(one, "refused", one.error)
            continue
        if ended:
            yield CellResult(one, "not begun")
            continue
        started = time.monotonic()
        listener(CellStarted(one.id, number, len(planned)))
        result = _run(one, planned, build, index)
        seconds = time.monotonic() - started
        ended = isinstance(result.error, _ENDS_ALL)
        words = result.error.cause if result.error else (result.to_dict()["wheel"] or "")
        listener(CellDone(one.id, result.state, words, seconds))
        yield replace(result, seconds=seconds)


def _run(
    one: PlannedCell, planned: Sequence[PlannedCell], build: Callable[[Plan], BuildResult], index: str | Path
) -> CellResult:
    assert one.plan is not None, "who has no plan was refused"  # noqa: S101
    try:
        # Again: another machine may have built it since, or another cell's wheel serves this Python too.
        now = _looked_up(one, planned, index)
        if now.error is not None:
            return CellResult(one, "failed", now.error)
        if now.published is not None:
            return CellResult(now, "published")
        made = build(one.plan)
    except InterruptedBuildError as error:
        return CellResult(one, "interrupted", error)
    except WheelsmithError as error:
        return CellResult(one, "failed", error)
    return CellResult(one, "stored" if made.reused else "built", result=made)


def _looked_up(one: PlannedCell, planned: Sequence[PlannedCell], index: str | Path) -> PlannedCell:
    if one.plan is None or one.error is not None:
        return one
    digests = [other.plan.digest for other in planned if other.plan is not None and other.family == one.family]
    try:
        return replace(one, published=find_published(index, one.plan, digests))
    except IndexConflictError as error:
        return replace(one, error=error)


def _same_name(plan: Plan, other: str) -> TargetError:
    return TargetError(
        f"Its wheel would be {plan.requirement} for Python {plan.target.python}, as that of {other}: an index keeps one"
        " of them.",
        "Exclude one of the two, build them into two indexes, or give its recipe another wheel.local_version.",
    )


def _identity(cell: Cell, plan: Plan | None) -> str:
    """A name for a cell: of letters, digits, points and hyphens, so that it can name files and CI jobs."""
    if plan is None:
        parts = [cell.requirement, cell.python and f"py{cell.python}", cell.cuda and f"cu{cell.cuda}"]
        parts += [cell.torch and f"torch{cell.torch}", cell.gpus]
        options = cell.options
    else:
        target = plan.target
        parts = [plan.name, plan.version, f"py{target.python}", f"cu{target.cuda}"]
        parts += [target.torch and f"torch{target.torch}", target.archs.torch]
        options = tuple(item for item in plan.options if item in cell.options)
    text = "-".join(part for part in parts if part)
    text += "".join(f"-{name}-{'on' if on else 'off'}" for name, on in options)
    cleaned = "".join(c if c.isascii() and (c.isalnum() or c in ".-") else "_" for c in text)
    return "_".join(part for part in cleaned.split("_") if part)


def _unique(text: str, seen: dict[str, int]) -> str:
    seen[text] = seen.get(text, 0) + 1
    return text if seen[text] == 1 else f"{text}.{seen[text]}"


def _cached(made: BuildResult) -> str | None:
    use = made.record["compile"]["cache"]
    return None if use is None else f"{use['hits']} of {use['hits'] + use['misses']} objects"
