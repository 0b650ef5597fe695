"""Files that must survive a power cut, and the digest that names them. Used by every room that writes.

In: paths. Out: a durable directory, or a digest. Fails with `OSError`.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import stat
from pathlib import Path

_GOING = ".going"


def sync_directory(directory: Path) -> None:
    """Make the names in `directory` durable: a rename is, only after its directory is synced (fsync(2))."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_tree(path: Path) -> None:
    """Remove a file, link or directory so that its name is free at once, and nothing half removed ever stands there.

    It is renamed first. What a kill leaves behind has a name that `is_debris` knows.
    """
    away = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{_GOING}")
    try:
        path.rename(away)
    except FileNotFoundError:
        return
    if away.is_symlink() or not away.is_dir():
        away.unlink()
    else:
        shutil.rmtree(away)


def is_debris(name: str) -> bool:
    """Whether a file name is one of something that was on its way out."""
    return name.startswith(".") and name.endswith(_GOING)


def read_plain(path: Path, most: int) -> bytes:
    """The first `most` bytes of a regular file that strangers may have made: no link is followed, no pipe waited for.

    Raises:
        OSError: there is no such file, or it is none.
    """
    opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(opened, "rb") as file:  # noqa: PTH123 - a descriptor
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise OSError(f"{path} is not a regular file")
        return file.read(most)


def read_whole(path: Path, most: int) -> bytes:
    """A regular file that people wrote, or a link to one; a pipe is not waited for, a device not read.

    Raises:
        OSError: there is no such file, it is none, or it has more than `most` bytes.
    """
    opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise OSError("it is not a regular file")
        data = bytearray()
        while piece := os.read(opened, 1 << 20):
            data += piece
            if len(data) > most:
                raise OSError(f"it has more than {most:,} bytes")
        return bytes(data)
    finally:
        os.close(opened)
