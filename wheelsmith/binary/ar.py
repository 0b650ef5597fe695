"""The members of a static archive (`.a`).

In: a window on the file. Out: names and windows of its members, without the symbol tables. Fails with
`InvalidWheelError` on an archive that contradicts itself, and on a thin one, whose members are elsewhere. Format:
ar(5), with the long names of GNU (`/123`) and of BSD (`#1/12`).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from wheelsmith.errors import InvalidWheelError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wheelsmith.binary.window import Window

AR_MAGIC = b"!<arch>\n"
THIN_MAGIC = b"!<thin>\n"
_HEADER = struct.Struct("16s12s6s6s8s10s2s")
_MAX_MEMBERS = 200_000
_MAX_NAMES = 16 << 20
_MAX_NAME = 4096


def read_archive(archive: Window) -> Iterator[tuple[str, Window]]:
    """Yield name and content of every member, in file order.

    Raises:
        InvalidWheelError: a header is damaged, a member leaves the file, or the archive is thin.
    """
    if archive.read(0, len(AR_MAGIC)) != AR_MAGIC:
        raise _invalid("it is a thin archive, or none")
    position, names = len(AR_MAGIC), b""
    for _ in range(_MAX_MEMBERS):
        if position >= archive.size:
            return
        raw, _, _, _, _, digits, end = _HEADER.unpack(archive.read(position, _HEADER.size))
        if end != b"`\n" or not digits.strip().isdigit():
            raise _invalid(f"the header at offset {position} is damaged")
        member = archive.part(position + _HEADER.size, int(digits))
        position += _HEADER.size + member.size + member.size % 2
        name = raw.rstrip()
        if name == b"//":
            names = member.read(0, _limited(member.size, _MAX_NAMES))
        elif name.startswith(b"#1/"):
            length = _limited(_number(name[3:]), _MAX_NAME)
            text = member.read(0, length).rstrip(b"\0")
            if not text.startswith(b"__.SYMDEF"):
                yield _decoded(text), member.part(length, member.size - length)
        elif name not in {b"/", b"/SYM64/"}:
            yield _decoded(_long_name(names, name) if name.startswith(b"/") else name.removesuffix(b"/")), member
    raise _invalid(f"it has more than {_MAX_MEMBERS} members")


def _long_name(names: bytes, name: bytes) -> bytes:
    start = _number(name[1:])
    end = names.find(b"\n", start)
    if end < 0:
        raise _invalid(f"the name {name!r} is not in its table")
    return names[start:end].removesuffix(b"/")


def _number(text: bytes) -> int:
    if not text.isdigit():
        raise _invalid(f"{text!r} is not a number")
    return int(text)


def _limited(size: int, limit: int) -> int:
    if size > limit:
        raise _invalid(f"names of {size} bytes")
    return size


def _decoded(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


def _invalid(what: str) -> InvalidWheelError:
    return InvalidWheelError(f"A static archive cannot be read: {what}.", "The file is damaged; get it again.")
