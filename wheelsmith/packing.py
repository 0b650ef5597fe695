"""A directory as one archive whose bytes depend on its content only, so that a local directory can be a pinned source.

In: a directory. Out: an uncompressed tar: names sorted, one time stamp, two modes, no owners; without what version
control and builds leave. Fails with `OSError` on what cannot be read; links are left out if they lead away.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

_LEFT_OUT = {".git", ".hg", ".svn", ".venv", "venv", "__pycache__", "build", "dist", ".tox", ".nox", ".mypy_cache"}
_LEFT_OUT |= {".pytest_cache", ".ruff_cache", ".eggs", "node_modules"}
_EPOCH = 1577836800  # as everything in a wheel: 2020-01-01T00:00:00Z
_PIECE = 1 << 20


class _Sink(Protocol):
    def write(self, data: bytes, /) -> object: ...


class _Digest:
    """Takes bytes as a file does, and keeps their SHA-256 only."""

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes, /) -> int:
        """Take some."""
        self.sha256.update(data)
        return len(data)


def digest_of_directory(directory: Path) -> str:
    """SHA-256 (hex) of the archive that `pack` would write."""
    sink = _Digest()
    pack(directory, sink)
    return sink.sha256.hexdigest()


def pack(directory: Path, sink: _Sink) -> None:
    """Write the archive of a directory: below one top folder, as an sdist has it."""
    top = Path(directory.name or "source")
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT, bufsize=_PIECE) as archive:  # type: ignore[call-overload]
        for path in _files(directory):
            info = tarfile.TarInfo(str(top / path.relative_to(directory)))
            info.mtime = _EPOCH
            if path.is_symlink():
                info.type, info.linkname = tarfile.SYMTYPE, str(path.readlink())
                archive.addfile(info)
                continue
            status = path.stat()
            info.mode = 0o755 if status.st_mode & 0o100 else 0o644
            data = path.read_bytes()
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def _files(directory: Path) -> Iterator[Path]:
    root = directory.resolve()
    for folder, names, files in os.walk(directory):
        names[:] = sorted(name for name in names if name not in _LEFT_OUT and not name.endswith(".egg-info"))
        for name in sorted(files):
            path = Path(folder) / name
            if path.is_symlink():
                target = path.resolve()
                if target.is_relative_to(root) and target.exists():
                    yield path
            elif path.is_file() and not name.endswith((".pyc", ".o")):
                yield path
