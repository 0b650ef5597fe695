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
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import Version

from wheelsmith.errors import NetworkError, OfflineError, SourceError, UsageError
from wheelsmith.maintenance.lock import Lock, lock_trees
from wheelsmith.maintenance.rehearse import Rehearsed, rehearse
from wheelsmith.planning.model import GitSource, Source, Target
from wheelsmith.planning.planner import make_plan
from wheelsmith.sources.archive import unpack
from wheelsmith.sources.fetch import fetch_source, present
from wheelsmith.sources.model import redact
from wheelsmith.sources.sdist import find
from wheelsmith.sources.stage import lay_out_source
from wheelsmith.sources.upstream import Submodule, Upstream, submodules_here
from wheelsmith.toolchain.python import running_python

if TYPE_CHECKING:
    from wheelsmith.config import Mirrors
    from wheelsmith.events import Listener
    from wheelsmith.recipe.loader import LoadedRecipe
    from wheelsmith.store import Store


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
        ask = None if self.upkeep.offline else self.upkeep.upstream
        recipe = self.upkeep.loaded.recipe
        return lock_trees(recipe, version, self.directory, ask=ask, submodules=self.submodules, given=define)

    def rehearse(self, lock: Lock, wanted: Mapping[int, bool]) -> tuple[Rehearsed, ...]:
        """Try the patches on copies: of the source, and of the files of the trees that are patched."""
        copy = self.scratch / "rehearsal"
        shutil.copytree(self.directory, copy, symlinks=True, ignore=shutil.ignore_patterns(".git"))
        return rehearse(self.upkeep.loaded, wanted, copy, dict(self._trees(lock)))

    def _trees(self, lock: Lock) -> Iterator[tuple[str, Path | str]]:
        tables = self.upkeep.loaded.recipe.patch
        for tree in lock.trees:
            files = {table.file for table in tables if table.tree == tree.name}
            if not files or tree.state == "gone":
                continue
            if self.upkeep.offline or tree.commit is None:
                yield tree.name, "offline: the tree was not fetched"
                continue
            sparse = () if None in files else tuple(sorted(file for file in files if file))
            place = self.scratch / f"tree-{tree.name}"
            try:
                self._lay_out_files(GitSource(tree.url, tree.commit, tree.tag, sparse), place)
            except (NetworkError, SourceError) as error:
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
        return Upstream(self.store, self.mirrors, self.listener)

    def find(self, version: str, *, sdist: bool) -> Source:
        """The source of a version that the recipe may not know yet."""
        recipe = self.loaded.recipe
        if version in recipe.releases and not sdist:
            return self._pinned(version)
        newest = max(recipe.releases, key=Version)
        base = self._pinned(newest)
        if isinstance(base, GitSource) and not sdist:
            tag = (base.tag or "").replace(newest, version) if newest in (base.tag or "") else f"v{version}"
            self._online(f"which commit {tag} of {base.url} is")
            return replace(base, commit=self.upstream.commit_of(base.url, tag), tag=tag)
        self._online(f"which file the sdist of {recipe.name} {version} is")
        return find(recipe.name, version, self.index_url, self.mirrors)

    def _online(self, what: str) -> None:
        if self.offline:
            raise OfflineError(f"Offline, {what} cannot be asked.", "Give the source with --source.")

    def _pinned(self, version: str) -> Source:
        defaults = self.loaded.recipe.at(version).defaults
        python = defaults.python or running_python()
        target = Target(python, defaults.archs, defaults.cuda, defaults.torch)
        return make_plan(self.loaded, version, target).source

    def lay_out(self, source: Source, into: Path) -> None:
        """Fetch a source and unpack it."""
        if not self.offline:
            fetch_source(source, self.store, self.index_url, self.mirrors, self.listener)
        elif not present(source, self.store):
            raise OfflineError(
                f"{redact(str(source))} is not in the store {self.store.root}.",
                "Run once without --offline to fetch it, or give the source with --source.",
            )
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
                if isinstance(source, GitSource) and not self.offline:
                    inner = self.upstream.submodules(source.url, source.commit, source.tag)
                yield OpenSource(self, directory, redact(str(source)), scratch, inner)
                return
            path = Path(given)
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
