"""Whether a wheel holds the GPU code that was asked for.

In: a `WheelReport`, the requested archs, the rules of the recipe per library and its limits for all of them. Out: a
`Verdict` (`wheelsmith.compat.verdict`), a row per library and arch. Fails with `UsageError` on a limit that is none.
Kernels are compared by name, unit by unit, across the requested archs: one that has a body for one of them and none for
another breaks the contract, unless a rule allows it or its unit holds only code that was asked for one GPU by name
(`sm_90a`, `sm_100f`). Empty code, which nvcc adds for every `-gencode` of the link command, counts as none.
"""

from __future__ import annotations

import dataclasses
import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from wheelsmith.compat.choices import not_taken
from wheelsmith.compat.summarise import linked_units, summarised, summarised_data
from wheelsmith.compat.units import Served, kernel_names, listed, serve, units_of
from wheelsmith.compat.verdict import NO_CODE, Checked, Outcome, Row, Verdict
from wheelsmith.contract import LibraryRule, Limits
from wheelsmith.errors import UsageError
from wheelsmith.gpu.arch import ptx_runs_on

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wheelsmith.compat.summary import Library
    from wheelsmith.compat.torch_abi import TorchExports
    from wheelsmith.gpu.arch import Arch, ArchSet
    from wheelsmith.wheel.report import LibraryReport, WheelReport

_MANYLINUX = re.compile(r"manylinux_(\d+)_(\d+)_\w+")
_SHOWN = 5


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
    checked = [Checked(library.path, summarised(library, archs.native), library) for library in loaded]
    if data := summarised_data(report, archs.native):
        checked.append(Checked(data.path, data, None))
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


def _set_aside(paths: Sequence[str], limits: Limits, archs: ArchSet, cuda: str | None) -> set[tuple[str, Arch]]:
    """Libraries that the package does not take on an arch."""
    return {
        (path, arch)
        for choice in limits.choice
        for arch in archs.native
        for path in not_taken(choice, paths, arch, cuda)
    }


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
    filename: str, checked: Sequence[Checked], archs: ArchSet, rules: Sequence[LibraryRule]
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
    item: Checked,
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


def _held(item: Checked) -> str:
    found = {(c.kind != "sass", c.arch) for group in item.summary.units for c in group.code if not c.hollow}
    return ", ".join(
        f"{arch.sm.replace('sm_', 'compute_')} (PTX)" if is_ptx else arch.sm for is_ptx, arch in sorted(found)
    )
