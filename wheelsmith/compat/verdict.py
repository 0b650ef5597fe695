"""What a contract's check found: one row per library and arch, and what breaks the contract.

In: what `wheelsmith.compat.contract.check` puts into it. Out: a `Verdict`: a table, a headline, JSON. `enforce` turns a
broken one into `ContractError` with the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from wheelsmith.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wheelsmith.compat.summary import Library
    from wheelsmith.contract import Limits
    from wheelsmith.documents.wheels import VerdictFacts
    from wheelsmith.gpu.arch import Arch, ArchSet
    from wheelsmith.wheel.report import LibraryReport

#: `mixed`: some translation units are native, and others exist for this arch as PTX only. `not judged`: code for this
#: arch cannot be read. `other`: the contract does not ask the library for this arch, or the package takes another one.
Outcome = Literal["native", "mixed", "jit", "missing", "not judged", "other", "no device code"]
#: What is said of a wheel without any GPU code.
NO_CODE = "holds no GPU code at all"


class NoGpuCodeError(ContractError):
    """The wheel holds no GPU code at all, and some was asked for."""


@dataclass(frozen=True, slots=True)
class Row:
    """How one library serves one arch.

    Attributes:
        library: its path.
        arch: the arch asked for.
        outcome: see `Outcome`.
        served_by: the code that does, `sm_86` or `compute_80`; empty when none.
        only_ptx: translation units that exist for the arch as PTX only.
        units: translation units that hold kernels.
        kernels: some kernels of those that exist as PTX only.
        lacking: translation units that hold kernels with a body for another requested arch and not for this one.
        allowed: those of them that a rule allows, or that are made for one GPU by name.
    """

    library: str
    arch: Arch
    outcome: Outcome
    served_by: str
    only_ptx: int = 0
    units: int = 0
    kernels: str = ""
    lacking: int = 0
    allowed: int = 0


@dataclass(frozen=True, slots=True)
class Checked:
    """A library as it is checked; `report` is None for GPU code in files of data."""

    path: str
    summary: Library
    report: LibraryReport | None

    @property
    def has_code(self) -> bool:
        """Whether it holds GPU code with kernels."""
        return bool(self.summary.units)

    def held(self, kind: str) -> tuple[str, ...]:
        """The archs of its code of this kind, with the PTX version, sorted."""
        found = {(c.arch, c.isa) for group in self.summary.units for c in group.code if c.kind == kind}
        return tuple(f"{arch} (ISA {isa})" if isa else str(arch) for arch, isa in sorted(found))


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of `check`: sound when `violations`, one sentence each, is empty."""

    archs: ArchSet
    libraries: tuple[Checked, ...]
    rows: tuple[Row, ...]
    violations: tuple[str, ...]

    def to_dict(self) -> VerdictFacts:
        """The verdict as JSON values."""
        return {
            "schema_version": 3,
            "archs": str(self.archs),
            "headline": self.headline,
            "rows": [
                {
                    "library": r.library,
                    "arch": str(r.arch),
                    "outcome": r.outcome,
                    "served_by": r.served_by,
                    "only_ptx": r.only_ptx,
                    "units": r.units,
                    "lacking": r.lacking,
                    "allowed": r.allowed,
                }
                for r in self.rows
            ],
            "violations": list(self.violations),
        }

    @property
    def headline(self) -> str:
        """One sentence of what was found: on which of the archs the wheel runs, and how."""
        return headline(self.rows)

    def table(self) -> str:
        """Plain text: a line per library with its SASS, its PTX, and the outcome for every requested arch."""
        outcomes = {(row.library, row.arch): row.outcome for row in self.rows}
        lines = [["library", "SASS", "PTX", *map(str, self.archs.native)]]
        lines += [
            [
                library.path,
                " ".join(library.held("sass")) or "-",
                " ".join(library.held("ptx")) or "-",
                *(outcomes[library.path, arch] for arch in self.archs.native),
            ]
            for library in self.libraries
        ]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        )


def headline(rows: Sequence[Row]) -> str:
    """What rows say of a wheel, in one sentence that claims no more than they do."""
    if not any(row.units for row in rows):
        return "holds no GPU code"
    by_arch: dict[Arch, list[Row]] = {}
    for row in rows:
        by_arch.setdefault(row.arch, []).append(row)
    groups: dict[str, list[str]] = {}
    for arch, own in by_arch.items():
        coded = [row for row in own if row.units and row.outcome != "other"]
        bad = sorted({row.library for row in coded if row.outcome == "missing" or row.lacking > row.allowed})
        compiled = sorted({row.library for row in coded if row.outcome in {"jit", "mixed"}})
        unread = sorted({row.library for row in coded if row.outcome == "not judged"})
        says = "machine code for {}"
        if bad:
            says = "not whole for {}: nothing, or not every kernel, in " + ", ".join(bad)
        elif unread:
            says = "not judged for {}: code that cannot be read, in " + ", ".join(unread)
        elif compiled:
            says = "runs on {} after the driver has compiled PTX of " + ", ".join(compiled)
        elif aside := sum(row.allowed for row in coded):
            says = f"machine code for {{}}, but for {aside} translation units that the contract leaves to other GPUs"
        groups.setdefault(says, []).append(arch.sm)
    return "; ".join(says.replace("{}", ", ".join(names), 1) for says, names in groups.items())


def enforce_present(names: Sequence[str], limits: Limits) -> None:
    """Accept the files of a wheel if everything is among them that its contract names.

    Raises:
        ContractError: something is not; an optional part was left out without a word, for example.
    """
    absent = [pattern for pattern in limits.present if not any(fnmatchcase(name, pattern) for name in names)]
    if absent:
        raise ContractError(
            f"The wheel holds no {absent[0]}, which its contract names.",
            "Look in the build's log for who was to make it, or take it out of the recipe's contract.",
            detail="\n".join(absent),
        )


def enforce(verdict: Verdict) -> None:
    """Accept a sound verdict.

    Raises:
        ContractError: it is not; the detail is the table and every violation.
    """
    if not verdict.violations:
        return
    first, more = verdict.violations[0], len(verdict.violations) - 1
    kind = NoGpuCodeError if any(NO_CODE in violation for violation in verdict.violations) else ContractError
    raise kind(
        first + (f" ({more} more below.)" if more else ""),
        "Ask for other archs, make the build pass them to nvcc, or allow it in the recipe's contract.",
        detail="\n".join((verdict.table(), "", *(f"- {violation}" for violation in verdict.violations))),
    )
