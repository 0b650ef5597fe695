"""Looking after recipes: read a version's source, lock its trees, rehearse its patches. Called by the API only.

In: a recipe and where sources come from. Out: a `Lock`, and how the patches fare. Sources are unpacked below the store
and removed afterwards; nothing of them is run. Fails as fetching does, and with `UsageError` for a source that is not
there.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import Version

from wheelsmith.cmake.extensions import cuda_branches, read_extensions
from wheelsmith.errors import NetworkError, OfflineError, SourceError, UsageError
from wheelsmith.maintenance.declared import read_project
from wheelsmith.maintenance.lock import Lock, lock_trees
from wheelsmith.maintenance.needs import needs
from wheelsmith.maintenance.proposal import Reading
from wheelsmith.maintenance.rehearse import Rehearsal, rehearse
from wheelsmith.planning.model import GitSource, SdistSource, Source
from wheelsmith.planning.model import Target as BuildTarget
from wheelsmith.planning.pins import locked_pins
from wheelsmith.planning.planner import make_plan
from wheelsmith.sources.archive import unpack
from wheelsmith.sources.fetch import fetch_source
from wheelsmith.sources.model import redact
from wheelsmith.sources.safe_paths import below
from wheelsmith.sources.sdist import find, stored, versions
from wheelsmith.sources.stage import lay_out_source
from wheelsmith.sources.upstream import Submodule, Upstream, submodules_here
from wheelsmith.toolchain.python import running_python

if TYPE_CHECKING:
    from wheelsmith.cmake.extensions import Target
    from wheelsmith.config import Mirrors
    from wheelsmith.events import Listener
    from wheelsmith.recipe.loader import LoadedRecipe
    from wheelsmith.recipe.schema import Recipe
    from wheelsmith.store import Store


#: CMake variables that say which nvcc there is.
_CUDA_VERSIONS = ("CMAKE_CUDA_COMPILER_VERSION", "CUDA_VERSION", "CUDAToolkit_VERSION")
_OLDEST = "12.8"  # toolkits before it compile for no Blackwell, and are not looked at


@dataclass(frozen=True, slots=True)
class OpenSource:
    """An unpacked source that is to be read: nothing of it is run."""

    upkeep: Upkeep
    directory: Path
    what: str
    scratch: Path
    submodules: tuple[Submodule, ...] | None

    def lock(self, version: str, define: Mapping[str, str] | None) -> Lock:
        """Compare its trees with the recipe's; see `lock_trees`."""
        recipe = self.upkeep.loaded.recipe
        ask = self.upkeep.upstream
        return lock_trees(recipe, version, self.directory, ask=ask, submodules=self.submodules, given=define)

    def rehearse(self, lock: Lock, version: str) -> Rehearsal:
        """Try the patches on copies: of the files of the source, and of the trees, that are patched."""
        recipe = self.upkeep.loaded.recipe
        copy = self.scratch / "rehearsal"
        files = _patched(recipe, None)
        if files is None:
            shutil.copytree(self.directory, copy, symlinks=True, ignore=shutil.ignore_patterns(".git"))
        else:
            _copy_files(self.directory, copy, files)
        return rehearse(self.upkeep.loaded, version, copy, dict(self._trees(lock)))

    def reading(self, version: str, define: Mapping[str, str] | None, release: str) -> Reading:
        """Everything that a proposal is made of."""
        loaded = self.upkeep.loaded.at(version)
        lock = self.lock(version, define)
        rehearsal = self.rehearse(lock, version)
        project = read_project(self.directory)
        python = loaded.recipe.defaults.python or running_python()
        pins = dict(locked_pins(loaded.lock, python)) if loaded.lock else {}
        wanted = tuple(needs(loaded.recipe, project, pins))
        targets = self._targets(loaded.recipe.defaults.cuda, define)
        return Reading(version, project, targets, lock, rehearsal.patches, rehearsal.lists, wanted, release)

    def _targets(self, cuda: str, define: Mapping[str, str] | None) -> dict[str, tuple[Target, ...]]:
        """What CMake makes, with the recipe's toolkit and with those at which the project decides something."""
        if not (self.directory / "CMakeLists.txt").is_file():
            return {}
        known = {cuda, *(text for text in cuda_branches(self.directory) if Version(text) >= Version(_OLDEST))}
        return {
            one: read_extensions(self.directory, {**dict.fromkeys(_CUDA_VERSIONS, one), **(define or {})})
            for one in sorted(known, key=Version)
        }

    def _trees(self, lock: Lock) -> Iterator[tuple[str, Path | str]]:
        for tree in lock.trees:
            files = _patched(self.upkeep.loaded.recipe, tree.name)
            if files == () or tree.state == "gone":
                continue
            if tree.commit is None:
                yield tree.name, "its commit is not known"
                continue
            place = self.scratch / f"tree-{tree.name}"
            try:
                self._lay_out_files(GitSource(tree.url, tree.commit, tree.tag, files or ()), place)
            except (NetworkError, SourceError, OfflineError) as error:
                yield tree.name, error.cause
            else:
                yield tree.name, place

    def _lay_out_files(self, source: GitSource, place: Path) -> None:
        try:
            self.upkeep.lay_out(source, place)
        except SourceError:
            if not source.sparse:
                raise
            # A file that is patched is not there any more: the patch shall say so.
            self.upkeep.lay_out(replace(source, sparse=()), place)


def _patched(recipe: Recipe, tree: str | None) -> tuple[str, ...] | None:
    """The files of a tree (None: the package itself) that patches and arch lists change; None: a diff names them."""
    patches = [table.file for table in recipe.patch if table.tree == tree]
    if None in patches:
        return None
    lists = [table.file for table in recipe.arch_list if table.tree == tree]
    return tuple(sorted({file for file in (*patches, *lists) if file}))


def _copy_files(source: Path, into: Path, files: tuple[str, ...]) -> None:
    into.mkdir()
    for file in files:
        path = below(source, file)
        if path.is_file():
            (into / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, into / file)


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What lock and bump share: a recipe, and where sources come from."""

    loaded: LoadedRecipe
    offline: bool
    store: Store
    index_url: str | None
    mirrors: Mirrors
    listener: Listener

    @property
    def upstream(self) -> Upstream:
        """Who is asked about tags and submodules."""
        return Upstream(self.store, self._mirrors, self.listener)

    @property
    def _mirrors(self) -> Mirrors:
        """The mirrors; offline, those on this machine, and upstream is not asked."""
        return self.mirrors.local if self.offline else self.mirrors

    def find(self, version: str, *, sdist: bool) -> Source:
        """The source of a version that the recipe may not know yet; offline, what the store or a mirror here has."""
        recipe = self.loaded.recipe
        if version in recipe.releases and not sdist:
            return self._pinned(version)
        newest = max(recipe.releases, key=Version)
        base = self._pinned(newest)
        if isinstance(base, GitSource) and not sdist:
            tag = (base.tag or "").replace(newest, version) if newest in (base.tag or "") else f"v{version}"
            return replace(base, commit=self.upstream.commit_of(base.url, tag), tag=tag)
        if self.offline and (digest := stored(recipe.name, self.store).get(version)):
            return SdistSource(recipe.name, version, digest)
        return find(recipe.name, version, self.index_url, self._mirrors)

    def upstream_versions(self) -> tuple[str, ...]:
        """The final versions of upstream, the oldest first; offline, those that the store or a mirror here has."""
        recipe = self.loaded.recipe
        found = {**(stored(recipe.name, self.store) if self.offline else {})}
        try:
            found |= versions(recipe.name, self.index_url, self._mirrors)
        except OfflineError:
            if not found:
                raise
        return tuple(sorted((v for v in found if not Version(v).is_prerelease), key=Version))

    def _pinned(self, version: str) -> Source:
        defaults = self.loaded.recipe.at(version).defaults
        python = defaults.python or running_python()
        target = BuildTarget(python, defaults.archs, defaults.cuda, defaults.torch)
        return make_plan(self.loaded, version, target).source

    def lay_out(self, source: Source, into: Path) -> None:
        """Fetch a source and unpack it."""
        try:
            fetch_source(source, self.store, self.index_url, self._mirrors, self.listener)
        except OfflineError as error:
            raise OfflineError(
                f"{redact(str(source))} is not in the store {self.store.root}.",
                "Run once without --offline to fetch it, or give the source with --source.",
            ) from error
        lay_out_source(source, self.store, into)

    @contextmanager
    def source(
        self, version: str, given: str | os.PathLike[str] | None, found: Source | None = None
    ) -> Iterator[OpenSource]:
        """The source of a version in a directory, for as long as the context lasts."""
        with tempfile.TemporaryDirectory(dir=self.store.place("", ""), prefix=".upkeep-") as name:
            scratch = Path(name)
            directory = scratch / "source"
            if given is None:
                source = found or self._pinned(version)
                self.lay_out(source, directory)
                inner = None
                if isinstance(source, GitSource):
                    with suppress(OfflineError):
                        inner = self.upstream.submodules(source.url, source.commit, source.tag)
                yield OpenSource(self, directory, redact(str(source)), scratch, inner)
                return
            path = Path(given).absolute()
            if path.is_dir():
                yield OpenSource(self, path, str(path), scratch, submodules_here(path, self._url(version)))
            elif path.is_file():
                unpack(path, directory, path.name)
                yield OpenSource(self, directory, str(path), scratch, None)
            else:
                raise UsageError(f"There is no source at {path}.", "Give a directory, or a .tar.gz or .zip file.")

    def _url(self, version: str) -> str:
        """The URL that relative submodules of a checkout are relative to."""
        releases = self.loaded.recipe.releases
        table = (releases.get(version) or next(iter(releases.values()))).source
        return table.git.url if table.git else ""
