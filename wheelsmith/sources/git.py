"""Git sources: one commit, its tree, and nothing else of the repository's history, hooks, filters or submodules.

In: a `GitSource`. Out: its objects in a bare repository of the store, or its files in a directory. Fails with
`NetworkError`, `SourceError` (no such commit, tag or directory), and `StoreError` (stored objects are damaged).

Files are written from the raw objects, each checked against its id from the pinned commit down: attributes
(export-subst, eol, filters) change nothing, and what arrives is what the commit names.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import IO, TYPE_CHECKING

from wheelsmith.errors import SourceError, StoreError
from wheelsmith.sources.gitcall import RefusedError, ask_git, fetch_git, make_repository, start_git
from wheelsmith.sources.model import Fetched, redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wheelsmith.events import Listener
    from wheelsmith.plan import GitSource
    from wheelsmith.store import Store

_REFS = "refs/wheelsmith"


class _DamagedError(Exception):
    """An object is missing, or its bytes do not have its id."""


def present(source: GitSource, store: Store) -> bool:
    """Whether the store holds the commit with every object that is wanted of it."""
    repository = store.place("git", _name(source))
    return repository.is_dir() and _holds(repository, source)


def fetch(source: GitSource, store: Store, listener: Listener) -> Fetched:
    """Bring the commit into the store with depth 1; of a sparse source only the files of its directories.

    Raises:
        NetworkError: the host cannot be reached, or answers with an error.
        SourceError: there is no such repository, commit or directory, or the tag is another commit.
        NoCompilerError: git is not installed.
    """
    name = _name(source)
    what = redact(str(source))
    repository = store.place("git", name)
    with store.lock(f"git-{name}", wait=True):
        if not repository.is_dir():
            temporary = repository.with_name(f".{name}.new")
            shutil.rmtree(temporary, ignore_errors=True)
            make_repository(temporary)
            temporary.rename(repository)
        if _holds(repository, source):
            return Fetched(what, source.commit, 0, reused=True)
        _remove_leftovers(repository)
        before = _size(repository)
        try:
            _fetch_commit(repository, source, listener)
            if source.sparse:
                _fetch_files(repository, source, listener)
        finally:
            _remove_leftovers(repository)
        return Fetched(what, source.commit, _size(repository) - before, reused=False)


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
                raise _DamagedError("it was not fetched")
            with start_git(repository, "cat-file", "--batch") as process:
                assert process.stdin is not None and process.stdout is not None  # noqa: S101 - pipes
                _Writer(process.stdin, process.stdout, source).write(into)
        except (_DamagedError, BrokenPipeError) as error:
            shutil.rmtree(repository, ignore_errors=True)
            raise StoreError(
                f"The store does not hold {redact(str(source))} whole: {error}.",
                "Run the same command again without --offline: it is fetched again.",
            ) from error


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
    """Ids of the objects below the sparse directories that the repository lacks."""
    for directory in source.sparse:
        if ask_git(repository, "rev-parse", "--verify", "--quiet", f"{source.commit}:{directory}") is None:
            raise SourceError(
                f"The commit {source.commit} of {redact(source.url)} has no directory {directory!r}.",
                "Correct `sparse` in the recipe.",
            )
    tops = (f"{source.commit}:{directory}" for directory in source.sparse)
    listing = ask_git(repository, "rev-list", "--objects", "--missing=print", *tops)
    if listing is None:
        return [source.commit.encode()]
    return [line[1:] for line in listing.splitlines() if line.startswith(b"?")]


def _fetch_commit(repository: Path, source: GitSource, listener: Listener) -> None:
    options = ["--depth=1"] + (["--filter=blob:none"] if source.sparse else [])
    partial = bool(source.sparse)

    def get(refspec: str) -> None:
        fetch_git(repository, source.url, *options, "origin", refspec, partial=partial, listener=listener)

    ref = f"{_REFS}/{source.commit}"
    try:
        get(f"+{source.commit}:{ref}")
    except RefusedError as refused:
        # Servers without protocol 2 give out tips only (gitprotocol-capabilities(5), allow-reachable-sha1-in-want).
        if source.tag is None:
            raise SourceError(
                f"{redact(source.url)} does not give out the commit {source.commit}.",
                "Correct it in the recipe; if the server only gives out tags, add the commit's tag.",
                detail=str(refused),
            ) from refused
        _fetch_tag(repository, source, get)
    if _resolve(repository, ref) != source.commit:
        raise SourceError(
            f"{source.commit} of {redact(source.url)} is not a commit.", "Give the id of the commit, not of its tag."
        )


def _fetch_tag(repository: Path, source: GitSource, get: Callable[[str], None]) -> None:
    tag = f"{_REFS}/tag"
    try:
        get(f"+refs/tags/{source.tag}:{tag}")
    except RefusedError as refused:
        raise SourceError(
            f"{redact(source.url)} has neither the commit {source.commit} nor the tag {source.tag}.",
            "Correct them in the recipe.",
            detail=str(refused),
        ) from refused
    found = _resolve(repository, tag)
    ask_git(repository, "update-ref", "-d", tag)
    if found != source.commit:
        raise SourceError(
            f"{redact(source.url)} does not give out the commit {source.commit}, and its tag {source.tag} is now"
            f" {found}.",
            "Somebody moved the tag, or the recipe is wrong: find out which before changing the recipe.",
        )
    ask_git(repository, "update-ref", f"{_REFS}/{source.commit}", source.commit)


def _fetch_files(repository: Path, source: GitSource, listener: Listener) -> None:
    """The contents of the sparse directories, by id: what git itself does when a partial clone needs an object."""
    if not (missing := _missing(repository, source)):
        return  # a server without filters sent everything
    try:
        options = ("--filter=blob:none", "--stdin", "origin")
        wanted = b"\n".join(missing) + b"\n"
        fetch_git(repository, source.url, *options, partial=True, listener=listener, wanted=wanted)
    except RefusedError as refused:
        raise SourceError(
            f"{redact(source.url)} gives out partial clones but not their files.",
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


class _Writer:
    """Writes a commit's files, asking a running `git cat-file --batch` for one object after the other."""

    def __init__(self, ask: IO[bytes], answers: IO[bytes], source: GitSource) -> None:
        self._ask, self._answers, self._source = ask, answers, source

    def write(self, into: Path) -> None:
        """Write the tree of the commit as the new directory `into`."""
        first_line = self._object(self._source.commit, b"commit").partition(b"\n")[0]
        self._tree(first_line.removeprefix(b"tree ").decode(), into, "")

    def _object(self, identity: str, kind: bytes) -> bytes:
        self._ask.write(f"{identity}\n".encode())
        self._ask.flush()
        header = self._answers.readline().split()
        if len(header) != 3 or header[1] != kind:
            raise _DamagedError(f"the object {identity} is missing")
        size = int(header[2])
        content = self._answers.read(size)
        self._answers.read(1)
        if hashlib.sha1(b"%s %d\0%s" % (kind, size, content), usedforsecurity=False).hexdigest() != identity:
            raise _DamagedError(f"the object {identity} is damaged")
        return content

    def _tree(self, identity: str, directory: Path, prefix: str) -> None:
        directory.mkdir()
        for mode, raw_name, entry in _entries(self._object(identity, b"tree")):
            name = os.fsdecode(raw_name)
            inside = f"{prefix}{name}"
            path = directory / name
            if not self._wanted(inside):
                continue
            if name.casefold() in {"", ".", "..", ".git"} or "/" in name or path.exists() or path.is_symlink():
                raise SourceError(
                    f"The commit {self._source.commit} of {redact(self._source.url)} has an unsafe name: {inside!r}.",
                    "Do not use it: report it to its publisher.",
                )
            match mode:
                case b"40000":
                    self._tree(entry, path, f"{inside}/")
                case b"160000":  # a submodule: if the build needs it, it is a tree of the recipe
                    path.mkdir()
                case b"120000":
                    path.symlink_to(os.fsdecode(self._object(entry, b"blob")))
                case _:
                    path.write_bytes(self._object(entry, b"blob"))
                    path.chmod(0o755 if int(mode, 8) & 0o100 else 0o644)

    def _wanted(self, path: str) -> bool:
        """Whether `path` is in, or leads to, one of the sparse directories."""
        return not self._source.sparse or any(
            f"{path}/".startswith(f"{directory}/") or f"{directory}/".startswith(f"{path}/")
            for directory in self._source.sparse
        )


def _entries(tree: bytes) -> Iterator[tuple[bytes, bytes, str]]:
    """Mode, name and object id of each entry of a tree object (SHA-1: 20 bytes)."""
    while tree:
        mode, _, rest = tree.partition(b" ")
        name, _, rest = rest.partition(b"\0")
        yield mode, name, rest[:20].hex()
        tree = rest[20:]
