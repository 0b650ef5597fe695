"""The files of a commit, written from git's raw objects.

In: a running `git cat-file --batch` and a `GitSource`. Out: a directory. Each object is checked against its id from the
pinned commit down: attributes (export-subst, eol, filters) change nothing, and what arrives is what the commit names.
Fails with `DamagedError` (an object is missing or has other bytes), which stays inside the room, and `SourceError`
(a name that must not be written).
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING

from wheelsmith.errors import SourceError
from wheelsmith.sources.model import redact
from wheelsmith.sources.safe_paths import MOST_FILES, UNPACKED_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wheelsmith.planning.model import GitSource


_DEEPEST = 200  # directories in directories
_LARGEST_TREE = 256 << 20  # bytes of a commit or of one directory's list
_LONGEST_NAME, _LONGEST_PATH = 255, 4095  # bytes: NAME_MAX, PATH_MAX
_CHUNK = 1 << 20


class DamagedError(Exception):
    """An object is missing, or its bytes do not have its id."""


class Writer:
    """Writes a commit's files, asking a running `git cat-file --batch` for one object after the other."""

    def __init__(self, ask: IO[bytes], answers: IO[bytes], source: GitSource) -> None:
        self._ask, self._answers, self._source = ask, answers, source
        self._files = self._bytes = 0

    def write(self, into: Path) -> None:
        """Write the tree of the commit as the new directory `into`."""
        first_line = self._object(self._source.commit, b"commit", _LARGEST_TREE).partition(b"\n")[0]
        self._tree(first_line.removeprefix(b"tree ").decode(), into, "", 0)

    def _object(self, identity: str, kind: bytes, most: int) -> bytes:
        return b"".join(self._chunks(identity, kind, most))

    def _chunks(self, identity: str, kind: bytes, most: int = UNPACKED_LIMIT) -> Iterator[bytes]:
        """The content of an object of at most so many bytes; whether it is that one is known at the end."""
        self._ask.write(f"{identity}\n".encode())
        self._ask.flush()
        header = self._answers.readline().split()
        if len(header) != 3 or header[1] != kind:
            raise DamagedError(f"the object {identity} is missing")
        left = size = int(header[2])
        self._bytes += size
        if size > most or self._bytes > UNPACKED_LIMIT:
            raise self._refused(f"has more than {min(most, UNPACKED_LIMIT):,} bytes")
        digest = hashlib.sha1(b"%s %d\0" % (kind, size), usedforsecurity=False)
        while left and (chunk := self._answers.read(min(left, _CHUNK))):
            digest.update(chunk)
            left -= len(chunk)
            yield chunk
        self._answers.read(1)
        if digest.hexdigest() != identity:
            raise DamagedError(f"the object {identity} is damaged")

    def _refused(self, why: str) -> SourceError:
        return SourceError(
            f"The commit {self._source.commit} of {redact(self._source.url)} {why}.",
            "Do not use it: report it to its publisher.",
        )

    def _tree(self, identity: str, directory: Path, prefix: str, depth: int) -> None:
        if depth > _DEEPEST:
            raise self._refused(f"has directories in more than {_DEEPEST} directories")
        directory.mkdir()
        for mode, raw_name, entry in _entries(self._object(identity, b"tree", _LARGEST_TREE)):
            name = os.fsdecode(raw_name)
            inside = f"{prefix}{name}"
            path = directory / name
            if not self._wanted(inside):
                continue
            self._files += 1
            if self._files > MOST_FILES:
                raise self._refused(f"has more than {MOST_FILES:,} files")
            unsafe = name.casefold() in {"", ".", "..", ".git"} or "/" in name or len(raw_name) > _LONGEST_NAME
            if unsafe or len(os.fsencode(path)) > _LONGEST_PATH or path.exists() or path.is_symlink():
                raise self._refused(f"has an unsafe name: {inside!r}")
            match mode:
                case b"40000":
                    self._tree(entry, path, f"{inside}/", depth + 1)
                case b"160000":  # a submodule: if the build needs it, it is a tree of the recipe
                    path.mkdir()
                case b"120000":
                    target = os.fsdecode(self._object(entry, b"blob", _LONGEST_PATH))
                    if not target or "\0" in target:
                        raise self._refused(f"has a link that leads nowhere: {inside!r}")
                    path.symlink_to(target)
                case _ if not mode.startswith(b"100") or not mode.isdigit():
                    raise self._refused(f"has an entry of an unknown kind, {mode!r}: {inside!r}")
                case _:
                    with path.open("wb") as file:
                        file.writelines(self._chunks(entry, b"blob"))
                    path.chmod(0o755 if mode in (b"100755", b"100775", b"100777") else 0o644)

    def _wanted(self, path: str) -> bool:
        """Whether `path` is in, or leads to, one of the sparse directories."""
        return not self._source.sparse or any(
            f"{path}/".startswith(f"{directory}/") or f"{directory}/".startswith(f"{path}/")
            for directory in self._source.sparse
        )


def _entries(tree: bytes) -> Iterator[tuple[bytes, bytes, str]]:
    """Mode, name and object id of each entry of a tree object (SHA-1: 20 bytes)."""
    start = 0
    while start < len(tree):
        space = tree.find(b" ", start)
        end = tree.find(b"\0", space)
        if space < 0 or end < 0:
            raise DamagedError("a directory's list breaks off")
        yield tree[start:space], tree[space + 1 : end], tree[end + 1 : end + 21].hex()
        start = end + 21
