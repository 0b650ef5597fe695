"""The support matrix: for each GPU, which wheels were built, proved and run, with which driver, CUDA, torch and Python.

In: records of builds. Out: rows, and a page (Markdown). A row is a record's word for one compute capability; nothing is
inferred from another wheel, GPU or driver. Pure; nothing fails.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from packaging.version import Version

from wheelsmith.gpu.arch import Arch, ArchSet
from wheelsmith.gpu.facts import arch_facts, family, gpus_of
from wheelsmith.gpu.names import find_gpu

if TYPE_CHECKING:
    from wheelsmith.documents.recipes import SupportDocument
    from wheelsmith.maintenance.catalogue import Record, Run

_COLUMNS = ("package", "found in the wheel", "run", "driver", "CUDA", "torch", "Python", "built")
_HEAD = """\
# Support matrix

What was built, proved and run, GPU by GPU. Made by `wheelsmith recipes support` from `recipes/records/`, which builds
wrote; the same as data: `wheelsmith recipes support --json`. What is not here was not tried: it may work, and
`wheelsmith plan` says whether it can be built.

* **found in the wheel**: the judge's words about the finished wheel, for this compute capability alone.
* **run**: on this GPU, with this driver, and what it came to; where it says *not run*, no GPU has seen the wheel.
* **driver**: the oldest one of the tables with which the judge says that the wheel runs; not a driver that was tried.
* **Python**: the one that it was built with, and what Pythons take it, as the wheel's name says.

Of each wheel there is more in the [catalogue](catalogue.md): units, CPU-seconds, size.
"""


@dataclass(frozen=True, slots=True)
class Support:
    """One wheel for one compute capability.

    Attributes:
        record: the build.
        arch: one that was asked for.
        proved: the verdict's headline for it; for all archs where the record has them together.
        driver: the oldest driver; empty: none is known, or it was not recorded.
        runs: on GPUs of it.
    """

    record: Record
    arch: Arch
    proved: str
    driver: str
    runs: tuple[Run, ...]

    @property
    def tag(self) -> str:
        """What Pythons take the wheel, as its name says: `cp311-cp311`; empty: not recorded."""
        return "-".join(self.record.wheel.removesuffix(".whl").split("-")[2:4])

    @property
    def options(self) -> str:
        """The recipe's options as this build had them, as in `fa3=off`."""
        return ", ".join(f"{name}={'on' if value else 'off'}" for name, value in self.record.options.items())


@dataclass(frozen=True, slots=True)
class SupportMatrix:
    """All rows, the newest compute capability first."""

    rows: tuple[Support, ...]

    def markdown(self) -> str:
        """The page."""
        lines = [_HEAD]
        for arch, rows in groupby(self.rows, key=lambda row: row.arch):
            names = [gpu.name for gpu in gpus_of(arch)]
            machine = arch_facts(arch).machine
            lines += [f"## {arch}: {family(arch)}", "", f"{', '.join(names)}{f' ({machine})' if machine else ''}", ""]
            lines += [f"| {' | '.join(_COLUMNS)} |", f"|{'---|' * len(_COLUMNS)}"]
            lines += [f"| {' | '.join(_cells(row))} |" for row in rows] + [""]
        return "\n".join(lines).rstrip() + "\n"

    def to_dict(self) -> SupportDocument:
        """As JSON."""
        return {
            "schema_version": 1,
            "rows": [
                {
                    "arch": str(row.arch),
                    "gpus": [gpu.name for gpu in gpus_of(row.arch)],
                    "package": row.record.package,
                    "version": row.record.version,
                    "wheel": row.record.wheel,
                    "sha256": row.record.sha256,
                    "cuda": row.record.toolkit,
                    "torch": row.record.torch,
                    "python": row.record.python,
                    "python_tag": row.tag,
                    "options": dict(row.record.options),
                    "oldest_driver": row.driver,
                    "built": row.record.when,
                    "where": row.record.where,
                    "proved": row.proved,
                    "runs": [
                        {"gpu": run.gpu, "driver": run.driver, "when": run.when, "result": run.result}
                        for run in row.runs
                    ],
                }
                for row in self.rows
            ],
        }


def support(records: Iterable[Record]) -> SupportMatrix:
    """Every record's archs as rows."""
    rows = [_row(record, arch) for record in records for arch in ArchSet.parse(record.archs).native]
    rows.sort(key=lambda row: (row.record.package, Version(row.record.version), row.record.archs, row.record.wheel))
    return SupportMatrix(tuple(sorted(rows, key=lambda row: row.arch, reverse=True)))


def _row(record: Record, arch: Arch) -> Support:
    return Support(
        record,
        arch,
        record.proved.get(str(arch), record.proof),
        record.drivers.get(str(arch)) or "",
        tuple(run for run in record.runs if find_gpu(run.gpu).arch == arch.base),
    )


def _cells(row: Support) -> tuple[str, ...]:
    record = row.record
    ran = "; ".join(f"**{run.gpu}**, driver {run.driver}, {run.when}: {run.result}" for run in row.runs)
    cuda, python = (".".join(version.split(".")[:2]) for version in (record.toolkit, record.python))
    return (
        f"{record.package} {record.version}{f' ({row.options})' if row.options else ''}",
        *(row.proved, ran or "not run", row.driver or "not recorded"),
        *(cuda, record.torch or "-", f"{python}{f', `{row.tag}`' if row.tag else ''}", record.when),
    )
