"""Paths that others chose, turned into paths that stay where they belong; and how large a tree of theirs may be.

In: a root directory and a relative POSIX path. Out: the path below the root. Fails with `ValueError`, whose text says
what is wrong with the path, so that each caller raises its own error.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from wheelsmith.planning.model import EPOCH

#: Bytes. The largest source tree known here (PyTorch with its submodules) has 2 GB; a bomb has any number.
UNPACKED_LIMIT = 16 << 30
#: Files, directories and links. Chromium has 400,000.
MOST_FILES = 1_000_000


def below(root: Path, name: str) -> Path:
    """The path `name` below `root`.

    Raises:
        ValueError: it is absolute or empty, climbs with `..`, contains a backslash or NUL, or leads to or through a
            symbolic link.
    """
    parts = name.split("/")
    if not name or name.startswith("/") or any(part in {"", ".", ".."} for part in parts):
        raise ValueError(f"{name!r} is not a plain relative path")
    if "\\" in name or "\0" in name:
        raise ValueError(f"{name!r} contains a backslash or NUL")
    path = root
    for part in PurePosixPath(name).parts:
        path = path / part
        if path.is_symlink():
            raise ValueError(f"{name!r} leads through the symbolic link {str(path.relative_to(root))!r}")
    return path


def settle(root: Path) -> None:
    """Give everything under `root` the same times and modes on every machine, whatever the umask and the clock.

    Files become 0644, or 0755 where the owner may execute them; directories 0755; all times `EPOCH`, so that a tree
    laid out again looks unchanged to make and ninja.
    """
    for directory, _, files in os.walk(root, topdown=False):
        for name in files:
            path = Path(directory, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
        for path in Path(directory).iterdir():
            os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)
        Path(directory).chmod(0o755)
    os.utime(root, (EPOCH, EPOCH))
