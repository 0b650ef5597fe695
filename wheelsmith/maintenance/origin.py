"""Where a new recipe's source is: a project on the package index, an sdist, a directory, or a git repository.

In: what a person named. Out: an `Origin`: the unpacked source, and the recipe's table for it. Fetched as every source
is, by digest or commit; nothing of it is run. Fails with `UsageError`, `SourceError` and `NetworkError`.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wheelsmith.config import NO_MIRRORS
from wheelsmith.errors import SourceError, UsageError
from wheelsmith.events import Listener, Note, ignore
from wheelsmith.fsutil import sha256_of
from wheelsmith.maintenance.lock import quoted
from wheelsmith.planning.model import GitSource, SdistSource, Source
from wheelsmith.recipe.requirement import read_requirement
from wheelsmith.sources.archive import unpack
from wheelsmith.sources.fetch import fetch_source
from wheelsmith.sources.git_process import list_remote
from wheelsmith.sources.mirrors import ask_places
from wheelsmith.sources.model import AbsentError, redact
from wheelsmith.sources.sdist import newest
from wheelsmith.sources.stage import lay_out_source
from wheelsmith.sources.upstream import Submodule, Upstream, submodules_here

if TYPE_CHECKING:
    from wheelsmith.config import Mirrors
    from wheelsmith.store import Store

_GIT = re.compile(
    r"(?:git\+)?(?P<url>(?:https?|ssh|git|file)://[^@\s]+?|git@[\w.-]+:[^@\s]+|/[^@\s]+)(?:@(?P<ref>[\w./-]+))?"
)
_HEX = re.compile(r"[0-9a-f]{40}")
_ARCHIVE = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip", ".tar")


@dataclass(frozen=True, slots=True)
class Origin:
    """A source that is open for reading.

    Attributes:
        directory: where it is unpacked.
        table: the source's table of the recipe, behind `[releases."1.0".source.`.
        name: of the project, where it was named; else empty.
        version: likewise.
        submodules: of the commit; None: it is not from git.
    """

    directory: Path
    table: str
    name: str = ""
    version: str = ""
    submodules: tuple[Submodule, ...] | None = None


@dataclass(frozen=True, slots=True)
class Finder:
    """How sources are fetched."""

    store: Store
    index_url: str | None = None
    mirrors: Mirrors = NO_MIRRORS
    listener: Listener = ignore

    @property
    def upstream(self) -> Upstream:
        """Who is asked about tags and submodules."""
        return Upstream(self.store, self.mirrors, self.listener)

    @contextmanager
    def open(self, what: str) -> Iterator[Origin]:
        """The source of `what`, for as long as the context lasts.

        Raises:
            UsageError: it is none of the four.
            SourceError, NetworkError: it cannot be had.
        """
        with tempfile.TemporaryDirectory(dir=self.store.place("", ""), prefix=".upkeep-") as name:
            scratch = Path(name) / "source"
            path = Path(what.removeprefix("file://")).expanduser()
            git = _GIT.fullmatch(what)
            if path.is_dir() and not what.startswith("git+"):
                inner = submodules_here(path, path.absolute().as_uri()) if (path / ".git").exists() else None
                yield Origin(path, f"directory]\npath = {quoted(str(path.resolve()))}", submodules=inner)
            elif path.is_file():
                unpack(path, scratch, path.name)
                table = f"archive]\nurl = {quoted(path.resolve().as_uri())}\nsha256 = {quoted(sha256_of(path))}"
                yield Origin(scratch, table)
            elif git is not None and (what.startswith("git") or git["url"].endswith(".git") or not _is_archive(what)):
                yield self._git(git["url"], git["ref"], scratch)
            elif "://" in what or what.startswith((".", "/", "~")):
                raise UsageError(
                    f"{what!r} is no directory, no file here, and no git repository.",
                    "Name a project of the package index, an sdist, a directory, or git+https://…@TAG.",
                )
            else:
                yield self._project(what, scratch)

    def _git(self, url: str, ref: str | None, into: Path) -> Origin:
        if ref is not None and _HEX.fullmatch(ref):
            commit, tag = ref, None
        elif ref is not None:
            commit, tag = self.upstream.commit_of(url, ref), ref
        else:
            commit, tag = ask_places(url, self.mirrors, _head, self.listener)[0], None
            self.listener(Note("sources", f"{redact(url)}: no tag was named; its newest commit is {commit}"))
        source = GitSource(url, commit, tag)
        self._lay_out(source, into)
        line = f"\ntag = {quoted(tag)}" if tag else ""
        table = f"git]\nurl = {quoted(url)}\ncommit = {quoted(commit)}{line}"
        version = re.search(r"\d+(?:\.\d+)+\S*", tag or "")
        name = url.rstrip("/").removesuffix(".git").rpartition("/")[2]
        return Origin(into, table, name, version[0] if version else "", self.upstream.submodules(url, commit, tag))

    def _project(self, what: str, into: Path) -> Origin:
        wanted = read_requirement(what)
        found: SdistSource = newest(wanted.name, wanted.specifier, self.index_url, self.mirrors)
        self._lay_out(found, into)
        return Origin(into, f"sdist]\nsha256 = {quoted(found.sha256)}", found.project, found.version)

    def _lay_out(self, source: Source, into: Path) -> None:
        fetch_source(source, self.store, self.index_url, self.mirrors, self.listener)
        lay_out_source(source, self.store, into)


def _head(place: str) -> str:
    found = list_remote(place, "HEAD")
    if "HEAD" not in found:
        raise AbsentError(f"{redact(place)} has no commit.", "Name a tag: git+URL@TAG.")
    return found["HEAD"]


def _is_archive(what: str) -> bool:
    if what.partition("?")[0].endswith(_ARCHIVE):
        raise SourceError(
            f"{redact(what)} is an archive on the web, whose digest nobody states.",
            "Download it, look at it, and name the file; or name its repository: git+https://…@TAG.",
        )
    return False
