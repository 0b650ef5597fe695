"""Paths of the build machine in a finished wheel.

In: a wheel and absolute paths. Out: names of the members that hold one of them. Fails with `InvalidWheelError` on a
wheel that is not sound and with `UsageError` on a path that is not absolute.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

from wheelsmith.errors import UsageError
from wheelsmith.wheel.archive import open_archive

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_LONGEST = 255  # bytes of a file name
#: The end of a path that goes on with what follows; `-I` in -I/root is none, and `/..` leads out again.
_PARENT = re.compile(rb"/(?!\.+$)[\w.-]+$")


def check_paths(wheel: Path, forbidden: Sequence[str]) -> tuple[str, ...]:
    """Names of the members whose bytes name one of the absolute paths in `forbidden`, or something below it, sorted.

    Compressed GPU code is not looked into.

    Raises:
        InvalidWheelError: the wheel is not sound.
        UsageError: an item of `forbidden` is no absolute path, or is the root.
    """
    needles = [path.rstrip("/").encode() for path in forbidden]
    if bad := [path for path, needle in zip(forbidden, needles, strict=True) if not needle.startswith(b"/")]:
        raise UsageError(f"{bad[0]!r} cannot be a forbidden path.", "Give absolute paths other than the root.")
    with open_archive(wheel) as archive:
        return tuple(
            sorted(member.filename for member in archive.members if _contains(archive.chunks(member), needles))
        )


def _contains(chunks: Iterable[bytes], needles: Sequence[bytes]) -> bool:
    if not needles:
        return False
    # Whole paths only: /root is not in /rootfs, nor in /path/to/root. The byte after the name may be in the next chunk,
    # or there is none.
    named = re.compile(rb"(?:%s)[^\w.-]" % b"|".join(map(re.escape, needles)))
    overlap = max(map(len, needles)) + _LONGEST
    tail = b""
    for chunk in itertools.chain(chunks, (b"\0",)):
        window = tail + chunk
        if any(not _PARENT.search(window, max(0, at.start() - _LONGEST), at.start()) for at in named.finditer(window)):
            return True
        tail = window[-overlap:]
    return False
