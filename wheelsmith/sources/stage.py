"""The fetched sources of a plan as one patched directory tree, the same on every machine.

In: a plan, a store that holds its sources, a fresh directory. Out: that directory, filled. Fails with `PatchError`,
`StoreError` (a source is absent or damaged) and `SourceError` (an unsafe archive, two trees at one place).
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from wheelsmith.errors import SourceError
from wheelsmith.planning.model import CANONICAL, GitSource, SdistSource
from wheelsmith.sources import archive, git, vendor
from wheelsmith.sources.patches import apply
from wheelsmith.sources.safe_paths import below, settle

if TYPE_CHECKING:
    from pathlib import Path

    from wheelsmith.planning.model import Plan, Source
    from wheelsmith.store import Store


#: By this file setuptools-scm knows the tree of a `git archive`.
_ARCHIVAL = ".git_archival.txt"


def lay_out(plan: Plan, store: Store, into: Path) -> None:
    """Place every source of the plan below `into`, where the plan says `CANONICAL`, and apply the patches in order.

    All files get deterministic modes and the time stamp `EPOCH`. There is no `.git` in the result: the package itself
    looks as `git archive` would have left it.

    Args:
        plan: what to lay out; `fetch` was called for it.
        store: where the sources are.
        into: a fresh directory. After an error it holds something unfinished: throw it away.

    Raises:
        PatchError: a patch does not match exactly.
        StoreError: a source is not in the store, or damaged there.
        SourceError: an archive is unsafe, or a tree would overwrite another one.
    """
    into.mkdir(parents=True, exist_ok=True)
    places = [(f"{CANONICAL}/src", plan.source), *((tree.path, tree.source) for tree in plan.trees)]
    # Outer before inner: an inner tree takes the place of the empty directory that stands for a submodule.
    for path, source in sorted(places, key=lambda place: place[0].count("/")):
        lay_out_source(source, store, _free(into, path))
    vendor.lay_out(plan, store, into)
    _mark_archive(plan.source, into / _relative(places[0][0]))
    for patch in plan.patches:
        apply(patch, into / _relative(patch.path))
    settle(into)


def _mark_archive(source: Source, root: Path) -> None:
    """Tell setuptools-scm that every file here is the project's.

    Without git it would find none, and data files that packages hold by git's word alone (vLLM's chat templates) would
    silently be missing from the wheel. An sdist says so itself, in SOURCES.txt. Source: setuptools-scm's manual, "Git
    archives" and "File finders".
    """
    marker = root / _ARCHIVAL
    if isinstance(source, SdistSource) or (root / "PKG-INFO").is_file() or marker.is_dir():
        return
    if isinstance(source, GitSource):
        marker.unlink(missing_ok=True)  # with $Format$ in it, which only `git archive` fills in; or a symbolic link
        marker.write_text(f"node: {source.commit}\n", "utf-8")
    elif not marker.is_symlink() and not marker.exists():
        marker.write_text("", "utf-8")


def _relative(path: str) -> str:
    return str(PurePosixPath(path).relative_to(CANONICAL))


def _free(into: Path, path: str) -> Path:
    """The place for a tree, at which nothing is; its parent exists."""
    try:
        target = below(into, _relative(path))
        if target.is_dir() and not any(target.iterdir()):
            target.rmdir()
        if target.exists():
            raise ValueError("something is there already")
        target.parent.mkdir(parents=True, exist_ok=True)
    except (ValueError, FileExistsError, NotADirectoryError) as error:
        raise SourceError(
            f"No tree can be placed at {path}: {error}.",
            "Correct `inside` in the recipe: it must name a new or an empty directory.",
        ) from error
    return target


def lay_out_source(source: Source, store: Store, target: Path) -> None:
    """Place one source as the new directory `target`; see `lay_out`."""
    if isinstance(source, GitSource):
        git.lay_out(source, store, target)
    else:
        archive.lay_out(source, store, target)
