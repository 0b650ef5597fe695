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

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wheelsmith.planning.model import GitSource


class DamagedError(Exception):
    """An object is missing, or its bytes do not have its id."""


class Writer:
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
            raise DamagedError(f"the object {identity} is missing")
        size = int(header[2])
        content = self._answers.read(size)
        self._answers.read(1)
        if hashlib.sha1(b"%s %d\0%s" % (kind, size, content), usedforsecurity=False).hexdigest() != identity:
            raise DamagedError(f"the object {identity} is damaged")
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
