"""A matrix of builds: packages × Python × CUDA × torch × sets of GPUs, read from a TOML file into cells.

In: a file. Out: `MatrixTable` and its `Cell`s, in the file's order, each what one build is asked for. Pure but for
reading the file. Fails with `UsageError`, which names file, line and nearest key, or the value that fits no cell.

    schema_version = 1
    python = ["3.11", "3.12"]
    gpus = ["RTX 5090,A40", "9.0"]       # two sets: each is a wheel

    [[package]]
    requirement = "cuvec==6.0.1"
    cuda = ["12.8", "13.0"]              # its own, instead of the matrix's

    [[exclude]]
    cuda = "12.8"
    gpus = "RTX 5090,A40"

    [[include]]
    requirement = "causal-conv1d"
    python = "3.12"
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, field
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from wheelsmith.errors import UsageError
from wheelsmith.recipe.texts import CudaVersion, OptionName, PythonVersion, RequirementText
from wheelsmith.schema import Table, json_schema
from wheelsmith.tomlfile import line_of, read_toml

#: More than anybody means; a slip in a file shall not plan for hours.
MOST_CELLS = 4096

TorchText = Annotated[str, Meta(min_length=1, description="exact version of torch, or nightly")]
GpuSet = Annotated[str, Meta(min_length=1, description='GPUs of one wheel, as in "RTX 5090,A40" or "8.6;12.0"')]
Options = Annotated[dict[OptionName, bool], Meta(description="options of the recipe, on or off")]


class PackageTable(Table, frozen=True, kw_only=True):
    """A package. An axis that is given here stands instead of the matrix's; one that is nowhere is the recipe's."""

    requirement: RequirementText
    python: tuple[PythonVersion, ...] | None = None
    cuda: tuple[CudaVersion, ...] | None = None
    torch: tuple[TorchText, ...] | None = None
    gpus: tuple[GpuSet, ...] | None = None
    options: Options = field(default_factory=dict)


class CellTable(Table, frozen=True, kw_only=True):
    """One more cell."""

    requirement: RequirementText
    python: PythonVersion | None = None
    cuda: CudaVersion | None = None
    torch: TorchText | None = None
    gpus: GpuSet | None = None
    options: Options = field(default_factory=dict)


class ExcludeTable(Table, frozen=True, kw_only=True):
    """Cells that are not built: those that agree with every key. `package` is a name, with any version."""

    package: str | None = None
    python: PythonVersion | None = None
    cuda: CudaVersion | None = None
    torch: TorchText | None = None
    gpus: GpuSet | None = None


class MatrixTable(Table, frozen=True, kw_only=True):
    """A matrix: every package with every value of every axis, but for what is excluded, and what is included."""

    schema_version: Literal[1]
    python: tuple[PythonVersion, ...] = ()
    cuda: tuple[CudaVersion, ...] = ()
    torch: Annotated[
        tuple[TorchText, ...], Meta(description="counts for packages that are built against torch, and for no other")
    ] = ()
    gpus: tuple[GpuSet, ...] = ()
    package: tuple[PackageTable, ...] = ()
    exclude: tuple[ExcludeTable, ...] = ()
    include: tuple[CellTable, ...] = ()


@dataclass(frozen=True, slots=True)
class Cell:
    """What one build is asked for; None: as the recipe has it."""

    requirement: str
    python: str | None = None
    cuda: str | None = None
    torch: str | None = None
    gpus: str | None = None
    options: tuple[tuple[str, bool], ...] = ()

    @property
    def package(self) -> str:
        """The normalized name (PEP 503)."""
        return canonicalize_name(Requirement(self.requirement).name)

    def __str__(self) -> str:
        parts = [self.requirement]
        named = (("Python", self.python), ("CUDA", self.cuda), ("torch", self.torch), ("for", self.gpus))
        parts += [f"{name} {value}" for name, value in named if value]
        parts += [f"{name}={'on' if on else 'off'}" for name, on in self.options]
        return ", ".join(parts)


def read_matrix(path: Path) -> tuple[MatrixTable, str]:
    """The matrix in a file, and its text.

    Raises:
        UsageError: it cannot be read, or has an unknown key or a bad value.
    """
    remedy = "`wheelsmith matrix --schema` prints every key with its meaning."
    table, text = read_toml(path, MatrixTable, UsageError, remedy)
    if not table.package and not table.include:
        raise UsageError(f"{path} names no package.", "Add a [[package]] with its requirement.")
    return table, text


def expand(path: Path, takes_torch: Callable[[str], bool]) -> tuple[Cell, ...]:
    """The cells of the matrix in a file: each once, in its order.

    Args:
        path: the file.
        takes_torch: whether the package of a requirement is built against torch. The axis of those that are not is
            empty; a torch that such a package is given in its own table stays, and is refused when it is planned.

    Raises:
        UsageError: the file is wrong, an [[exclude]] fits no cell, or there are too many cells, or none.
    """
    table, text = read_matrix(path)
    cells: dict[Cell, None] = {}
    used: set[int] = set()
    for package in table.package:
        axes = _axes(table, package, takes_torch)
        if len(cells) + _size(axes) > MOST_CELLS:
            raise UsageError(f"{path} has more than {MOST_CELLS:,} cells.", "Shorten an axis, or write several files.")
        options = tuple(sorted(package.options.items()))
        for python, cuda, torch, gpus in product(*axes):
            cell = Cell(package.requirement, python, cuda, torch, gpus, options)
            fits = {index for index, one in enumerate(table.exclude) if _fits(one, cell)}
            used |= fits
            if not fits:
                cells.setdefault(cell)
    for index, one in enumerate(table.exclude):
        if index not in used:
            raise UsageError(
                f"{path}:{line_of(text, ['exclude', index])}: this [[exclude]] fits no cell: {_words(one)}.",
                "Correct it or take it away: `wheelsmith matrix FILE` lists the cells.",
            )
    for more in table.include:
        options = tuple(sorted(more.options.items()))
        cells.setdefault(Cell(more.requirement, more.python, more.cuda, more.torch, more.gpus, options))
    if not cells:
        raise UsageError(f"{path} excludes all of its cells.", "Exclude less, or include something.")
    return tuple(cells)


def matrix_schema() -> dict[str, object]:
    """The JSON Schema of a matrix file, for editors."""
    return json_schema(MatrixTable, "wheelsmith matrix")


def _axes(
    matrix: MatrixTable, package: PackageTable, takes_torch: Callable[[str], bool]
) -> tuple[tuple[str | None, ...], tuple[str | None, ...], tuple[str | None, ...], tuple[str | None, ...]]:
    def axis(own: tuple[str, ...] | None, common: tuple[str, ...]) -> tuple[str | None, ...]:
        return (common if own is None else own) or (None,)

    torch = matrix.torch if matrix.torch and takes_torch(package.requirement) else ()
    return (
        axis(package.python, matrix.python),
        axis(package.cuda, matrix.cuda),
        axis(package.torch, torch),
        axis(package.gpus, matrix.gpus),
    )


def _size(axes: Iterable[tuple[str | None, ...]]) -> int:
    size = 1
    for axis in axes:
        size *= len(axis)
    return size


def _fits(pattern: ExcludeTable, cell: Cell) -> bool:
    return (pattern.package is None or canonicalize_name(pattern.package) == cell.package) and all(
        wanted is None or wanted == value
        for wanted, value in (
            (pattern.python, cell.python),
            (pattern.cuda, cell.cuda),
            (pattern.torch, cell.torch),
            (pattern.gpus, cell.gpus),
        )
    )


def _words(pattern: ExcludeTable) -> str:
    return ", ".join(_told(pattern)) or "it has no key"


def _told(pattern: ExcludeTable) -> Iterator[str]:
    for name in ("package", "python", "cuda", "torch", "gpus"):
        if (value := getattr(pattern, name)) is not None:
            yield f"{name} = {value!r}"
