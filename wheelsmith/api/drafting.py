"""New recipes, and looking over them. See `wheelsmith` for what is raised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from wheelsmith.api.defaults import PathLike, book, chosen_index_url, disk_full, open_store
from wheelsmith.events import Listener, ignore

if TYPE_CHECKING:
    from wheelsmith.maintenance.draft import Draft
    from wheelsmith.maintenance.lint import Finding
    from wheelsmith.maintenance.origin import Finder, Origin
    from wheelsmith.maintenance.support import SupportMatrix


@dataclass(frozen=True, slots=True)
class Drafted:
    """A draft and where it was written; None: it was not to be."""

    draft: Draft
    path: Path | None


@dataclass(frozen=True, slots=True)
class Checked:
    """A recipe that was looked over."""

    name: str
    path: Path
    findings: tuple[Finding, ...]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong and nothing left undecided."""
        return all(finding.kind == "advice" for finding in self.findings)


def recipe_new(
    what: str,
    *,
    to: PathLike | None = "recipes",
    name: str | None = None,
    version: str | None = None,
    force: bool = False,
    store: PathLike | None = None,
    index_url: str | None = None,
    listener: Listener = ignore,
) -> Drafted:
    """Draft a recipe from a project's own files, none of which is run.

    What could not be decided stands in the text as `# undecided: …`.

    Args:
        what: a project of the package index (`flash-attn`, `flash-attn==2.8.3`), the path of an sdist, a directory, or
            a git repository (`git+https://…@v1.0`).
        to: directory for `NAME.toml`; None: nothing is written.
        name: of the package, where the project does not say it.
        version: of the release, likewise.
        force: whether a recipe that is there may be overwritten.
        store: where what is fetched is kept.
        index_url: package index for sdists.
        listener: told of every step.

    Raises:
        UsageError: `what` is none of these, or the recipe is there already.
        SourceError: there is no sdist, or it is no Python project.
        NetworkError: the index or the repository cannot be reached.
    """
    from wheelsmith.config import load_config
    from wheelsmith.errors import UsageError
    from wheelsmith.maintenance.draft import make_draft
    from wheelsmith.maintenance.origin import Finder
    from wheelsmith.maintenance.project import read_project
    from wheelsmith.store import write_atomic

    with disk_full():
        finder = Finder(open_store(store), chosen_index_url(index_url), load_config().mirrors, listener)
        with finder.open(what) as origin:
            project = read_project(origin.directory)
            draft = make_draft(
                project, source=origin.table, name=name or origin.name, version=version or origin.version
            )
            draft = _with_trees(draft, origin, finder)
        if to is None:
            return Drafted(draft, None)
        path = Path(to) / f"{draft.name}.toml"
        if path.exists() and not force:
            raise UsageError(f"{path} is there already.", "Write it elsewhere with --to DIR, or over it with --force.")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, draft.text.encode())
        return Drafted(draft, path)


def recipe_check(what: str | PathLike, *, recipes: Sequence[PathLike] = ()) -> Checked:
    """Look over a recipe: its form, every release's plan, placeholders, and what the draft left undecided.

    Args:
        what: the recipe's name, or its file.
        recipes: directories whose recipes go before the shipped ones.

    Raises:
        RecipeError: it is no recipe.
        UnknownPackageError: there is none of this name.
    """
    from wheelsmith.maintenance.lint import lint
    from wheelsmith.recipe.loader import load_recipe

    path = Path(what)
    loaded = load_recipe(path) if path.suffix == ".toml" else book(recipes).find(str(what))[0]
    origin = Path(loaded.origin)
    return Checked(loaded.recipe.name, origin, lint(loaded, origin.read_text("utf-8")))


def recipe_catalogue(*, recipes: Sequence[PathLike] = (), records: PathLike | None = None) -> str:
    """A table (Markdown) of every recipe, and of what its builds' records say.

    Args:
        recipes: directories whose recipes go before the shipped ones.
        records: directory of the records; default: `records/` beside the shipped recipes.

    Raises:
        UsageError: a file there is no record.
    """
    from wheelsmith.maintenance.catalogue import catalogue
    from wheelsmith.recipe.loader import load_recipe, shipped_directory

    loaded = [load_recipe(path) for path in book(recipes).names().values()]
    return catalogue(loaded, shipped_directory() / "records" if records is None else Path(records)).markdown()


def support_matrix(*, records: PathLike | None = None) -> SupportMatrix:
    """For each GPU what was built, proved and run, as the records of builds say.

    Args:
        records: directory of the records; default: `records/` beside the shipped recipes.

    Raises:
        UsageError: a file there is no record.
    """
    from wheelsmith.maintenance.catalogue import read_records
    from wheelsmith.maintenance.support import support
    from wheelsmith.recipe.loader import shipped_directory

    return support(read_records(shipped_directory() / "records" if records is None else Path(records)))


def recipe_record(
    build: PathLike, *, where: str, records: PathLike, ran: Sequence[str] = (), when: str | None = None
) -> Path:
    """Keep what a build came to for the catalogue and the support matrix.

    Args:
        build: the file that holds what `wheelsmith build --json` printed, or a store's `build.json`.
        where: the machine, in words; nothing of it is found out.
        records: directory of the records.
        ran: what ran on a GPU and what it came to, each as in `H100, 580.95.05: 11 of 11 results agree`. What the
            record says of runs of the same wheel is kept.
        when: day of the build and of the runs, as in 2026-11-26; default: today (UTC).

    Raises:
        UsageError: it is no record of a build, or a text is no run or no day.
        UnknownGpuError: no GPU of this name is known.
    """
    import json
    from datetime import UTC, date, datetime

    from wheelsmith.errors import UsageError
    from wheelsmith.maintenance.catalogue import read_run, record_of, write_record

    try:
        data = json.loads(Path(build).read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"{build} cannot be read: {error}.", "Give what `build --json` printed.") from error
    try:
        day = str(datetime.now(UTC).date() if when is None else date.fromisoformat(when))
    except ValueError as error:
        raise UsageError(f"{when!r} is not a day.", "Write it as in 2026-11-26.") from error
    runs = tuple(read_run(text, day) for text in ran)
    return write_record(record_of(data, where=where, when=day, runs=runs), Path(records))


def _with_trees(draft: Draft, origin: Origin, finder: Finder) -> Draft:
    """The draft with the trees that its CMake files and its submodules name, at the commits that they have now."""
    import tempfile

    from wheelsmith.errors import WheelsmithError
    from wheelsmith.maintenance.lock import lock_trees
    from wheelsmith.maintenance.lock_text import with_lock
    from wheelsmith.recipe.loader import load_recipe

    has_cmake = (origin.directory / "CMakeLists.txt").is_file()
    if not has_cmake and not origin.submodules:
        return draft
    try:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / f"{draft.name}.toml"
            path.write_text(draft.text, "utf-8")
            recipe = load_recipe(path).recipe
        lock = lock_trees(recipe, draft.version, origin.directory, ask=finder.upstream, submodules=origin.submodules)
        text = with_lock(draft.text, recipe, lock) if lock.changes else draft.text
        notes = (*draft.notes, *(f"while its trees were looked for: {warning}" for warning in lock.warnings))
    except WheelsmithError as error:
        if not origin.submodules and "no CMakeLists" in error.cause:
            return draft
        mark = f"# undecided: its trees could not be found out ({error.cause}): `wheelsmith recipes lock`\n"
        text, notes = mark + draft.text, draft.notes
    return replace(draft, text=text if text.endswith("\n") else f"{text}\n", notes=notes)
