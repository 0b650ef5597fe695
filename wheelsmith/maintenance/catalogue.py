"""The catalogue: which recipes there are, and which of them were built, where, when and how, from records alone.

In: recipes, and records of builds. Out: a table (Markdown). A record is what `build.json` tells, without paths of a
machine. Nothing is typed by hand: what has no record is "planned only". Fails with `UsageError` on what is no record.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
from packaging.version import Version

from wheelsmith.errors import UsageError
from wheelsmith.recipe.loader import LoadedRecipe

_COLUMNS = (
    *("package", "version", "archs", "built", "Python", "toolkit", "torch", "units", "CPU-seconds", "wheel, bytes"),
    *("proof", "imports", "on a GPU"),
)


class Record(msgspec.Struct, frozen=True, kw_only=True):
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
        units: compilers that ended well.
        cpu_seconds: of all compilers.
        size: of the wheel, bytes.
        sha256: of the wheel.
        proof: the verdict's headline.
        imports: what importing it came to.
        smoke: what the recipe's smoke test on a GPU came to; empty: it was not run.
    """

    package: str
    version: str
    archs: str
    when: str
    where: str
    python: str
    toolkit: str
    torch: str
    units: int
    cpu_seconds: float
    size: int
    sha256: str
    proof: str
    imports: str = ""
    smoke: str = ""


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
                *(f"{record.size:,}", record.proof, record.imports or "-", record.smoke or "not run"),
            )
            for record in sorted(own, key=lambda record: (Version(record.version), record.archs))
        ]


def read_records(directory: Path) -> tuple[Record, ...]:
    """Every record below a directory.

    Raises:
        UsageError: a file is none.
    """
    found = []
    for path in sorted(directory.glob("*.json")):
        try:
            found.append(msgspec.json.decode(path.read_bytes(), type=Record))
        except (msgspec.DecodeError, OSError) as error:
            raise UsageError(f"{path} is no record of a build: {error}.", "Remove it, or make it again.") from error
    return tuple(found)


def record_of(build: Mapping[str, object], *, where: str, when: str, smoke: str = "") -> Record:
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
            units=summary["units"],
            cpu_seconds=round(summary["cpu_seconds"], 1),
            size=data["wheel"]["size"],
            sha256=data["wheel"]["sha256"],
            proof=data["verdict"]["headline"],
            imports="; ".join(f"{name}: {says}" for name, says in data.get("imports", {}).items()),
            smoke=smoke,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"This is no record of a build: {error!r}.", "Give what `build --json` printed.") from error


def write_record(record: Record, directory: Path) -> Path:
    """Keep it under a name of its own; the newest build of a version counts."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{record.package}-{record.version}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")
    return path


def catalogue(recipes: Iterable[LoadedRecipe], records: Path) -> Catalogue:
    """All of it."""
    return Catalogue(tuple(recipes), read_records(records) if records.is_dir() else ())
