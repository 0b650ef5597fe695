"""What a build hands over, checked before it is believed.

In: the build's output directory, after everything of the build has ended. Out: `Outcome`, and the wheel in a directory
that the build could not write. Fails with `CompileError`: strangers' code wrote all of this, so a link, a device, a
second name of the file, a name that leads elsewhere and a size beyond all reason are refused, whoever made them.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from wheelsmith.errors import CompileError
from wheelsmith.fsutil import remove_tree

#: Written by `driver.py`, beside the wheel.
RESULT_FILE = "wheelsmith-result.json"

_LARGEST_RESULT = 1 << 20  # bytes
_LARGEST_WHEEL = 32 * 10**9  # bytes; no index takes such a file
_REMEDY = "The project's build backend did this: read its code before you build it again."


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the driver says: the wheel's name, or what the environment lacks, or why it failed."""

    wheel: str = ""
    unmet: tuple[str, ...] = ()
    failed: str = ""


def read_outcome(out: Path, status: int) -> Outcome:
    """What came of the build whose output directory is `out` and whose exit status was `status`.

    Raises:
        CompileError: the result is not what the driver writes.
    """
    try:
        directory = os.open(out, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            opened = _open(directory, RESULT_FILE, _LARGEST_RESULT)
        finally:
            os.close(directory)
    except FileNotFoundError:
        return Outcome(failed=f"exit status {status}")
    with open(opened, "rb") as file:  # noqa: PTH123 - a descriptor
        text = file.read(_LARGEST_RESULT)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    match data:
        case {"wheel": str(name)} if not status:
            return Outcome(wheel=name)
        case {"unmet": [*names]} if names:
            return Outcome(unmet=tuple(str(name)[:200] for name in names[:100]))
        case {"failed": str(words)}:
            return Outcome(failed=words[:1000])
    return Outcome(failed=f"exit status {status}, and a result that cannot be read")


def take_wheel(out: Path, name: str, into: Path) -> Path:
    """Move the wheel `name` from the build's output directory into `into`, which is made anew.

    Raises:
        CompileError: the name is no wheel's, or what it names is not one plain file.
    """
    try:
        parse_wheel_filename(name)
    except InvalidWheelFilename as error:
        raise _refused(name, "that is not the name of a wheel") from error
    if "/" in name or "\0" in name or not name.isprintable():
        raise _refused(name, "that is not the name of a file")
    remove_tree(into)
    into.mkdir(mode=0o700)
    directory = os.open(out, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        opened = _open(directory, name, _LARGEST_WHEEL)
        try:
            os.rename(name, into / name, src_dir_fd=directory)
            mine, moved = os.fstat(opened), os.lstat(into / name)
            if (mine.st_dev, mine.st_ino) != (moved.st_dev, moved.st_ino):
                raise _refused(name, "it was replaced while it was looked at")
            os.fchmod(opened, 0o644)
            if mine.st_uid != os.geteuid() and os.geteuid() == 0:
                os.fchown(opened, 0, 0)
        finally:
            os.close(opened)
    except FileNotFoundError as error:
        raise _refused(name, "there is no such file") from error
    finally:
        os.close(directory)
    return into / name


def _open(directory: int, name: str, largest: int) -> int:
    """Open a file of the build for reading, if it is one: a pipe would never answer, a link leads elsewhere."""
    try:
        opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        raise
    except OSError as error:  # a link, a socket, a device, no permission
        raise _refused(name, error.strerror or "it cannot be opened") from error
    found = os.fstat(opened)
    problem = ""
    if not stat.S_ISREG(found.st_mode):
        problem = "it is not a regular file"
    elif found.st_nlink != 1:
        problem = "it has a second name"
    elif found.st_mode & (stat.S_ISUID | stat.S_ISGID):
        problem = "it is setuid or setgid"
    elif found.st_size > largest:
        problem = f"it has {found.st_size:,} bytes, and {largest:,} are believed"
    if problem:
        os.close(opened)
        raise _refused(name, problem)
    return opened


def _refused(name: str, why: str) -> CompileError:
    return CompileError(f"The build handed over {name!r}, which is not taken: {why}.", _REMEDY)
