"""Whether a wheel keeps what its file name promises: the tags in it, and the glibc that its libraries need.

In: an opened wheel. Out: nothing. Fails with `InvalidWheelError` on a wheel that lies. Rules: the binary distribution
format (the tags in WHEEL are those of the file name, expanded) and PEP 600 (manylinux_X_Y: no symbol newer than glibc
X.Y).
"""

from __future__ import annotations

import re
from email.parser import BytesParser
from typing import TYPE_CHECKING

from packaging.tags import parse_tag

from wheelsmith.wheel.archive import invalid
from wheelsmith.wheel.elf import ELF_MAGIC, read_elf

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wheelsmith.wheel.archive import Archive

_MANYLINUX = re.compile(r"-manylinux_(\d+)_(\d+)_\w+$")
_LEGACY = {"-manylinux1_": (2, 5), "-manylinux2010_": (2, 12), "-manylinux2014_": (2, 17)}  # PEP 600


def check_tags(archive: Archive) -> None:
    """Compare the tags of the file name with those in WHEEL.

    Raises:
        InvalidWheelError: they are not the same.
    """
    stated = BytesParser().parsebytes(archive.text("WHEEL"), headersonly=True).get_all("Tag", [])
    inside = {str(tag) for line in stated for tag in parse_tag(line.strip())}
    if inside != set(archive.tags):
        raise invalid(
            archive.path.name,
            f"its WHEEL states the tags {', '.join(sorted(inside)) or 'none'}, its name {', '.join(archive.tags)}",
        )


def check_members(archive: Archive) -> None:
    """Unpack every member once, and hold libraries against the glibc that the wheel's tags promise.

    Raises:
        InvalidWheelError: a member is damaged, or a library needs a newer glibc.
    """
    promised = _promised_glibc(archive.tags)
    for member in archive.members:
        if promised and archive.starts_with(member, ELF_MAGIC):
            with archive.opened(member) as (window, _):
                facts = read_elf(window)
            needed = tuple(map(int, facts.glibc.split("."))) if facts and facts.glibc else ()
            if facts and needed > promised:
                major, minor = promised
                raise invalid(
                    archive.path.name,
                    f"{member.filename} needs glibc {facts.glibc}, and its tag promises {major}.{minor}",
                )
        else:
            for _ in archive.chunks(member):
                pass


def _promised_glibc(tags: Iterable[str]) -> tuple[int, int] | None:
    """The oldest glibc of all manylinux tags, or None if there is none."""
    found: list[tuple[int, int]] = []
    for tag in tags:
        if match := _MANYLINUX.search(tag):
            found.append((int(match[1]), int(match[2])))
        found += [glibc for name, glibc in _LEGACY.items() if name in tag]
    return min(found, default=None)
