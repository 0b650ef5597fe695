"""Find recipes by name and load them with all that they refer to.

In: directories, the user's own before ours. Out: `LoadedRecipe`: the model plus the texts of its diffs and its lock,
so that planning needs no disk. Fails with `UnknownPackageError`, `UnknownVersionError` or `RecipeError` (file, line,
nearest valid key).
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version
from pydantic import BaseModel, ValidationError

from wheelsmith.errors import RecipeError, UnknownPackageError, UnknownVersionError, UsageError
from wheelsmith.recipe.lines import line_of
from wheelsmith.recipe.schema import Recipe


@dataclass(frozen=True, slots=True)
class LoadedRecipe:
    """A recipe and the files it names. `origin` is where it was read, for messages only."""

    recipe: Recipe
    origin: str
    diffs: Mapping[str, str]
    lock: str | None

    def choose(self, specifier: SpecifierSet) -> str:
        """The newest pinned version that `specifier` admits (pre-releases only if asked for by name).

        Raises:
            UnknownVersionError: none does; the remedy lists those that are pinned.
        """
        pinned = sorted((Version(v) for v in self.recipe.releases), reverse=True)
        for version in specifier.filter(pinned):  # pre-releases only where the specifier names one
            return str(version)
        raise UnknownVersionError(
            f"The recipe for {self.recipe.name} pins no version that fits {str(specifier)!r}.",
            f"Choose one of {', '.join(map(str, pinned))}, or add a release to your own copy of {self.origin}.",
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
        try:
            parsed = Requirement(requirement)
        except InvalidRequirement as error:
            raise UsageError(
                f"{requirement!r} is not a requirement (PEP 508).", "Write it as in vllm==0.15.1."
            ) from error
        if parsed.url or parsed.marker or parsed.extras:
            raise UsageError(
                f"{requirement!r} has a URL, a marker or extras, which a build cannot take.",
                "Give the name and a version, as in vllm==0.15.1.",
            )
        name = canonicalize_name(parsed.name)
        names = self.names()
        if name not in names:
            near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
            hint = f"Did you mean {', '.join(near)}? " if near else ""
            raise UnknownPackageError(
                f"There is no recipe for {name!r}.",
                f"{hint}Known are {', '.join(names)}; put your own {name}.toml into a directory given by --recipes.",
            )
        loaded = load_recipe(names[name])
        return loaded, loaded.choose(parsed.specifier)


def load_recipe(path: Path) -> LoadedRecipe:
    """Read and check one recipe file.

    Raises:
        RecipeError: unreadable, not TOML, an unknown key, a bad value, or a file it names is missing.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read: {error}.", "Check the file.") from error
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: is not valid TOML: {error}.", "Mend the line it names.") from error
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        raise _explain(path, text, error) from error
    if recipe.name != path.stem:
        raise RecipeError(
            f"{path}:{line_of(text, ['name'])}: the name {recipe.name!r} is not the file's name.",
            f"Rename the file to {recipe.name}.toml or the recipe to {path.stem}.",
        )
    diffs = {}
    for index, patch in enumerate(recipe.patch):
        if patch.diff is not None:
            diffs[patch.diff] = _companion(path, text, ("patch", index, "diff"), patch.diff)
        if patch.tree is not None and patch.tree not in {tree.name for tree in recipe.tree}:
            raise RecipeError(
                f"{path}:{line_of(text, ['patch', index, 'tree'])}: no tree is named {patch.tree!r}.",
                f"Known trees: {', '.join(tree.name for tree in recipe.tree) or 'none'}.",
            )
    lock = _companion(path, text, ("build", "lock"), recipe.build.lock) if recipe.build.lock else None
    return LoadedRecipe(recipe, str(path), diffs, lock)


def _companion(recipe: Path, text: str, key: tuple[str | int, ...], relative: str) -> str:
    try:
        # Not read_text: it would turn CRLF into LF, and a diff of a CRLF file could never match.
        return (recipe.parent / relative).read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"{recipe}:{line_of(text, key)}: {relative!r} cannot be read: {error}.",
            "The path is relative to the recipe file.",
        ) from error


def _explain(path: Path, text: str, error: ValidationError) -> RecipeError:
    """One sentence for the first problem, the others as detail."""
    problems = []
    remedy = "`wheelsmith recipes schema` prints every key with its meaning."
    # A misspelt key often makes another one missing: name the misspelling first.
    found = sorted(error.errors(include_url=False), key=lambda item: item["type"] != "extra_forbidden")
    for index, item in enumerate(found):
        location = tuple(item["loc"])
        where = f"{path}:{line_of(text, location)}"
        key = ".".join(str(part) for part in location)
        if item["type"] == "extra_forbidden":
            known = _keys_at(location[:-1])
            near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.4)
            problems.append(f"{where}: unknown key {key!r}.")
            if index == 0:
                nearest = f"The nearest valid key is {near[0]!r}; v" if near else "V"
                remedy = f"{nearest}alid here are {', '.join(sorted(known))}."
        elif item["type"] == "missing":
            problems.append(f"{where}: the key {key!r} is missing.")
        else:
            message = item["msg"].removeprefix("Value error, ")
            problems.append(f"{where}: {key}: {message}.")
    return RecipeError(problems[0], remedy, detail="\n".join(problems[1:]))


def _keys_at(location: Iterable[Any]) -> list[str]:
    """The valid keys of the table at a pydantic error location."""
    model: type[BaseModel] = Recipe
    is_element = False  # this part of the location is an index or a free key, not a field
    for part in location:
        if is_element:
            is_element = False
            continue
        field = model.model_fields.get(str(part))
        inner = _table_in(field.annotation) if field is not None else None
        if field is None or inner is None:
            return []
        model = inner
        is_element = get_origin(field.annotation) in (tuple, dict)
    return list(model.model_fields)


def _table_in(annotation: Any) -> type[BaseModel] | None:
    """The model inside `tuple[Model, ...]`, `dict[str, Model]` or `Model | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        if (found := _table_in(argument)) is not None:
            return found
    return None
