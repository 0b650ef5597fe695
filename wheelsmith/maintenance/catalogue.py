"""The catalogue: which recipes there are, and which of them were built, where, when and how, from records alone.

In: recipes, and records of builds. Out: a table (Markdown). A record is what `build.json` tells, without paths of a
machine. Nothing is typed by hand: what has no record is "planned only". Fails with `UsageError` on what is no record.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec
from packaging.version import Version

from wheelsmith.compat.verdict import Outcome, Row, headline
from wheelsmith.errors import UsageError
from wheelsmith.gpu.arch import Arch
from wheelsmith.gpu.drivers import Driver
from wheelsmith.gpu.names import find_gpu
from wheelsmith.recipe.loader import LoadedRecipe

if TYPE_CHECKING:
    from wheelsmith.documents.wheels import VerdictRow

_COLUMNS = (
    *("package", "version", "archs", "built", "Python", "toolkit", "torch", "units", "CPU-seconds", "wheel, bytes"),
    *("proof", "imports", "on a GPU"),
)


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """The wheel on one GPU.

    Attributes:
        gpu: name, as in the tables of GPUs.
        driver: version.
        when: day (UTC).
        result: what ran, and what it came to.
    """

    gpu: str
    driver: str
    when: str
    result: str


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One build.

    Attributes:
        package: normalized name.
        version: with its local part.
        archs: as in `8.6;12.0`.
        when: day of the build (UTC).
        where: the machine, in words.
        python: version.
        toolkit: CUDA release.
        torch: version; empty: it has none.
        options: of the recipe, as the build had them.
        units: compilers that ended well.
        cpu_seconds: of all compilers.
        size: of the wheel, bytes.
        sha256: of the wheel.
        wheel: its name; empty: not recorded.
        proof: the verdict's headline.
        proved: the headline for each arch alone; empty: not recorded.
        drivers: the oldest driver for each arch; None: the judge knows none; empty: not recorded.
        imports: what importing it came to.
        runs: what running it on a GPU came to; empty: it was not run.
    """

    package: str
    version: str
    archs: str
    when: str
    where: str
    python: str
    toolkit: str
    torch: str
    options: dict[str, bool] = {}
    units: int
    cpu_seconds: float
    size: int
    sha256: str
    wheel: str = ""
    proof: str
    proved: dict[str, str] = {}
    drivers: dict[str, str | None] = {}
    imports: str = ""
    runs: tuple[Run, ...] = ()


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Recipes and the newest record of each release and arch list."""

    recipes: tuple[LoadedRecipe, ...]
    records: tuple[Record, ...]

    def markdown(self) -> str:
        """The table, and how many were built."""
        rows = [row for loaded in self.recipes for row in self._rows(loaded)]
        built = {record.package for record in self.records}
        names = {loaded.recipe.name for loaded in self.recipes}
        lines = [
            "# Catalogue",
            "",
            "Made by `wheelsmith recipes catalogue` from the recipes and from `recipes/records/`, which builds wrote.",
            f"{len(names)} recipes; {len(names & built)} of them built, proved and imported as the rows say; the others"
            " are planned only: they were never compiled here.",
            "",
            f"| {' | '.join(_COLUMNS)} |",
            f"|{'---|' * len(_COLUMNS)}",
            *(f"| {' | '.join(row)} |" for row in rows),
        ]
        return "\n".join(lines) + "\n"

    def _rows(self, loaded: LoadedRecipe) -> list[tuple[str, ...]]:
        recipe = loaded.recipe
        own = [record for record in self.records if record.package == recipe.name]
        if not own:
            newest = max(recipe.releases, key=Version)
            defaults = loaded.at(newest).recipe.defaults
            planned = (recipe.name, newest, str(defaults.archs), "planned only", "", defaults.cuda)
            return [(*planned, defaults.torch or "-", *[""] * (len(_COLUMNS) - len(planned) - 1))]
        return [
            (
                *(record.package, record.version, record.archs, f"{record.when}, {record.where}", record.python),
                *(record.toolkit, record.torch or "-", str(record.units), f"{record.cpu_seconds:,.0f}"),
                *(f"{record.size:,}", record.proof, record.imports or "-", _ran(record)),
            )
            for record in sorted(own, key=lambda record: (Version(record.version), record.archs))
        ]


def _ran(record: Record) -> str:
    return "; ".join(f"{run.gpu}, driver {run.driver}: {run.result}" for run in record.runs) or "not run"


def read_run(text: str, when: str) -> Run:
    """A run from `GPU, DRIVER: RESULT`.

    Raises:
        UsageError: it has another form, or the driver is none.
        UnknownGpuError: no GPU of this name is known.
    """
    head, colon, result = text.partition(":")
    gpu, comma, driver = head.partition(",")
    if not (colon and comma and result.strip()):
        raise UsageError(f"{text!r} does not say what ran where.", 'Write it as in "H100, 580.95.05: 11 of 11 agree".')
    return Run(gpu=find_gpu(gpu).name, driver=str(Driver.parse(driver.strip())), when=when, result=result.strip())


def read_records(directory: Path) -> tuple[Record, ...]:
    """Every record below a directory.

    Raises:
        UsageError: a file is none.
    """
    return tuple(_read(path) for path in sorted(directory.glob("*.json")))


def _read(path: Path) -> Record:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except (msgspec.DecodeError, OSError) as error:
        raise UsageError(f"{path} is no record of a build: {error}.", "Remove it, or make it again.") from error


def record_of(build: Mapping[str, object], *, where: str, when: str, runs: tuple[Run, ...] = ()) -> Record:
    """The record of what `wheelsmith build --json` printed, or of a store's `build.json`.

    Raises:
        UsageError: it is neither.
    """
    record = build.get("record", build)
    try:
        data = json.loads(json.dumps(record))
        plan, tools, summary = data["plan"], data["toolchain"], data["compile"]["summary"]
        return Record(
            package=plan["name"],
            version=f"{plan['version']}+{plan['local_version']}",
            archs=plan["target"]["archs"],
            when=when,
            where=where,
            python=tools["python"],
            toolkit=tools["cuda"],
            torch=plan["target"]["torch"] or "",
            options=plan["options"],
            units=summary["units"],
            cpu_seconds=round(summary["cpu_seconds"], 1),
            size=data["wheel"]["size"],
            sha256=data["wheel"]["sha256"],
            wheel=data["wheel"]["filename"],
            proof=data["verdict"]["headline"],
            proved=_by_arch(data["verdict"]["rows"]),
            drivers=data.get("drivers", {}),
            imports="; ".join(f"{name}: {says}" for name, says in data.get("imports", {}).items()),
            runs=runs,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"This is no record of a build: {error!r}.", "Give what `build --json` printed.") from error


def _by_arch(verdict: Sequence[VerdictRow]) -> dict[str, str]:
    rows: dict[str, list[Row]] = {}
    for facts in verdict:
        row = Row(
            library=facts["library"],
            arch=Arch.parse(facts["arch"]),
            outcome=cast("Outcome", facts["outcome"]),
            served_by=facts["served_by"],
            only_ptx=facts["only_ptx"],
            units=facts["units"],
            lacking=facts["lacking"],
            allowed=facts["allowed"],
        )
        rows.setdefault(facts["arch"], []).append(row)
    return {arch: headline(own) for arch, own in rows.items()}


def write_record(record: Record, directory: Path) -> Path:
    """Keep it under a name of its own: what the newest build of the same wheel's name for the same archs came to.

    What the same wheel, byte for byte, did on GPUs before is kept.
    """
    directory.mkdir(parents=True, exist_ok=True)
    tags = "-".join(record.wheel.removesuffix(".whl").split("-")[2:])
    path = directory / f"{record.package}-{record.version}-{tags}-{record.archs.replace(';', '_')}.json"
    if path.exists() and (before := _read(path)).sha256 == record.sha256:
        runs = tuple(dict.fromkeys((*before.runs, *record.runs)))
        record = msgspec.structs.replace(record, runs=runs)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")
    return path


def catalogue(recipes: Iterable[LoadedRecipe], records: Path) -> Catalogue:
    """All of it."""
    return Catalogue(tuple(recipes), read_records(records) if records.is_dir() else ())
