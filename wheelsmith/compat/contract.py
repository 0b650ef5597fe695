"""Whether a wheel holds the GPU code that was asked for.

In: a `WheelReport`, the requested archs, the recipe's rules per library and its limits for all of them. Out: a
`Verdict` with one row per library and arch. `enforce` turns a broken one into `ContractError` with the table;
`check_paths` looks for paths of the build machine. Pure, except that `check_paths` reads the wheel. Empty code, which
nvcc adds for every `-gencode` of the link command, counts as none.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from wheelsmith.compat.summary import summarised
from wheelsmith.compat.units import kernel_names, serve, units_of
from wheelsmith.errors import ContractError, UsageError
from wheelsmith.gpu.arch import ptx_runs_on
from wheelsmith.wheel.archive import open_archive

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from wheelsmith.compat.torch_abi import TorchExports
    from wheelsmith.documents.wheels import VerdictFacts
    from wheelsmith.gpu.arch import Arch, ArchSet
    from wheelsmith.wheel.inspect import LibraryReport, WheelReport

#: `mixed`: some translation units are native, and others exist for this arch as PTX only.
Outcome = Literal["native", "mixed", "jit", "missing", "no device code"]
_MANYLINUX = re.compile(r"manylinux_(\d+)_(\d+)_\w+")
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class LibraryRule:
    """What a library must hold.

    Attributes:
        pattern: matched with `fnmatch` against the path inside the wheel; `*` crosses folders. The first
            rule that matches counts.
        code: `native`: machine code for every arch; `jit`: machine code or PTX; `none`: no GPU code at all.
        optional: whether the wheel may lack such a library.
        archs: the requested archs that it is for; None: all of them.
    """

    pattern: str
    code: Literal["native", "jit", "none"]
    optional: bool = False
    archs: tuple[Arch, ...] | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What holds for the whole wheel.

    Attributes:
        forbidden: archs for which it must hold no code, as machine code or PTX (empty code included).
        max_size: bytes that it may have; None: any.
        needed: patterns of the libraries that its own may need; None: any. What the wheel brings is always allowed.
        manylinux: the newest platform that its symbol versions may need, such as `manylinux_2_31`; None: any.
        torch: the torch that must define the symbols it needs; None: not asked.
    """

    forbidden: tuple[Arch, ...] = ()
    max_size: int | None = None
    needed: tuple[str, ...] | None = None
    manylinux: str | None = None
    torch: TorchExports | None = None


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
    """

    library: str
    arch: Arch
    outcome: Outcome
    served_by: str
    only_ptx: int = 0
    units: int = 0
    kernels: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of `check`: sound when `violations`, one sentence each, is empty."""

    archs: ArchSet
    libraries: tuple[LibraryReport, ...]
    rows: tuple[Row, ...]
    violations: tuple[str, ...]

    def to_dict(self) -> VerdictFacts:
        """The verdict as JSON values."""
        return {
            "schema_version": 2,
            "archs": str(self.archs),
            "rows": [
                {
                    "library": r.library,
                    "arch": str(r.arch),
                    "outcome": r.outcome,
                    "served_by": r.served_by,
                    "only_ptx": r.only_ptx,
                    "units": r.units,
                }
                for r in self.rows
            ],
            "violations": list(self.violations),
        }

    def table(self) -> str:
        """Plain text: a line per library with its SASS, its PTX, and the outcome for every requested arch."""
        outcomes = {(row.library, row.arch): row.outcome for row in self.rows}
        lines = [["library", "SASS", "PTX", *map(str, self.archs.native)]]
        lines += [
            [
                library.path,
                " ".join(str(arch) for arch, _ in library.sass) or "-",
                " ".join(f"{arch} (ISA {isa})" for arch, isa, _ in library.ptx) or "-",
                *(outcomes[library.path, arch] for arch in self.archs.native),
            ]
            for library in self.libraries
        ]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        )


def check(report: WheelReport, archs: ArchSet, rules: Sequence[LibraryRule], limits: Limits | None = None) -> Verdict:
    """Hold a wheel against the requested archs and its limits.

    A library that no rule names must be native if it has GPU code, and may have none. Native means: no translation
    unit has only PTX for the arch. Where `archs` asks for PTX, a library with GPU code must hold PTX that a driver can
    compile for that arch. Object files and static archives are nobody's GPU code until they are linked: left out.
    """
    libraries = tuple(library for library in report.libraries if library.facts.kind != "object")
    rows = tuple(_row(library, arch) for library in libraries for arch in archs.native)
    violations = [*_violations(libraries, report.filename, archs, rules, rows)]
    violations += _beyond_limits(report, libraries, limits or Limits())
    return Verdict(archs, libraries, rows, tuple(violations))


def enforce(verdict: Verdict) -> None:
    """Accept a sound verdict.

    Raises:
        ContractError: it is not; the detail is the table and every violation.
    """
    if not verdict.violations:
        return
    first, more = verdict.violations[0], len(verdict.violations) - 1
    raise ContractError(
        first + (f" ({more} more below.)" if more else ""),
        "Ask for other archs, make the build pass them to nvcc, or allow it in the recipe's contract.",
        detail="\n".join((verdict.table(), "", *(f"- {violation}" for violation in verdict.violations))),
    )


def check_paths(wheel: Path, forbidden: Sequence[str]) -> tuple[str, ...]:
    """Names of the members whose bytes name one of the absolute paths in `forbidden`, or something below it, sorted.

    Compressed GPU code is not looked into.

    Raises:
        InvalidWheelError: the wheel is not sound.
        UsageError: an item of `forbidden` is no absolute path, or is the root.
    """
    needles = [path.rstrip("/").encode() for path in forbidden]
    if bad := [path for path, needle in zip(forbidden, needles, strict=True) if not needle.startswith(b"/")]:
        raise UsageError(f"{bad[0]!r} cannot be a forbidden path.", "Give absolute paths other than the root.")
    with open_archive(wheel) as archive:
        return tuple(
            sorted(member.filename for member in archive.members if _contains(archive.chunks(member), needles))
        )


def _contains(chunks: Iterable[bytes], needles: Sequence[bytes]) -> bool:
    if not needles:
        return False
    # Whole names only: /root is not in /rootfs. The byte after the name may be in the next chunk, or there is none.
    named = re.compile(rb"(?:%s)[^\w.-]" % b"|".join(map(re.escape, needles)))
    overlap = max(map(len, needles))
    tail = b""
    for chunk in itertools.chain(chunks, (b"\0",)):
        window = tail + chunk
        if named.search(window):
            return True
        tail = window[-overlap:]
    return False


def _row(library: LibraryReport, arch: Arch) -> Row:
    service = serve(summarised(library).units, arch)
    sass = [item.taken.arch for item in service.native if item.taken]
    ptx = [code.arch for item in service.jit for code in item.ptx]
    outcome: Outcome
    if sass:
        outcome, served_by = ("mixed" if ptx else "native"), max(sass).sm
    elif ptx:
        outcome, served_by = "jit", max(ptx).sm.replace("sm_", "compute_")
    else:
        outcome, served_by = ("missing" if service.total else "no device code"), ""
    return Row(library.path, arch, outcome, served_by, units_of(service.jit), service.total, kernel_names(service.jit))


def _violations(
    libraries: Sequence[LibraryReport],
    filename: str,
    archs: ArchSet,
    rules: Sequence[LibraryRule],
    rows: Sequence[Row],
) -> Iterator[str]:
    for library in libraries:
        rule = next((rule for rule in rules if fnmatchcase(library.path, rule.pattern)), None)
        yield from _library_violations(library, rule, archs, [row for row in rows if row.library == library.path])
    for rule in rules:
        if not rule.optional and not any(fnmatchcase(library.path, rule.pattern) for library in libraries):
            yield f"No library matches {rule.pattern!r}, which the recipe's contract names."
    if not any(library.has_device_code for library in libraries) and not any(r.code == "none" for r in rules):
        yield f"{filename} holds no GPU code at all, and {archs} was asked for."


def _beyond_limits(report: WheelReport, libraries: Sequence[LibraryReport], limits: Limits) -> Iterator[str]:
    if limits.max_size is not None and report.size > limits.max_size:
        yield f"{report.filename} has {report.size:,} bytes, and its contract allows {limits.max_size:,}."
    own = {library.path.rpartition("/")[2] for library in libraries}
    offered = {name for library in libraries for name in library.facts.offered}
    for library in libraries:
        for arch in limits.forbidden:
            if count := sum(code.arch == arch for code in library.facts.device_code):
                yield f"{library.path} holds {count} pieces of code for {arch}, which its contract forbids."
        for name in library.needed if limits.needed is not None else ():
            if name not in own and not any(fnmatchcase(name, pattern) for pattern in limits.needed or ()):
                yield f"{library.path} needs {name}, which its contract does not allow."
        if limits.torch is not None:
            missing = [name for name in limits.torch.missing(library.torch_symbols) if name not in offered]
            if missing:
                named = ", ".join(missing[:_SHOWN]) + (" …" if len(missing) > _SHOWN else "")
                yield f"{library.path} needs symbols that torch {limits.torch.version} does not define: {named}"
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
    library: LibraryReport, rule: LibraryRule | None, archs: ArchSet, rows: Sequence[Row]
) -> Iterator[str]:
    if rule is not None and rule.code == "none":
        if library.has_device_code:
            yield f"{library.path} holds GPU code, and its rule {rule.pattern!r} says none."
        return
    if not library.has_device_code:
        if rule is not None:
            yield f"{library.path} holds no GPU code, and its rule {rule.pattern!r} says {rule.code}."
        return
    held = f"it holds {_held(library)}."
    for row in rows:
        if rule is not None and rule.archs is not None and row.arch not in rule.archs:
            continue
        if row.outcome == "missing":
            yield f"{library.path} does not run on {row.arch}: {held}"
        elif row.outcome == "jit" and (rule is None or rule.code == "native"):
            yield f"{library.path} has no native code for {row.arch}, only PTX ({row.served_by}): {held}"
        elif row.outcome == "mixed" and (rule is None or rule.code == "native"):
            named = f" ({row.kernels})" if row.kernels else ""
            yield (
                f"{library.path} has only PTX for {row.arch} in {row.only_ptx} of its {row.units} translation units"
                f"{named}: {held}"
            )
    for arch in archs.ptx:
        if not any(c.kind == "ptx" and not c.empty and ptx_runs_on(c.arch, arch) for c in library.facts.device_code):
            yield f"{library.path} has no PTX for {arch}, which was asked for (+PTX): {held}"


def _held(library: LibraryReport) -> str:
    return ", ".join(
        item.arch.sm.replace("sm_", "compute_") + " (PTX)" if item.kind == "ptx" else item.arch.sm
        for item in library.code
        if item.kind != "ltoir" and item.empty < item.count
    )
