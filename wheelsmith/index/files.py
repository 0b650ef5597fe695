"""Writing to a directory that others read and write at the same time.

In: paths and bytes. Out: files that are there completely or not at all, and survive a power cut. Fails with
`DiskFullError` when there is no space, `StoreError` when the file system refuses.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from wheelsmith.errors import DiskFullError, StoreError
from wheelsmith.fsutil import sync_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_CHUNK = 1 << 20


@contextmanager
def storage_errors(root: Path) -> Iterator[None]:
    """Turn an `OSError` of the index at `root` into `DiskFullError` or `StoreError`."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DiskFullError(
                f"No space is left for the index {root}.",
                "Free space there and publish again; what was published before is intact.",
            ) from error
        raise StoreError(
            f"The index {root} cannot be read or written: {error}.",
            "Make it a directory that you may write to, on a file system with hard links and locks.",
        ) from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` exclusively; it is freed when the process dies, however it dies."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def create_exclusive(path: Path) -> int:
    """Create `path`, which must not exist, with the permissions of the umask; return its descriptor."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)


def write_atomic(path: Path, data: bytes, scratch: Path, *, sync: bool = True) -> None:
    """Put `data` at `path`: readers see the old file or the new one. Nothing happens if it is there already.

    Args:
        path: the file; missing folders above it are made.
        data: its whole content.
        scratch: a folder on the same file system, for the temporary file.
        sync: make the name durable too; without, the caller syncs the folder once for many names.
    """
    try:
        if path.read_bytes() == data:
            return
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    temporary = scratch / f"{secrets.token_hex(8)}.tmp"
    try:
        with os.fdopen(create_exclusive(temporary), "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)  # noqa: PTH105  the system call that the promise rests on
    finally:
        temporary.unlink(missing_ok=True)
    if sync:
        sync_directory(path.parent)


def copy_hashed(source: BinaryIO, target: BinaryIO, progress: Callable[[int], None]) -> str:
    """Copy `source` to `target`, make it durable and return its SHA-256; `progress` hears the bytes done."""
    digest = hashlib.sha256()
    done = 0
    while chunk := source.read(_CHUNK):
        digest.update(chunk)
        target.write(chunk)
        done += len(chunk)
        progress(done)
    target.flush()
    os.fsync(target.fileno())
    return digest.hexdigest()
