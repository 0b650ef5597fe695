"""What can be built, and the upkeep of recipes: pins, next versions, mirrors. See `wheelsmith` for what is raised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from wheelsmith.api.building import TargetOptions, plan
from wheelsmith.api.defaults import PathLike, book, chosen_index_url, disk_full, open_store
from wheelsmith.errors import UsageError
from wheelsmith.events import Listener, ignore

if TYPE_CHECKING:
    from wheelsmith.documents.table import JsonValue
    from wheelsmith.maintenance.lock import Lock
    from wheelsmith.maintenance.mirror import Mirrored
    from wheelsmith.maintenance.update import Bump
    from wheelsmith.maintenance.workflow import Upkeep
    from wheelsmith.planning.model import Source
    from wheelsmith.recipe.loader import LoadedRecipe


class ReadingOptions(TypedDict, total=False):
    """How a version's source is read: keywords of `recipe_lock` and `recipe_bump`."""

    source: PathLike | None
    write: bool
    offline: bool
    define: Mapping[str, str] | None
    store: PathLike | None
    index_url: str | None
    recipes: Sequence[PathLike]


def recipes(*, recipes: Sequence[PathLike] = ()) -> tuple[LoadedRecipe, ...]:
    """Every recipe that is found, by name."""
    from wheelsmith.recipe.loader import load_recipe

    return tuple(load_recipe(path) for path in book(recipes).names().values())


def recipe_schema() -> dict[str, JsonValue]:
    """JSON Schema of a recipe file."""
    from wheelsmith.recipe.schema import json_schema

    return json_schema()


def recipe_lock(
    requirement: str,
    *,
    source: PathLike | None = None,
    write: bool = False,
    offline: bool = False,
    define: Mapping[str, str] | None = None,
    store: PathLike | None = None,
    index_url: str | None = None,
    recipes: Sequence[PathLike] = (),
    listener: Listener = ignore,
) -> Lock:
    """Find every tree that a project's build would fetch, and compare it with what the recipe pins.

    Args:
        requirement: the package and, with `source`, any version of it; without, one that the recipe pins.
        source: a directory or an archive to read instead of fetching the version's source.
        write: change the recipe's file; comments and order stay, and other releases keep their pins.
        offline: ask nobody: tags are compared by name, submodules are not looked at.
        define: CMake variables, as -D would set them, that decide what is fetched.
        store: where what is fetched is kept.
        index_url: package index for sdists.
        recipes: directories whose recipes go before the shipped ones.
        listener: told of every step.

    Raises:
        NetworkError, SourceError: upstream cannot be asked, or does not have what the project names.
        RecipeError: the recipe cannot be changed line by line.
    """
    from wheelsmith.maintenance.lock_text import with_lock

    loaded, version = _chosen(requirement, recipes, free=source is not None)
    upkeep = _upkeep(loaded, offline, store, index_url, listener)
    with disk_full(), upkeep.source(version, source) as read:
        lock = read.lock(version, define)
    if write and lock.changes:
        _write(loaded, with_lock(_text(loaded), loaded.recipe, lock))
    return lock


def recipe_bump(
    name: str,
    version: str,
    *,
    source: PathLike | None = None,
    sdist: bool = False,
    write: bool = False,
    offline: bool = False,
    define: Mapping[str, str] | None = None,
    store: PathLike | None = None,
    index_url: str | None = None,
    recipes: Sequence[PathLike] = (),
    listener: Listener = ignore,
) -> Bump:
    """Rehearse a version of a package: which patches match, which pins and requirements change.

    The source is `source`, else what the recipe pins for the version, else the same kind of source as its newest
    release: the tag of that version, or the sdist on the index.

    Args:
        name: the package.
        version: the version to rehearse.
        source: a directory or an archive.
        sdist: read the sdist from the index, whatever the recipe's other releases are.
        write: add the release and the pins to the recipe's file, unless a patch does not match.
        offline, define, store, index_url, recipes, listener: see `recipe_lock`.

    Raises:
        UsageError: `version` is none (PEP 440), or `write` with a source that no recipe can name.
        NetworkError, SourceError, RecipeError: as `recipe_lock`.
    """
    from wheelsmith.maintenance.lock_text import with_lock, with_release
    from wheelsmith.maintenance.update import bump, wanted_patches
    from wheelsmith.planning.pins import locked_pins

    loaded, _ = _chosen(name, recipes, free=True)
    recipe = loaded.recipe
    version = _version(version, recipe.releases)
    upkeep = _upkeep(loaded, offline, store, index_url, listener)
    with disk_full():
        found = None if source is not None else upkeep.find(version, sdist=sdist)
        with upkeep.source(version, source, found) as read:
            lock = read.lock(version, define)
            wanted = wanted_patches(recipe, version)
            patches = read.rehearse(lock, wanted)
            python = recipe.defaults.python or "3.12"
            pins = dict(locked_pins(loaded.lock, python)) if loaded.lock else {}
            result = bump(recipe, read.directory, source=read.what, lock=lock, patches=patches, pins=pins)
    if write and not result.broken:
        text = with_lock(_text(loaded), recipe, lock) if lock.changes else _text(loaded)
        if version not in recipe.releases:
            if found is None:
                raise UsageError(
                    "A directory or file of this machine cannot become a recipe's source.",
                    "Leave --source away, or use --sdist; the rehearsal itself needs no --write.",
                )
            text = with_release(text, version, _release(found))
        _write(loaded, text)
    return result


def recipe_mirror(
    requirement: str,
    to: PathLike,
    *,
    offline: bool = False,
    store: PathLike | None = None,
    index_url: str | None = None,
    listener: Listener = ignore,
    **target: Unpack[TargetOptions],
) -> tuple[Mirrored, ...]:
    """Fetch every source of a build and write it to a directory that `[mirrors]` can name, for a site without network.

    `to` gets a `config.toml` with the mirrors: WHEELSMITH_CONFIG may name it wherever the directory is carried.

    Raises:
        NetworkError, SourceError, HashMismatchError, OfflineError, and those of `plan`.
    """
    from wheelsmith.config import load_config
    from wheelsmith.maintenance.mirror import copy_sources
    from wheelsmith.sources.fetch import fetch

    with disk_full():
        made, opened, index = plan(requirement, **target), open_store(store), chosen_index_url(index_url)
        mirrors = load_config().mirrors
        fetch(made, opened, offline=offline, index_url=index, mirrors=mirrors, listener=listener)
        return copy_sources(made, opened, Path(to), index)


def _chosen(requirement: str, directories: Sequence[PathLike], *, free: bool) -> tuple[LoadedRecipe, str]:
    """The recipe and the version; `free`: the recipe need not pin it."""
    from packaging.requirements import InvalidRequirement, Requirement

    found = book(directories)
    if not free:
        return found.find(requirement)
    try:
        parsed = Requirement(requirement)
        exact = [item.version for item in parsed.specifier if item.operator == "=="]
        loaded, newest = found.find(parsed.name)
        return loaded, _version(exact[0], loaded.recipe.releases) if exact else newest
    except InvalidRequirement as error:
        raise UsageError(f"{requirement!r} names no version (PEP 440).", "Write it as in vllm==0.15.1.") from error


def _version(text: str, releases: Iterable[str]) -> str:
    """A version as the recipe writes it, if it has it: 0.16 is 0.16.0 (PEP 440, "Version comparison")."""
    from packaging.version import InvalidVersion, Version

    try:
        version = Version(text)
    except InvalidVersion as error:
        raise UsageError(f"{text!r} is not a version (PEP 440).", "Write it as in 0.16.0.") from error
    return next((release for release in releases if Version(release) == version), str(version))


def _upkeep(
    loaded: LoadedRecipe, offline: bool, store: PathLike | None, index_url: str | None, listener: Listener
) -> Upkeep:
    from wheelsmith.config import load_config
    from wheelsmith.maintenance.workflow import Upkeep

    mirrors = load_config().mirrors
    return Upkeep(loaded, offline, open_store(store), chosen_index_url(index_url), mirrors, listener)


def _release(source: Source) -> str:
    """The table of a release's source, behind `source.`, as text."""
    from wheelsmith.planning.model import GitSource, SdistSource

    if isinstance(source, GitSource):
        tag = f'\ntag = "{source.tag}"' if source.tag else ""
        return f'git]\nurl = "{source.url}"\ncommit = "{source.commit}"{tag}'
    assert isinstance(source, SdistSource), "`find` gives one of the two"  # noqa: S101
    return f'sdist]\nsha256 = "{source.sha256}"'


def _text(loaded: LoadedRecipe) -> str:
    return Path(loaded.origin).read_bytes().decode()


def _write(loaded: LoadedRecipe, text: str) -> None:
    from wheelsmith.errors import RecipeError
    from wheelsmith.store import write_atomic

    try:
        write_atomic(Path(loaded.origin), text.encode())
    except PermissionError as error:
        raise RecipeError(
            f"The recipe {loaded.origin} cannot be written.",
            "Copy it to a directory of your own, and name that with --recipes.",
        ) from error
