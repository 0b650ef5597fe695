"""Whether a wheel holds the GPU code that was asked for.

In: a `WheelReport`, the requested archs, the recipe's rules per library and its limits for all of them. Out: a
`Verdict` with one row per library and arch. `enforce` turns a broken one into `ContractError` with the table. Pure.
Kernels are compared by name, unit by unit, across the requested archs: one that has a body for one of them and none for
another breaks the contract, unless a rule allows it or its unit holds only code that was asked for one GPU by name
(`sm_90a`, `sm_100f`). Empty code, which nvcc adds for every `-gencode` of the link command, counts as none.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from wheelsmith.compat.choices import not_taken
from wheelsmith.compat.summary import Library, linked_units, summarised, summarised_data
from wheelsmith.compat.units import Served, kernel_names, listed, serve, units_of
from wheelsmith.contract import LibraryRule, Limits
from wheelsmith.errors import ContractError, UsageError
from wheelsmith.gpu.arch import ptx_runs_on

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wheelsmith.compat.torch_abi import TorchExports
    from wheelsmith.documents.wheels import VerdictFacts
    from wheelsmith.gpu.arch import Arch, ArchSet
    from wheelsmith.wheel.report import LibraryReport, WheelReport

#: `mixed`: some translation units are native, and others exist for this arch as PTX only. `not judged`: code for this
#: arch cannot be read. `other`: the contract does not ask the library for this arch, or the package takes another one.
Outcome = Literal["native", "mixed", "jit", "missing", "not judged", "other", "no device code"]
#: What is said of a wheel without any GPU code.
NO_CODE = "holds no GPU code at all"
_MANYLINUX = re.compile(r"manylinux_(\d+)_(\d+)_\w+")
_SHOWN = 5


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
class Verdict:
    """The result of `check`: sound when `violations`, one sentence each, is empty."""

    archs: ArchSet
    libraries: tuple[_Checked, ...]
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
    return "; ".join(says.format(", ".join(names)) for says, names in groups.items())


def check(
    report: WheelReport,
    archs: ArchSet,
    rules: Sequence[LibraryRule],
    limits: Limits | None = None,
    torch: TorchExports | None = None,
    cuda: str | None = None,
) -> Verdict:
    """Hold a wheel against the requested archs and its limits.

    A library that no rule names must be native if it has GPU code, and may have none. Native means: no translation
    unit has only PTX for the arch, and none lacks kernels. Where `archs` asks for PTX, a library with GPU code must
    hold PTX that a driver can compile for that arch. Object files and static archives are nobody's GPU code until they
    are linked: left out. All GPU code in files of data is one library, for the program itself says what it loads.

    Args:
        report: the wheel.
        archs: what was asked for.
        rules: the first whose pattern matches a library counts.
        limits: what holds for the whole wheel.
        torch: the torch that must define the symbols it needs; None: not asked.
        cuda: the CUDA release (`12.8`) that it is built with, where a choice depends on it.
    """
    limits = limits or Limits()
    loaded = [library for library in report.libraries if library.facts.kind not in {"object", "data"}]
    checked = [_Checked(library.path, summarised(library, archs.native), library) for library in loaded]
    if data := summarised_data(report, archs.native):
        checked.append(_Checked(data.path, data, None))
    rows: list[Row] = []
    violations: list[str] = []
    aside = _set_aside([item.path for item in checked], limits, archs, cuda)
    for item in checked:
        rule = next((rule for rule in rules if fnmatchcase(item.path, rule.path)), None)
        own = [_row(item.summary, arch, rule) for arch in archs.native]
        if item.has_code:
            own = [(_asked(row, rule, aside), lost) for row, lost in own]
        rows += [row for row, _ in own]
        violations += _library_violations(item, rule, archs, own)
    violations += _wheel_violations(report.filename, checked, archs, rules)
    violations += _beyond_limits(report, tuple(loaded), limits, torch)
    return Verdict(archs, tuple(checked), tuple(rows), tuple(violations))


@dataclass(frozen=True, slots=True)
class _Checked:
    """A library as it is checked; `report` is None for GPU code in files of data."""

    path: str
    summary: Library
    report: LibraryReport | None

    @property
    def has_code(self) -> bool:
        return bool(self.summary.units)

    def held(self, kind: str) -> tuple[str, ...]:
        """The archs of its code of this kind, with the PTX version, sorted."""
        found = {(c.arch, c.isa) for group in self.summary.units for c in group.code if c.kind == kind}
        return tuple(f"{arch} (ISA {isa})" if isa else str(arch) for arch, isa in sorted(found))


def _set_aside(paths: Sequence[str], limits: Limits, archs: ArchSet, cuda: str | None) -> set[tuple[str, Arch]]:
    """Libraries that the package does not take on an arch."""
    return {
        (path, arch)
        for choice in limits.choice
        for arch in archs.native
        for path in not_taken(choice, paths, arch, cuda)
    }


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


def _row(library: Library, arch: Arch, rule: LibraryRule | None) -> tuple[Row, tuple[str, ...]]:
    """How a library serves an arch, and names of kernels that it lacks and no rule allows it to."""
    service = serve(library.units, arch)
    sass = [item.taken.arch for item in service.native if item.taken]
    ptx = [code.arch for item in service.jit for code in item.ptx]
    outcome: Outcome
    if service.unread:
        outcome, served_by = "not judged", ""
    elif sass:
        outcome, served_by = ("mixed" if ptx else "native"), max(sass).sm
    elif ptx:
        outcome, served_by = "jit", max(ptx).sm.replace("sm_", "compute_")
    else:
        outcome, served_by = ("missing" if service.total else "no device code"), ""
    names: list[str] = []
    lacking = allowed = 0
    for item in (*service.native, *service.jit, *service.absent):
        absent = item in service.absent
        if not absent and not item.lost:
            continue
        lost = _lost(item, absent=absent)
        lacking += item.count
        if (absent and _for_others_by_name(item)) or _allowed(lost, rule, arch):
            allowed += item.count
        else:
            names += lost
    row = Row(
        library=library.path,
        arch=arch,
        outcome=outcome,
        served_by=served_by,
        only_ptx=units_of(service.jit),
        units=service.total,
        kernels=kernel_names(service.jit),
        lacking=lacking,
        allowed=allowed,
    )
    return row, tuple(dict.fromkeys(names))


def _asked(row: Row, rule: LibraryRule | None, aside: set[tuple[str, Arch]]) -> Row:
    """The row of an arch that the library is not asked for says so."""
    asked = rule is None or rule.archs is None or row.arch in rule.archs
    if asked and (row.library, row.arch) not in aside:
        return row
    return dataclasses.replace(row, outcome="other", lacking=0, allowed=0)


def _lost(item: Served, *, absent: bool) -> tuple[str, ...]:
    """Names of the kernels that are not there for the arch, as far as names were read."""
    return (item.taken.lost if item.taken else ()) or item.units.kernels if absent else _names_of(item)


def _names_of(item: Served) -> tuple[str, ...]:
    return tuple(name for code in item.lost for name in code.lost) or item.units.kernels


def _for_others_by_name(item: Served) -> bool:
    """Whether it holds only code for one GPU or family, which nvcc writes only if it is asked for it by name."""
    return not item.units.loose and all(code.arch.suffix for code in item.units.code)


def _allowed(names: Sequence[str], rule: LibraryRule | None, arch: Arch) -> bool:
    """Whether the rule allows every one of these kernels to be missing."""
    lacks = [item for item in (rule.lacks if rule else ()) if item.archs is None or arch in item.archs]
    patterns = [pattern for item in lacks for pattern in item.kernels]
    return bool(names) and all(any(fnmatchcase(name, pattern) for pattern in patterns) for name in names)


def _wheel_violations(
    filename: str, checked: Sequence[_Checked], archs: ArchSet, rules: Sequence[LibraryRule]
) -> Iterator[str]:
    for rule in rules:
        if not rule.optional and not any(fnmatchcase(item.path, rule.path) for item in checked):
            yield f"No library matches {rule.path!r}, which the recipe's contract names."
    if not any(item.has_code for item in checked) and not any(rule.code == "none" for rule in rules):
        yield f"{filename} {NO_CODE}, and {archs} was asked for."


def _beyond_limits(
    report: WheelReport, libraries: Sequence[LibraryReport], limits: Limits, torch: TorchExports | None
) -> Iterator[str]:
    if limits.max_size is not None and report.size > limits.max_size:
        yield f"{report.filename} has {report.size:,} bytes, and its contract allows {limits.max_size:,}."
    for found in report.unjudged:
        if not any(fnmatchcase(found.path, pattern) for pattern in limits.unjudged):
            yield f"{found.path}: {found.reason}, so it cannot be judged, and its contract does not allow that."
    own = {library.path.rpartition("/")[2] for library in libraries}
    offered = {name for library in libraries for name in library.facts.offered}
    for library in libraries:
        if linked := linked_units(library):
            yield f"{library.path}: {linked} translation units hold LTO IR alone, which runs only after another link."
        for arch in limits.forbidden:
            if count := sum(code.arch == arch for code in library.facts.device_code):
                yield f"{library.path} holds {count} pieces of code for {arch}, which its contract forbids."
        for name in library.needed if limits.needed is not None else ():
            if name not in own and not any(fnmatchcase(name, pattern) for pattern in limits.needed or ()):
                yield f"{library.path} needs {name}, which its contract does not allow."
        if torch is not None:
            missing = [name for name in torch.missing(library.torch_symbols) if name not in offered]
            if missing:
                named = ", ".join(missing[:_SHOWN]) + (" …" if len(missing) > _SHOWN else "")
                yield f"{library.path} needs symbols that torch {torch.version} does not define: {named}"
    if limits.manylinux is not None and (problem := _too_new(report.platform, limits.manylinux)):
        yield f"{report.filename} {problem}"


def _too_new(platform: str | None, limit: str) -> str | None:
    """What is wrong with the platform that the symbol versions need, or None."""
    asked = re.match(r"manylinux_(\d+)_(\d+)", limit)
    if asked is None:
        raise UsageError(f"{limit!r} is not a manylinux platform.", "Write it as in manylinux_2_31.")
    found = _MANYLINUX.fullmatch(platform or "")
    if found is None:
        return f"needs symbol versions that no manylinux platform offers, and its contract asks for {limit}."
    if tuple(map(int, found.groups())) > tuple(map(int, asked.groups())):
        return f"needs {platform}, and its contract allows {limit} at most."
    return None


def _library_violations(
    item: _Checked,
    rule: LibraryRule | None,
    archs: ArchSet,
    rows: Sequence[tuple[Row, tuple[str, ...]]],
) -> Iterator[str]:
    path = item.path
    if rule is not None and rule.code == "none":
        if item.has_code:
            yield f"{path} holds GPU code, and its rule {rule.path!r} says none."
        return
    if not item.has_code:
        if rule is not None:
            yield f"{path} holds no GPU code, and its rule {rule.path!r} says {rule.code}."
        return
    for row, lost in rows:
        if row.outcome != "other":
            yield from _row_violations(row, lost, "native" if rule is None else rule.code, f"it holds {_held(item)}.")
    for arch in archs.ptx:
        if not any(c.kind == "ptx" and ptx_runs_on(c.arch, arch) for group in item.summary.units for c in group.code):
            yield f"{path} has no PTX for {arch}, which was asked for (+PTX): it holds {_held(item)}."


def _row_violations(row: Row, lost: Sequence[str], code: str, held: str) -> Iterator[str]:
    named = f" ({row.kernels})" if row.kernels else ""
    if row.outcome == "missing":
        yield f"{row.library} does not run on {row.arch}: {held}"
    elif row.outcome == "not judged":
        yield f"{row.library} holds code for {row.arch} that cannot be read, so it cannot be judged: {held}"
    elif row.outcome == "jit" and code == "native":
        yield f"{row.library} has no native code for {row.arch}, only PTX ({row.served_by}): {held}"
    elif row.outcome == "mixed" and code == "native":
        yield (
            f"{row.library} has only PTX for {row.arch} in {row.only_ptx} of its {row.units} translation units"
            f"{named}: {held}"
        )
    if row.outcome != "missing" and row.lacking > row.allowed:
        yield (
            f"{row.library} lacks kernels for {row.arch} in {row.lacking - row.allowed} of its {row.units} translation"
            f" units that they hold for other archs{f' ({listed(lost)})' if lost else ''}: {held}"
        )


def _held(item: _Checked) -> str:
    found = {(c.kind != "sass", c.arch) for group in item.summary.units for c in group.code if not c.hollow}
    return ", ".join(
        f"{arch.sm.replace('sm_', 'compute_')} (PTX)" if is_ptx else arch.sm for is_ptx, arch in sorted(found)
    )
