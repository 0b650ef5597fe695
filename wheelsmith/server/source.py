"""Where the server reads an index from: a directory, looked at for every request, or a bucket, looked at now and then.

In: keys. Out: what lies there: a `Look` that changes when the object does, and its bytes. Of a bucket, what was seen is
believed for `FRESH` seconds, so that a page that everybody asks for costs one request to the bucket. Fails with
`NetworkError` or `StoreError` when a bucket does not answer.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from wheelsmith.index import keys
from wheelsmith.index.location import open_storage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wheelsmith.index.bucket import BucketStorage

FRESH = 2.0  # seconds
_KEPT = 64 << 20  # bytes of small objects


@dataclass(frozen=True, slots=True)
class Look:
    """What lies under a key.

    Attributes:
        stamp: another one as soon as the content is another.
        size: bytes.
        is_folder: it is a folder, and nothing else is known.
        status: of a file in a directory.
    """

    stamp: tuple[int | str, ...]
    size: int
    is_folder: bool = False
    status: os.stat_result | None = None


class Source(Protocol):
    """An index to read from."""

    @property
    def is_slow(self) -> bool:
        """Whether reading may wait for a network, and belongs into a thread."""

    def look(self, key: str) -> Look | None:
        """What lies there, or None."""

    def read(self, key: str) -> tuple[Look, bytes] | None:
        """A small object, and what it is, or None."""

    def path(self, key: str) -> str | None:
        """A local file with the object, where there is one."""

    def stream(self, key: str, start: int, end: int) -> Iterator[bytes]:
        """Bytes `start` up to `end` of a large object."""


@dataclass(frozen=True, slots=True)
class DirectorySource:
    """The index in a directory. Implements `Source`."""

    root: str
    is_slow: bool = False

    def look(self, key: str) -> Look | None:
        """See `Source`."""
        try:
            status = os.stat(f"{self.root}/{key}")  # noqa: PTH116  one of these per request
        except (OSError, ValueError):  # too long, a file where a folder is meant, surrogates
            return None
        return _seen(status)

    def read(self, key: str) -> tuple[Look, bytes] | None:
        """See `Source`."""
        try:
            with open(f"{self.root}/{key}", "rb") as stream:  # noqa: PTH123
                look = _seen(os.fstat(stream.fileno()))
                return None if look is None or look.is_folder else (look, stream.read())
        except (OSError, ValueError):
            return None

    def path(self, key: str) -> str | None:
        """See `Source`."""
        return f"{self.root}/{key}"

    def stream(self, key: str, start: int, end: int) -> Iterator[bytes]:
        """See `Source`. Files are sent by the operating system instead."""
        raise NotImplementedError


class BucketSource:
    """The index in a bucket. Implements `Source`."""

    is_slow = True

    def __init__(self, storage: BucketStorage) -> None:
        self._storage = storage
        self._guard = threading.Lock()
        self._known: OrderedDict[str, tuple[float, tuple[Look, bytes] | None]] = OrderedDict()
        self._size = 0

    def look(self, key: str) -> Look | None:
        """See `Source`."""
        if not key.endswith(".whl"):
            found = self.read(key)
            return None if found is None else found[0]
        known = self._fresh(key)
        if known is None:
            size = self._storage.size(key)
            known = self._keep(key, None if size is None else (Look((key, size), size), b""))
        return None if known[1] is None else known[1][0]

    def read(self, key: str) -> tuple[Look, bytes] | None:
        """See `Source`."""
        known = self._fresh(key)
        if known is None:
            stored = self._storage.read(key)
            mark = None if stored is None else (stored.version or str(hash(stored.data)), len(stored.data))
            known = self._keep(key, None if stored is None or mark is None else (Look(mark, mark[1]), stored.data))
        return known[1]

    def path(self, key: str) -> str | None:
        """See `Source`."""
        return None

    def stream(self, key: str, start: int, end: int) -> Iterator[bytes]:
        """See `Source`."""
        return self._storage.stream(key, start, end)

    def _fresh(self, key: str) -> tuple[float, tuple[Look, bytes] | None] | None:
        with self._guard:
            known = self._known.get(key)
            return known if known is not None and time.monotonic() - known[0] < FRESH else None

    def _keep(self, key: str, found: tuple[Look, bytes] | None) -> tuple[float, tuple[Look, bytes] | None]:
        kept = time.monotonic(), found
        with self._guard:
            self._forget(key)
            self._known[key] = kept
            self._size += 500 + len(found[1] if found else b"")
            while self._size > _KEPT and len(self._known) > 1:
                self._forget(next(iter(self._known)))
        return kept

    def _forget(self, key: str) -> None:
        if (known := self._known.pop(key, None)) is not None:
            self._size -= 500 + len(known[1][1] if known[1] else b"")


def open_source(where: Path | str) -> Source:
    """Open an index for reading.

    Raises:
        UsageError: `where` is no location.
    """
    storage = open_storage(where)
    root = getattr(storage, "root", None)
    if isinstance(root, Path):
        return DirectorySource(str(root))
    from wheelsmith.index.bucket import BucketStorage

    assert isinstance(storage, BucketStorage)  # noqa: S101  there is no third kind
    return BucketSource(storage)


def has_record(source: Source, project: str) -> bool:
    """Whether something of a project is, or was, published."""
    return source.look(keys.project_record(project)) is not None


def _seen(status: os.stat_result) -> Look | None:
    if stat.S_ISDIR(status.st_mode):
        return Look((), 0, is_folder=True)
    if not stat.S_ISREG(status.st_mode):
        return None
    return Look((status.st_mtime_ns, status.st_size, status.st_ino), status.st_size, status=status)
