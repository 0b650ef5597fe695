"""Find recipes by name and load them with all that they refer to.

In: directories, the user's own before ours. Out: `LoadedRecipe`: the model plus the texts of its diffs and its lock,
so that planning needs no disk. Fails with `UnknownPackageError`, `UnknownVersionError` or `RecipeError` (file, line,
nearest valid key).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from wheelsmith.errors import RecipeError, UnknownPackageError, UnknownVersionError
from wheelsmith.fsutil import read_whole
from wheelsmith.packing import digest_of_directory
from wheelsmith.recipe.lockfile import FLAW_REMEDY, lock_flaw
from wheelsmith.recipe.requirement import read_requirement, with_version
from wheelsmith.recipe.schema import Recipe
from wheelsmith.tomlfile import line_of, read_toml

_LARGEST = 16 << 20  # bytes of a diff or a lock


@dataclass(frozen=True, slots=True)
class LoadedRecipe:
    """A recipe and the files it names. `origin` is where it was read, for messages only; `locks` are by file name;
    `directories` has the `file:` URL and the digest of each release's source that is a directory here."""

    recipe: Recipe
    origin: str
    diffs: Mapping[str, str]
    locks: Mapping[str, str]
    directories: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def lock(self) -> str | None:
        """The text of the lock of build requirements; None: it names none."""
        return self.locks[self.recipe.build.lock] if self.recipe.build.lock else None

    def at(self, version: str) -> LoadedRecipe:
        """The same, as it is for one version of the package."""
        return replace(self, recipe=self.recipe.at(version))

    def fitting(self, specifier: SpecifierSet) -> tuple[str, ...]:
        """The pinned versions that `specifier` admits, newest first (pre-releases only where it names one)."""
        pinned = sorted(map(Version, self.recipe.releases), reverse=True)
        return tuple(map(str, specifier.filter(pinned)))

    def choose(self, specifier: SpecifierSet) -> str:
        """The newest pinned version that `specifier` admits (pre-releases only if asked for by name).

        Raises:
            UnknownVersionError: none does; the remedy lists those that are pinned.
        """
        if fitting := self.fitting(specifier):
            return fitting[0]
        pinned = sorted(map(Version, self.recipe.releases), reverse=True)
        raise UnknownVersionError(
            f"The recipe for {self.recipe.name} pins no version that fits {str(specifier)!r}.",
            f"Choose one of {', '.join(f'{self.recipe.name}=={version}' for version in pinned)}; or rehearse another:"
            f" `wheelsmith recipes bump {self.recipe.name} VERSION`, and `--write` in your own copy of {self.origin}.",
        )


def shipped_directory() -> Path:
    """The directory of the recipes that come with wheelsmith: inside the package; in a checkout, at its top level."""
    package = Path(__file__).parents[1]
    installed = package / "shipped_recipes"
    return installed if installed.is_dir() else package.parent / "recipes"


class RecipeBook:
    """Recipes of several directories; the first directory that has a name wins."""

    def __init__(self, directories: Sequence[Path] = ()) -> None:
        self.directories = (*directories, shipped_directory())

    def names(self) -> dict[str, Path]:
        """Every recipe's name and file."""
        found: dict[str, Path] = {}
        for directory in self.directories:
            for path in sorted(directory.glob("*.toml")):
                found.setdefault(path.stem, path)
        return dict(sorted(found.items()))

    def find(self, requirement: str) -> tuple[LoadedRecipe, str]:
        """The recipe and the version for a requirement such as `vllm==0.15.1` or `cuvec`.

        Raises:
            UsageError: the text is no plain requirement.
            UnknownPackageError: no recipe has this name.
            UnknownVersionError: the recipe pins no fitting version.
            RecipeError: the recipe's file is not valid.
        """
        wanted = read_requirement(requirement)
        name = wanted.name
        names = self.names()
        if name not in names:
            raise UnknownPackageError(f"There is no recipe for {name!r}.", _nearest(requirement, name, names))
        loaded = load_recipe(names[name])
        return loaded, loaded.choose(wanted.specifier)


def _nearest(requirement: str, name: str, names: Mapping[str, Path]) -> str:
    """What to do where there is no such recipe: a slip of the hand, or a recipe to be written."""
    meant = with_version(requirement)
    if meant is not None and read_requirement(meant).name in names:
        return f"Did you mean {meant}?"
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    draft = f"`wheelsmith recipes new {name}` drafts a recipe from the package index; --recipes DIR names your own."
    return f"{hint}{draft} `wheelsmith recipes` lists the {len(names)} that there are."


def load_recipe(path: Path) -> LoadedRecipe:
    """Read and check one recipe file.

    Raises:
        RecipeError: unreadable, not TOML, an unknown key, a bad value, or a file it names is missing.
    """
    recipe, text = read_toml(
        path, Recipe, RecipeError, "`wheelsmith recipes schema` prints every key with its meaning."
    )
    if recipe.name != path.stem:
        raise RecipeError(
            f"{path}:{line_of(text, ['name'])}: the name {recipe.name!r} is not the file's name.",
            f"Rename the file to {recipe.name}.toml or the recipe to {path.stem}.",
        )
    diffs: dict[str, str] = {}
    for index, patch in enumerate(recipe.patch):
        if patch.diff is not None:
            diffs[patch.diff] = _companion(path, text, ("patch", index, "diff"), patch.diff)
    names = {tree.name for tree in recipe.tree}
    trees = [("patch", index, table.tree) for index, table in enumerate(recipe.patch)]
    trees += [("arch_list", index, item.tree) for index, item in enumerate(recipe.arch_list)]
    for key, index, tree in trees:
        if tree is not None and tree not in names:
            raise RecipeError(
                f"{path}:{line_of(text, [key, index, 'tree'])}: no tree is named {tree!r}.",
                f"Known trees: {', '.join(tree.name for tree in recipe.tree) or 'none'}.",
            )
    named: list[tuple[tuple[str | int, ...], str | None]] = [(("build", "lock"), recipe.build.lock)]
    named += [(("range", index, "lock"), item.lock) for index, item in enumerate(recipe.range)]
    locks = {name: _companion(path, text, key, name) for key, name in named if name}
    for name, lock in locks.items():
        if (flaw := lock_flaw(lock)) is not None:
            raise RecipeError(f"{path.parent / name}:{flaw.line}: {flaw.why}.", FLAW_REMEDY)
    return LoadedRecipe(recipe, str(path), diffs, locks, dict(_directories(path, recipe)))


def _directories(recipe: Path, read: Recipe) -> Iterator[tuple[str, tuple[str, str]]]:
    for version, release in read.releases.items():
        if release.source.directory is None:
            continue
        named = release.source.directory.path
        try:
            place = (recipe.parent / Path(named).expanduser()).resolve()
            if not place.is_dir():
                raise OSError("it is not there")
            # Somebody else's recipe must not carry a home, keys or the whole disk into a build.
            if not any((place / name).is_file() for name in ("pyproject.toml", "setup.py")):
                raise OSError("it is no project: it has neither pyproject.toml nor setup.py")
            yield version, (place.as_uri(), digest_of_directory(place))
        except (OSError, RuntimeError, ValueError) as error:
            raise RecipeError(
                f"{recipe}: the source of {version} is the directory {named!r}, which cannot be taken: {error}.",
                "Correct releases.….source.directory.path; it may be relative to the recipe file.",
            ) from error


def _companion(recipe: Path, text: str, key: tuple[str | int, ...], relative: str) -> str:
    try:
        path = recipe.parent / relative
        # A link that leads away would bring a file of the caller's into plan, errors and provenance.
        if not path.resolve().is_relative_to(recipe.parent.resolve()):
            raise OSError("it lies outside of the recipe's directory")
        # Not as text: that would turn CRLF into LF, and a diff of a CRLF file could never match.
        return read_whole(path, _LARGEST).decode()
    except (OSError, RuntimeError, ValueError) as error:
        raise RecipeError(
            f"{recipe}:{line_of(text, key)}: {relative!r} cannot be read: {error}.",
            "The path is relative to the recipe file.",
        ) from error
