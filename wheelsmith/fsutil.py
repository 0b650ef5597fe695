"""Files that must survive a power cut, and the digest that names them. Used by every room that writes.

In: paths. Out: a durable directory, or a digest. Fails with `OSError`.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import suppress
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
    away = path
    if not is_debris(path.name):
        away = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{_GOING}")
        try:
            path.rename(away)
        except FileNotFoundError:
            return
    if away.is_symlink() or not away.is_dir():
        away.unlink(missing_ok=True)
    else:
        _erase(away)


def _erase(top: Path) -> None:
    """Remove a directory of debris. Another process may find and remove it at the same time."""
    while os.path.lexists(top):
        try:
            _erase_alone(top)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
                raise


def _erase_alone(top: Path) -> None:
    """Remove a directory that strangers filled, however deep it is and whatever its permissions are.

    Every directory is moved up to `top` before it is looked into: so no path is long, and two descriptors are enough.
    """
    base = _enter(str(top))
    try:
        mark, moved, rest = secrets.token_hex(8), 0, ["."]
        while rest:
            name = rest.pop()
            directory = _enter(name, base)
            try:
                with os.scandir(directory) as entries:
                    for entry in entries:
                        if not entry.is_dir(follow_symlinks=False):
                            os.unlink(entry.name, dir_fd=directory)
                        elif not entry.name.startswith(mark):
                            moved += 1
                            os.close(_enter(entry.name, directory))
                            os.rename(entry.name, f"{mark}{moved}", src_dir_fd=directory, dst_dir_fd=base)
                            rest.append(f"{mark}{moved}")
            finally:
                os.close(directory)
            if name != ".":
                try:
                    os.rmdir(name, dir_fd=base)
                except OSError as error:
                    if error.errno != errno.ENOTEMPTY:
                        raise
                    rest.append(name)  # some file systems leave out names while others are removed
    finally:
        os.close(base)
    top.rmdir()


def _enter(name: str, within: int | None = None) -> int:
    """Open a directory, and give its owner all rights to it."""
    opened = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=within)
    try:
        if os.fstat(opened).st_mode & stat.S_IRWXU != stat.S_IRWXU:
            os.chmod(f"/proc/self/fd/{opened}", stat.S_IRWXU)  # noqa: PTH101 - a descriptor
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=opened)
    finally:
        os.close(opened)


def write_fresh(path: Path, text: str) -> None:
    """Write a file in a directory that strangers could write: what they laid there, such as a link, is removed."""
    remove_tree(path)
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with open(opened, "w", encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123 - a descriptor
        file.write(text)


def entries_below(top: Path) -> Iterator[os.DirEntry[str]]:
    """All that is below a directory, in no order and however deep; no link is followed.

    What cannot be looked into is left out.
    """
    rest = [str(top)]
    while rest:
        with suppress(OSError), os.scandir(rest.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    rest.append(entry.path)
                yield entry


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
