"""What can be built, and the upkeep of recipes: pins, next versions, mirrors. See `wheelsmith` for what is raised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from wheelsmith.api.building import TargetOptions, plan
from wheelsmith.api.defaults import PathLike, book, chosen_index_url, disk_full, open_store
from wheelsmith.errors import UsageError
from wheelsmith.events import Listener, ignore

if TYPE_CHECKING:
    from wheelsmith.documents.recipes import RecipesStatusDocument
    from wheelsmith.documents.table import JsonValue
    from wheelsmith.maintenance.lock import Lock
    from wheelsmith.maintenance.mirror import Mirrored
    from wheelsmith.maintenance.update import Bump, Bumps
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
    version: str = "newest",
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
) -> Bumps:
    """Rehearse versions of a package: what changes, and the recipe that they would need.

    The source is `source`, else what the recipe pins for the version, else the same kind of source as its newest
    release: the tag of that version, or the sdist on the index. Offline, the store and mirrors on this machine are
    asked. Of several versions each is rehearsed on the recipe that the one before proposes.

    Args:
        name: the package.
        version: the version to rehearse; `A..B`: every one from A to B that the recipe does not pin; `newest`:
            the newest that upstream has.
        source: a directory or an archive, for one version.
        sdist: read the sdist from the index, whatever the recipe's other releases are.
        write: put the proposal into the recipe's file; what it leaves open is marked in it.
        offline, define, store, index_url, recipes, listener: see `recipe_lock`.

    Raises:
        UsageError: `version` is none (PEP 440).
        NetworkError, SourceError, RecipeError: as `recipe_lock`.
    """
    from dataclasses import replace

    from wheelsmith.maintenance.recipe_text import parsed
    from wheelsmith.maintenance.status import keep
    from wheelsmith.maintenance.update import Bumps

    loaded, _ = _chosen(name, recipes, free=True)
    upkeep = _upkeep(loaded, offline, store, index_url, listener)
    before = text = _text(loaded)
    steps = []
    with disk_full():
        for one in _versions(version, upkeep):
            current = replace(loaded, recipe=parsed(text))
            step = _step(replace(upkeep, loaded=current), one, text, source=source, sdist=sdist, define=define)
            text = step.text
            steps.append(step)
    result = Bumps(loaded.recipe.name, loaded.origin, before, tuple(steps))
    keep(result, upkeep.store)
    if write and result.text != before:
        _write(loaded, result.text)
    return result


def _step(
    upkeep: Upkeep,
    version: str,
    text: str,
    *,
    source: PathLike | None,
    sdist: bool,
    define: Mapping[str, str] | None,
) -> Bump:
    """One version on a recipe's text."""
    import time
    from dataclasses import replace

    from wheelsmith.cmake.extensions import cuda_branches
    from wheelsmith.fsutil import sha256_of
    from wheelsmith.maintenance.update import bump
    from wheelsmith.planning.model import SdistSource

    began = time.monotonic()
    name = upkeep.loaded.recipe.name
    found = None if source is not None else upkeep.find(version, sdist=sdist)
    with upkeep.source(version, source, found) as read:
        if source is not None and Path(source).is_file():
            found = SdistSource(name, version, sha256_of(Path(source)))
        reading = read.reading(version, define, "" if found is None else _release(found))
        made = bump(name, text, read.what, cuda_branches(read.directory), reading)
    return replace(made, seconds=time.monotonic() - began)


def _versions(text: str, upkeep: Upkeep) -> tuple[str, ...]:
    """The versions that are meant, the oldest first."""
    from packaging.version import InvalidVersion, Version

    releases = upkeep.loaded.recipe.releases
    if text != "newest" and ".." not in text:
        return (_version(text, releases),)
    known = [Version(release) for release in releases]
    if text == "newest":
        newest = upkeep.upstream_versions()[-1:]
        return tuple(one for one in newest if Version(one) > max(known))
    try:
        first, last = (Version(part) for part in text.split("..", 1))
    except (InvalidVersion, ValueError) as error:
        raise UsageError(f"{text!r} is no range of versions.", "Write it as in 0.17.0..0.33.0.") from error
    if first > last:
        raise UsageError(f"{text!r} runs backwards: no version lies in it.", f"Write {last}..{first}.")
    return tuple(
        one for one in upkeep.upstream_versions() if first <= Version(one) <= last and Version(one) not in known
    )


def recipe_status(
    names: Sequence[str] = (),
    *,
    offline: bool = False,
    store: PathLike | None = None,
    index_url: str | None = None,
    recipes: Sequence[PathLike] = (),
    listener: Listener = ignore,
) -> RecipesStatusDocument:
    """How recipes stand to their upstream: newest, how far behind, what was last rehearsed, and what blocks.

    Args:
        names: the packages; empty: every recipe that is found.
        offline: ask the store and mirrors on this machine alone.
        store, index_url, recipes, listener: see `recipe_lock`.

    Raises:
        UnknownPackageError, RecipeError. That upstream cannot be asked is part of the answer.
    """
    from datetime import datetime

    from wheelsmith.maintenance.status import status_of

    found = book(recipes)
    rows = []
    for name in names or found.names():
        loaded, _ = found.find(name)
        upkeep = _upkeep(loaded, offline, store, index_url, listener)
        rows.append(status_of(loaded, _text(loaded), upkeep.store, upkeep.upstream_versions).to_dict())
    return {"schema_version": 1, "at": datetime.now(UTC).isoformat(timespec="seconds"), "recipes": rows}


def recipe_status_page(document: RecipesStatusDocument) -> str:
    """What `recipe_status` gave, as a page (HTML)."""
    from wheelsmith.report.recipes_page import recipes_page

    return recipes_page(document)


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
