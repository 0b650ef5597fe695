"""Many builds in one call: a matrix of packages, Pythons, CUDA releases, torches and sets of GPUs."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

from wheelsmith.api.building import build, plan
from wheelsmith.api.defaults import DEFAULT_INDEX, PathLike, book, store_root
from wheelsmith.errors import UsageError
from wheelsmith.events import Listener, ignore

if TYPE_CHECKING:
    from wheelsmith.builder.matrix import CellResult, PlannedCell
    from wheelsmith.builder.model import BuildResult
    from wheelsmith.documents.matrices import MatrixDocument
    from wheelsmith.documents.table import JsonValue
    from wheelsmith.planning.matrix import Cell
    from wheelsmith.planning.model import Plan

DOCUMENT_VERSION = 1


class BuildOptions(TypedDict, total=False):
    """How each cell is built: the keywords of `build` that are no target."""

    jobs: int | None
    offline: bool
    require_isolation: bool
    index_url: str | None
    torch_index: str | None
    toolkit: str
    host_compiler: str | None
    sign: PathLike | None
    memory: int | str | None
    cache: str | None
    use_cache: bool
    cache_readonly: bool


@dataclass(frozen=True, slots=True)
class Matrix:
    """The cells of a matrix: planned, or built.

    Attributes:
        path: the file.
        index: where it was looked for wheels, or where they are published; None: nowhere.
        cells: in the order of the file.
        seconds: wall time of the whole call.
        skipped: refused cells were to be left out.
    """

    path: str
    index: str | None
    cells: tuple[CellResult, ...]
    seconds: float = 0.0
    skipped: bool = False

    @property
    def exit_code(self) -> int:
        """0: no cell has an error, refused ones left out if they were `skipped`; else 130 after an interrupt, or the
        code of the first error."""
        found = [one for one in self.cells if not (self.skipped and one.state == "refused")]
        codes = [one.error.exit_code for one in found if one.error is not None]
        return 130 if 130 in codes else codes[0] if codes else 0

    def to_dict(self) -> MatrixDocument:
        """JSON-ready form."""
        counts: dict[str, int] = {}
        for result in self.cells:
            counts[result.state] = counts.get(result.state, 0) + 1
        return {
            "schema_version": DOCUMENT_VERSION,
            "matrix": self.path,
            "index": self.index,
            "counts": counts,
            "seconds": round(self.seconds, 3),
            "cells": [result.to_dict() for result in self.cells],
        }


def matrix(
    path: PathLike,
    *,
    cells: Collection[str] = (),
    index: PathLike | None = None,
    environment: Literal["isolated", "current"] = "isolated",
    recipes: Sequence[PathLike] = (),
) -> Matrix:
    """The cells of a matrix, each planned or refused with the reason. Builds nothing.

    Args:
        path: a TOML file (`matrix_schema` has its form).
        cells: ids of those that are wanted; none: all.
        index: where to look for wheels that are there already; default: nowhere.
        environment: see `plan`.
        recipes: directories whose recipes go before the shipped ones.

    Raises:
        UsageError: the file is wrong, or has no such cell.
    """
    from wheelsmith.builder.matrix import CellResult

    def state(one: PlannedCell) -> CellResult:
        if one.error is not None:
            return CellResult(one, "refused", one.error)
        return CellResult(one, "published" if one.published is not None else "planned")

    planned = planned_cells(path, cells=cells, index=index, environment=environment, recipes=recipes)
    where = None if index is None else os.fspath(index)
    return Matrix(os.fspath(path), where, tuple(map(state, planned)))


def build_matrix(
    path: PathLike,
    *,
    cells: Collection[str] = (),
    skip_refused: bool = False,
    index: PathLike = DEFAULT_INDEX,
    store: PathLike | None = None,
    stop_after: float | None = None,
    environment: Literal["isolated", "current"] = "isolated",
    recipes: Sequence[PathLike] = (),
    listener: Listener = ignore,
    **options: Unpack[BuildOptions],
) -> Matrix:
    """Build every cell of a matrix whose wheel the index does not have yet, one after another, and publish each.

    The second run of the same call continues: what is finished is looked up, and what was interrupted goes on.

    Args:
        path: a TOML file.
        cells: ids of those that are wanted; none: all.
        skip_refused: build the others where some cells cannot be built; default: start nothing.
        index: the index that the wheels are published to.
        store: directory of the store, which all cells share.
        stop_after: minutes, counted for all cells together, after which no compiler starts any more.
        environment: see `plan`.
        recipes: directories whose recipes go before the shipped ones.
        listener: told of every step.
        **options: see `build`.

    Returns:
        What became of each cell; a cell that failed carries its error (see `Matrix.exit_code`).

    Raises:
        UsageError: the file is wrong, or has no such cell.
        TargetError: cells cannot be built, each with its reason, and `skip_refused` is not given.
    """
    from wheelsmith.builder.matrix import refuse_here, refused, run_cells

    started = time.monotonic()
    planned = planned_cells(path, cells=cells, index=index, environment=environment, recipes=recipes)
    planned = refuse_here(planned, store_root(store), options.get("toolkit", "auto"), options.get("host_compiler"))
    if not skip_refused and (error := refused(planned, os.fspath(path))) is not None:
        raise error

    def make(one: Plan) -> BuildResult:
        left = None if stop_after is None else max(0.0, stop_after - (time.monotonic() - started) / 60)
        return build(one, index=index, store=store, stop_after=left, listener=listener, **options)

    results = tuple(run_cells(planned, make, os.fspath(index), listener))
    return Matrix(os.fspath(path), os.fspath(index), results, time.monotonic() - started, skip_refused)


def planned_cells(
    path: PathLike,
    *,
    cells: Collection[str] = (),
    index: PathLike | None = None,
    environment: Literal["isolated", "current"] = "isolated",
    recipes: Sequence[PathLike] = (),
) -> tuple[PlannedCell, ...]:
    """The cells with their plans: what `matrix`, `build_matrix` and the farm begin with."""
    from wheelsmith.builder.matrix import look_up, plan_cells
    from wheelsmith.errors import WheelsmithError, did_you_mean
    from wheelsmith.planning.matrix import expand

    found = book(recipes)

    def takes_torch(requirement: str) -> bool:
        try:
            return found.find(requirement)[0].recipe.defaults.torch is not None
        except WheelsmithError:  # it is refused when it is planned
            return False

    def make(cell: Cell) -> Plan:
        return plan(
            cell.requirement,
            gpu=cell.gpus,
            python=cell.python,
            cuda=cell.cuda,
            torch=cell.torch,
            environment=environment,
            options=dict(cell.options),
            recipes=recipes,
        )

    planned = plan_cells(expand(Path(path), takes_torch), make)
    known = {one.id for one in planned}
    for wanted in cells:
        if wanted not in known:
            raise UsageError(f"{os.fspath(path)} has no cell {wanted!r}.", did_you_mean(wanted, known))
    chosen = tuple(one for one in planned if not cells or one.id in cells)
    return chosen if index is None else look_up(chosen, os.fspath(index))


def matrix_schema() -> dict[str, JsonValue]:
    """The JSON Schema of a matrix file, for editors."""
    from typing import cast

    from wheelsmith.planning.matrix import matrix_schema as schema

    return cast("dict[str, JsonValue]", schema())


def matrix_jobs(made: Matrix, ci: Literal["github", "gitlab"]) -> str:
    """The cells that are still to be built, as jobs of a CI system.

    Args:
        made: from `matrix`.
        ci: `github`: the value of `strategy.matrix`, one line of JSON; `gitlab`: jobs of a child pipeline (YAML), each
            of which extends `.wheelsmith-cell`.

    Raises:
        TargetError: cells cannot be built.
        UsageError: more jobs than a GitHub matrix takes (256).
    """
    from wheelsmith.builder.matrix import refused
    from wheelsmith.report.matrix import github_jobs, gitlab_jobs

    if (error := refused([result.planned for result in made.cells], made.path)) is not None:
        raise error
    return (github_jobs if ci == "github" else gitlab_jobs)(made.to_dict())


def matrix_report(made: MatrixDocument, form: Literal["markdown", "junit", "github", "outputs"]) -> str:
    """What became of a matrix, for a CI system.

    Args:
        made: from `Matrix.to_dict`.
        form: `markdown`: a summary; `junit`: a test report (XML), a test case for each cell; `github`: workflow
            commands that annotate what failed; `outputs`: lines of NAME=VALUE.
    """
    from wheelsmith.report import matrix as report

    make = {
        "markdown": report.markdown,
        "junit": report.junit,
        "github": report.github_annotations,
        "outputs": report.outputs,
    }
    return make[form](made)
