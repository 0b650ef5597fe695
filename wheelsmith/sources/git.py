"""Git sources: one commit, its tree, and nothing else of the repository's history, hooks, filters or submodules.

In: a `GitSource`. Out: its objects in a bare repository of the store, or its files in a directory. Fails with
`NetworkError`, `SourceError` (no such commit, tag or directory), and `StoreError` (stored objects are damaged).
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from wheelsmith.config import NO_MIRRORS
from wheelsmith.errors import SourceError, StoreError
from wheelsmith.events import ignore
from wheelsmith.fsutil import remove_tree
from wheelsmith.sources.git_process import RefusedError, ask_git, fetch_git, make_repository, start_git
from wheelsmith.sources.git_tree import DamagedError, Writer
from wheelsmith.sources.mirrors import ask_places
from wheelsmith.sources.model import AbsentError, Fetched, redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wheelsmith.config import Mirrors
    from wheelsmith.events import Listener
    from wheelsmith.planning.model import GitSource
    from wheelsmith.store import Store

_REFS = "refs/wheelsmith"
_MODULES = ".gitmodules"


def present(source: GitSource, store: Store) -> bool:
    """Whether the store holds the commit with every object that is wanted of it."""
    repository = store.place("git", _name(source))
    return repository.is_dir() and _holds(repository, source)


def fetch(source: GitSource, store: Store, listener: Listener, mirrors: Mirrors = NO_MIRRORS) -> Fetched:
    """Bring the commit into the store with depth 1; of a sparse source only the files of its directories.

    Wherever it comes from, it is kept under the URL of the plan.

    Raises:
        NetworkError: the host cannot be reached, or answers with an error.
        SourceError: there is no such repository, commit or directory, or the tag is another commit.
        NoCompilerError: git is not installed.
    """
    what = redact(str(source))
    with _opened(source, store) as repository:
        if _holds(repository, source):
            return Fetched(what, source.commit, 0, reused=True)
        _remove_leftovers(repository)
        before = _size(repository)

        def ask(place: str) -> None:
            _fetch_commit(repository, source, place, listener)
            if source.sparse:
                _fetch_files(repository, source, place, listener)

        try:
            _, place = ask_places(source.url, mirrors, ask, listener)
        finally:
            _remove_leftovers(repository)
        return Fetched(what, source.commit, _size(repository) - before, reused=False, served_by=place)


def fetch_listing(
    source: GitSource, store: Store, listener: Listener, mirrors: Mirrors = NO_MIRRORS
) -> tuple[dict[str, str], dict[str, str]]:
    """What a commit says about its submodules, fetched without its files.

    Returns:
        The commit of each submodule by its path, and the settings in .gitmodules (git-config(1) keys).

    Raises:
        NetworkError, SourceError, NoCompilerError: as `fetch`.
    """
    partial = dataclasses.replace(source, sparse=(_MODULES,))
    with _opened(partial, store) as repository:
        if _resolve(repository, f"{_REFS}/{source.commit}") != source.commit:
            _remove_leftovers(repository)
            ask_places(source.url, mirrors, lambda place: _fetch_commit(repository, partial, place, listener), listener)
        listing = ask_git(repository, "ls-tree", "-r", "-z", "--full-tree", source.commit) or b""
    entries = (line.partition(b"\t") for line in listing.split(b"\0"))
    links = {os.fsdecode(name): info.split()[2].decode() for info, _, name in entries if info.startswith(b"160000 ")}
    if not links or ask_git(repository, "rev-parse", "--verify", "--quiet", f"{source.commit}:{_MODULES}") is None:
        return links, {}
    fetch(partial, store, listener, mirrors)
    said = ask_git(repository, "config", "--blob", f"{source.commit}:{_MODULES}", "--list", "-z") or b""
    pairs = (line.partition("\n") for line in said.decode("utf-8", "replace").split("\0") if line)
    return links, {key: value for key, _, value in pairs}


def copy_commit(source: GitSource, store: Store, into: Path) -> None:
    """Add the commit, as the store holds it, to the bare repository `into`, which is made if it is not there.

    Any git server can give out `into`: the commit by its id and by its tag, and parts of it.

    Raises:
        StoreError: the store does not hold the commit.
    """
    if not into.is_dir():
        make_repository(into)
    settings = {"uploadpack.allowFilter": "true", "uploadpack.allowAnySHA1InWant": "true"}
    # Whole and sparse commits live here together: what one has of another must not be taken for granted.
    settings["fetch.negotiationAlgorithm"] = "noop"
    if source.sparse:  # what is missing is missing on purpose
        settings |= {"remote.origin.promisor": "true", "remote.origin.partialclonefilter": "blob:none"}
    for key, value in settings.items():
        ask_git(into, "config", key, value)
    with _opened(source, store) as repository:
        if not _holds(repository, source):
            raise _not_held(source, "it was not fetched")
        if _resolve(into, f"{_REFS}/{source.commit}") != source.commit or (source.sparse and _missing(into, source)):
            place = repository.absolute().as_uri()
            _fetch_commit(into, source, place, ignore)
            if source.sparse:
                _fetch_files(into, source, place, ignore)
    if source.tag is not None:
        ask_git(into, "update-ref", f"refs/tags/{source.tag}", source.commit)


def lay_out(source: GitSource, store: Store, into: Path) -> None:
    """Write the commit's files as the new directory `into`. Submodules become empty directories.

    Raises:
        StoreError: the store does not hold the commit whole; what it holds of the repository is removed.
        SourceError: the tree has a name that must not be written.
    """
    name = _name(source)
    repository = store.place("git", name)
    with store.lock(f"git-{name}", wait=True):
        try:
            if not repository.is_dir():
                raise DamagedError("it was not fetched")
            with start_git(repository, "cat-file", "--batch") as process:
                assert process.stdin is not None and process.stdout is not None  # noqa: S101 - pipes
                Writer(process.stdin, process.stdout, source).write(into)
        except (DamagedError, BrokenPipeError) as error:
            remove_tree(repository)
            raise _not_held(source, str(error)) from error


def _not_held(source: GitSource, why: str) -> StoreError:
    return StoreError(
        f"The store does not hold {redact(str(source))} whole: {why}.",
        "Run the same command again without --offline: it is fetched again.",
    )


@contextmanager
def _opened(source: GitSource, store: Store) -> Iterator[Path]:
    """The repository of a source, made if it is not there, and held."""
    name = _name(source)
    repository = store.place("git", name)
    with store.lock(f"git-{name}", wait=True):
        if not repository.is_dir():
            temporary = repository.with_name(f".{name}.new")
            remove_tree(temporary)
            make_repository(temporary)
            temporary.rename(repository)
        yield repository


def _name(source: GitSource) -> str:
    """One repository for each URL, and one more for its sparse sources: what a partial clone lacks looks whole to
    git, so the two must not meet. The digest hides credentials in the URL."""
    digest = hashlib.sha256(source.url.encode()).hexdigest()[:16]
    return f"{digest}.sparse" if source.sparse else digest


def _resolve(repository: Path, revision: str) -> str | None:
    output = ask_git(repository, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    return None if output is None else output.decode().strip()


def _holds(repository: Path, source: GitSource) -> bool:
    # git sets the ref after it has checked that everything below the commit arrived.
    if _resolve(repository, f"{_REFS}/{source.commit}") != source.commit:
        return False
    return not source.sparse or not _missing(repository, source)


def _missing(repository: Path, source: GitSource) -> list[bytes]:
    """Ids of the objects below the sparse paths (directories or files) that the repository lacks."""
    for path in source.sparse:
        if ask_git(repository, "rev-parse", "--verify", "--quiet", f"{source.commit}:{path}") is None:
            raise SourceError(
                f"The commit {source.commit} of {redact(source.url)} has nothing at {path!r}.",
                "Correct `sparse` in the recipe.",
            )
    # From the tree down: of what it is given by name (commit:file) rev-list takes for granted that it is there.
    walk = ("--literal-pathspecs", "rev-list", "--objects", "--missing=print", f"{source.commit}^{{tree}}")
    listing = ask_git(repository, *walk, "--", *source.sparse)
    if listing is None:
        return [source.commit.encode()]
    return [line[1:] for line in listing.splitlines() if line.startswith(b"?")]


def _fetch_commit(repository: Path, source: GitSource, place: str, listener: Listener) -> None:
    options = ["--depth=1", "--filter=blob:none" if source.sparse else "--no-filter"]
    partial = bool(source.sparse)

    def get(refspec: str) -> None:
        fetch_git(repository, place, *options, "origin", refspec, partial=partial, listener=listener)

    ref = f"{_REFS}/{source.commit}"
    try:
        get(f"+{source.commit}:{ref}")
    except RefusedError as refused:
        # Servers without protocol 2 give out tips only (gitprotocol-capabilities(5), allow-reachable-sha1-in-want).
        if source.tag is None:
            raise AbsentError(
                f"{redact(place)} does not give out the commit {source.commit}.",
                "Correct it in the recipe; if the server only gives out tags, add the commit's tag.",
                detail=str(refused),
            ) from refused
        _fetch_tag(repository, source, place, get)
    if _resolve(repository, ref) != source.commit:
        raise SourceError(
            f"{source.commit} of {redact(place)} is not a commit.", "Give the id of the commit, not of its tag."
        )


def _fetch_tag(repository: Path, source: GitSource, place: str, get: Callable[[str], None]) -> None:
    tag = f"{_REFS}/tag"
    try:
        get(f"+refs/tags/{source.tag}:{tag}")
    except RefusedError as refused:
        raise AbsentError(
            f"{redact(place)} has neither the commit {source.commit} nor the tag {source.tag}.",
            "Correct them in the recipe.",
            detail=str(refused),
        ) from refused
    found = _resolve(repository, tag)
    ask_git(repository, "update-ref", "-d", tag)
    if found != source.commit:
        raise SourceError(
            f"{redact(place)} does not give out the commit {source.commit}, and its tag {source.tag} is now {found}.",
            "Somebody moved the tag, or the recipe is wrong: find out which before changing the recipe.",
        )
    ask_git(repository, "update-ref", f"{_REFS}/{source.commit}", source.commit)


def _fetch_files(repository: Path, source: GitSource, place: str, listener: Listener) -> None:
    """The contents of the sparse directories, by id: what git itself does when a partial clone needs an object."""
    if not (missing := _missing(repository, source)):
        return  # a server without filters sent everything
    try:
        options = ("--filter=blob:none", "--stdin", "origin")
        wanted = b"\n".join(missing) + b"\n"
        fetch_git(repository, place, *options, partial=True, listener=listener, wanted=wanted)
    except RefusedError as refused:
        raise SourceError(
            f"{redact(place)} gives out partial clones but not their files.",
            "Remove `sparse` from this source in the recipe.",
            detail=str(refused),
        ) from refused


def _remove_leftovers(repository: Path) -> None:
    """What a killed git left: locks that would stop the next one, and halves of packs. We hold the real lock."""
    for pattern in ("*.lock", "refs/**/*.lock", "objects/pack/tmp_*", "objects/tmp_*", "objects/pack/.tmp-*"):
        for path in repository.glob(pattern):
            path.unlink(missing_ok=True)


def _size(repository: Path) -> int:
    return sum(path.stat().st_size for path in (repository / "objects").rglob("*") if path.is_file())
