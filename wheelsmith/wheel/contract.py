"""Whether a wheel holds the GPU code that was asked for.

In: a `WheelReport`, the requested archs and the recipe's rules per library. Out: a `Verdict` with one row
per library and arch. `enforce` turns a broken one into `ContractError` with the table; `check_paths` looks
for paths of the build machine. Pure, except that `check_paths` reads the wheel.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal

from wheelsmith.errors import ContractError, UsageError
from wheelsmith.gpu import ptx_runs_on, sass_runs_on
from wheelsmith.wheel.archive import open_archive

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from wheelsmith.gpu import Arch, ArchSet
    from wheelsmith.wheel.inspect import LibraryReport, WheelReport

Outcome = Literal["native", "jit", "missing", "no device code"]


@dataclass(frozen=True, slots=True)
class LibraryRule:
    """What a library must hold.

    Attributes:
        pattern: matched with `fnmatch` against the path inside the wheel; `*` crosses folders. The first
            rule that matches counts.
        code: `native`: machine code for every arch; `jit`: machine code or PTX; `none`: no GPU code at all.
        optional: whether the wheel may lack such a library.
    """

    pattern: str
    code: Literal["native", "jit", "none"]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """How one library serves one arch, and the code that does (`sm_86`, `compute_80`; empty when none)."""

    library: str
    arch: Arch
    outcome: Outcome
    served_by: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of `check`: sound when `violations`, one sentence each, is empty."""

    archs: ArchSet
    libraries: tuple[LibraryReport, ...]
    rows: tuple[Row, ...]
    violations: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The verdict as JSON values."""
        return {
            "schema_version": 1,
            "archs": str(self.archs),
            "rows": [
                {"library": r.library, "arch": str(r.arch), "outcome": r.outcome, "served_by": r.served_by}
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


def check(report: WheelReport, archs: ArchSet, rules: Sequence[LibraryRule]) -> Verdict:
    """Hold a wheel against the requested archs.

    A library that no rule names must be native if it has GPU code, and may have none. Where `archs` asks
    for PTX, a library with GPU code must hold PTX that a driver can compile for that arch.
    """
    rows = tuple(_row(library, arch) for library in report.libraries for arch in archs.native)
    return Verdict(archs, report.libraries, rows, tuple(_violations(report, archs, rules, rows)))


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
    # Whole names only: /root is not in /rootfs. The byte after the name may be in the next chunk, or missing at the end.
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
    if sass := [code for code, _ in library.sass if sass_runs_on(code, arch)]:
        return Row(library.path, arch, "native", max(sass).sm)
    if ptx := [code for code, _, _ in library.ptx if ptx_runs_on(code, arch)]:
        return Row(library.path, arch, "jit", max(ptx).sm.replace("sm_", "compute_"))
    return Row(library.path, arch, "missing" if library.has_device_code else "no device code", "")


def _violations(
    report: WheelReport, archs: ArchSet, rules: Sequence[LibraryRule], rows: Sequence[Row]
) -> Iterator[str]:
    for library in report.libraries:
        rule = next((rule for rule in rules if fnmatchcase(library.path, rule.pattern)), None)
        yield from _library_violations(library, rule, archs, [row for row in rows if row.library == library.path])
    for rule in rules:
        if not rule.optional and not any(fnmatchcase(library.path, rule.pattern) for library in report.libraries):
            yield f"No library matches {rule.pattern!r}, which the recipe's contract names."
    if not any(library.has_device_code for library in report.libraries) and not any(r.code == "none" for r in rules):
        yield f"{report.filename} holds no GPU code at all, and {archs} was asked for."


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
        if row.outcome == "missing":
            yield f"{library.path} does not run on {row.arch}: {held}"
        elif row.outcome == "jit" and (rule is None or rule.code == "native"):
            yield f"{library.path} has no native code for {row.arch}, only PTX ({row.served_by}): {held}"
    for arch in archs.ptx:
        if not any(ptx_runs_on(code, arch) for code, _, _ in library.ptx):
            yield f"{library.path} has no PTX for {arch}, which was asked for (+PTX): {held}"


def _held(library: LibraryReport) -> str:
    code = [arch.sm for arch, _ in library.sass]
    code += [f"{arch.sm.replace('sm_', 'compute_')} (PTX)" for arch, _, _ in library.ptx]
    return ", ".join(code)
