"""Files that hold a key: read only if nobody else can read them.

In: a path. Out: the content. Fails with `UsageError`: it is no regular file, or others than its owner can read or
change it. A symbolic link is followed, as secrets are mounted that way; what it leads to is what is looked at.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from wheelsmith.errors import UsageError


def read_secret(path: Path, most: int, make: str) -> bytes:
    """The content of the key file `path`.

    Args:
        path: the file.
        most: bytes that a key may have.
        make: the sentence that says how to make such a key.

    Raises:
        UsageError: see above.
    """
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)  # a pipe is not waited for
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"The key {path} cannot be read: {why}.", f"Give the path of a key file. {make}") from error
    try:
        _check(path, os.fstat(opened), make)
        data = b""
        while len(data) <= most and (piece := os.read(opened, most + 1 - len(data))):
            data += piece
    finally:
        os.close(opened)
    if len(data) > most:
        raise UsageError(f"The key {path} has more than {most} bytes.", f"Give the path of a key file. {make}")
    return data


def _check(path: Path, found: os.stat_result, make: str) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"The key {path} is not a regular file.", f"Give the path of a key file. {make}")
    if found.st_uid not in (os.geteuid(), 0):
        raise UsageError(
            f"The key {path} belongs to user {found.st_uid}, who can change it.",
            f"Use a file of your own: `install -m 600 {path} KEY`.",
        )
    # The group of a secret that root hands to a service may read it; nobody else but the owner.
    ours = found.st_uid == os.geteuid()
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO if ours else stat.S_IWGRP | stat.S_IRWXO):
        raise UsageError(
            f"The key {path} can be read or changed by others (mode {stat.S_IMODE(found.st_mode):04o}).",
            f"`chmod 600 {path}`; if somebody else may have read it, make a new one."
            if ours
            else f"Use a copy of your own: `install -m 600 {path} KEY`.",
        )
