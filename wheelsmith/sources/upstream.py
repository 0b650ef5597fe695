"""Questions to upstream that a recipe's author has: which commit a tag is, which submodules a commit has.

In: URLs, refs and commits. Out: commits and `Submodule`s. Fails with `NetworkError` and `SourceError`, as fetching.
Nothing is asked of a working tree but what git itself records there.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wheelsmith.config import NO_MIRRORS
from wheelsmith.errors import SourceError
from wheelsmith.events import ignore
from wheelsmith.planning.model import GitSource
from wheelsmith.sources import git
from wheelsmith.sources.git_process import git_environment, list_remote
from wheelsmith.sources.mirrors import ask_places
from wheelsmith.sources.model import AbsentError, redact

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wheelsmith.config import Mirrors
    from wheelsmith.events import Listener
    from wheelsmith.store import Store


@dataclass(frozen=True, slots=True)
class Submodule:
    """A submodule of a commit: its path, where it comes from, and its commit."""

    path: str
    url: str
    commit: str


@dataclass(frozen=True, slots=True)
class Upstream:
    """Asks upstream, or the mirrors that stand for it; what must be fetched to answer is kept in the store."""

    store: Store
    mirrors: Mirrors = NO_MIRRORS
    listener: Listener = ignore

    def commit_of(self, url: str, ref: str) -> str:
        """The commit that the tag or branch `ref` is now; a tag goes before a branch of the same name.

        Raises:
            SourceError: there is no such repository, tag or branch.
            NetworkError: it cannot be reached.
        """
        tag, branch = f"refs/tags/{ref}", f"refs/heads/{ref}"

        def ask(place: str) -> str:
            found = list_remote(place, tag, f"{tag}^{{}}", branch)
            for name in (f"{tag}^{{}}", tag, branch):
                if name in found:
                    return found[name]
            raise AbsentError(f"{redact(place)} has no tag and no branch {ref!r}.", "Correct the tag.")

        return ask_places(url, self.mirrors, ask, self.listener)[0]

    def submodules(self, url: str, commit: str, tag: str | None = None) -> tuple[Submodule, ...]:
        """The submodules of a commit, without those inside them.

        Raises:
            SourceError: there is no such repository or commit, or a submodule has no URL.
            NetworkError: it cannot be reached.
        """
        links, settings = git.fetch_listing(GitSource(url, commit, tag), self.store, self.listener, self.mirrors)
        return _submodules(url, links, settings)


def submodules_here(directory: Path, url: str) -> tuple[Submodule, ...] | None:
    """The submodules of the commit that is checked out in `directory`; None: it is no git repository.

    Raises:
        SourceError: a submodule has no URL.
    """
    if not (directory / ".git").exists():
        return None
    listing = _ask_here(directory, "ls-tree", "-r", "-z", "--full-tree", "HEAD")
    entries = (line.partition("\t") for line in listing.split("\0"))
    links = {name: info.split()[2] for info, _, name in entries if info.startswith("160000 ")}
    said = _ask_here(directory, "config", "--blob", "HEAD:.gitmodules", "--list", "-z") if links else ""
    pairs = (line.partition("\n") for line in said.split("\0") if line)
    return _submodules(url, links, {key: value for key, _, value in pairs})


def _ask_here(directory: Path, *arguments: str) -> str:
    environment = git_environment({"safe.directory": "*"})
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, check=False)
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise SourceError(f"git cannot read {directory}.", "Give a whole checkout.", detail=said)
    return os.fsdecode(done.stdout)


def _submodules(url: str, links: Mapping[str, str], settings: Mapping[str, str]) -> tuple[Submodule, ...]:
    urls: dict[str, str] = {}
    for key, path in settings.items():
        if key.startswith("submodule.") and key.endswith(".path"):
            urls[path] = settings.get(f"{key.removesuffix('path')}url", "")
    for path in links:
        if not urls.get(path):
            raise SourceError(
                f"The submodule {path} of {redact(url)} has no URL in .gitmodules.", "Report it to its publisher."
            )
    return tuple(Submodule(path, _absolute(url, urls[path]), commit) for path, commit in links.items())


def _absolute(base: str, url: str) -> str:
    """A submodule's URL may be relative to that of the repository (gitmodules(5))."""
    if not url.startswith(("./", "../")):
        return url
    base = base.rstrip("/")
    while True:
        if url.startswith("../"):
            base, url = base.rpartition("/")[0], url[3:]
        elif url.startswith("./"):
            url = url[2:]
        else:
            return f"{base}/{url}"
