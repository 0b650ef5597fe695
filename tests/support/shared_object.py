"""ELF shared objects, written byte by byte: no compiler, and the tests know all of it (System V ABI, chapters 4, 5)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_PROGBITS, _STRTAB, _HASH, _DYNAMIC, _DYNSYM = 1, 3, 5, 6, 11
_NEEDED, _STRTAB_TAG, _SYMTAB_TAG, _HASH_TAG, _STRSZ, _SYMENT, _SONAME = 1, 5, 6, 4, 10, 11, 14
_WRITE, _ALLOC, _EXECUTE = 1, 2, 4
_HEADERS = 64 + 3 * 56
_TEXT = 240  # where `f` is: the first place behind the headers that 16 divides


class _Section(NamedTuple):
    name: str
    kind: int
    flags: int
    content: bytes
    size: int = 0  # of an entry
    link: int = 0
    info: int = 0


def shared_object(
    fatbin: bytes = b"",
    *,
    section: str = ".nv_fatbin",
    needed: Sequence[str] = (),
    undefined: Sequence[str] = (),
    soname: str | None = None,
) -> bytes:
    """A shared object that defines the function `f`.

    Args:
        fatbin: what the section holds; without it there is no such section.
        section: its name.
        needed: libraries that the loader would look for.
        undefined: names of symbols that others have to define.
        soname: its own name.
    """
    names = b"\0"
    at: dict[str, int] = {}
    for name in dict.fromkeys((*needed, *undefined, *([soname] if soname else []), "f")):
        at[name], names = len(names), names + name.encode() + b"\0"
    global_function = (1 << 4) | 2
    symbols = [bytes(24), *(struct.pack("<IBBHQQ", at[name], 1 << 4, 0, 0, 0, 0) for name in undefined)]
    symbols.append(struct.pack("<IBBHQQ", at["f"], global_function, 0, 1, _TEXT, 1))
    chain = struct.pack(f"<III{len(symbols)}I", 1, len(symbols), 1, *range(1, len(symbols)), 0)  # one bucket for all
    sections = [
        _Section("", 0, 0, b""),
        _Section(".text", _PROGBITS, _ALLOC | _EXECUTE, b"\xc3"),
        _Section(".dynsym", _DYNSYM, _ALLOC, b"".join(symbols), 24, 3, 1),
        _Section(".dynstr", _STRTAB, _ALLOC, names),
        _Section(".hash", _HASH, _ALLOC, chain, 4, 2),
    ]
    if fatbin:
        sections.append(_Section(section, _PROGBITS, _ALLOC, fatbin))
    offsets, end = [0], _HEADERS
    for one in sections[1:]:
        end = -(-end // 16) * 16
        offsets.append(end)
        end += len(one.content)
    tags = [(_NEEDED, at[name]) for name in needed] + ([(_SONAME, at[soname])] if soname else [])
    tags += [(_HASH_TAG, offsets[4]), (_STRTAB_TAG, offsets[3]), (_SYMTAB_TAG, offsets[2])]
    tags += [(_STRSZ, len(names)), (_SYMENT, 24), (0, 0)]
    dynamic = b"".join(struct.pack("<QQ", *tag) for tag in tags)
    sections.append(_Section(".dynamic", _DYNAMIC, _ALLOC | _WRITE, dynamic, 16, 3))
    offsets.append(-(-end // 16) * 16)
    loaded = offsets[-1] + len(dynamic)
    titles = b"\0" + b"".join(one.name.encode() + b"\0" for one in sections[1:]) + b".shstrtab\0"
    sections.append(_Section(".shstrtab", _STRTAB, 0, titles))
    offsets.append(loaded)
    table = -(-(loaded + len(titles)) // 16) * 16
    file = bytearray(table)
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    last = len(sections) - 1
    file[:64] = ident + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, table, 0, 64, 56, 3, 64, len(sections), last)
    load = struct.pack("<IIQQQQQQ", 1, 7, 0, 0, 0, loaded, loaded, 0x1000)
    dynamics = struct.pack("<IIQQQQQQ", 2, 6, *[offsets[-2]] * 3, len(dynamic), len(dynamic), 8)
    stack = struct.pack("<IIQQQQQQ", 0x6474E551, 6, 0, 0, 0, 0, 0, 16)
    file[64:_HEADERS] = load + dynamics + stack
    headers = b""
    for one, offset in zip(sections, offsets, strict=True):
        file[offset : offset + len(one.content)] = one.content
        address = offset if one.flags & _ALLOC else 0
        title = titles.index(one.name.encode() + b"\0") if one.name else 0
        place = (address, offset, len(one.content), one.link, one.info, 16 if one.kind else 0, one.size)
        headers += struct.pack("<IIQQQQIIQQ", title, one.kind, one.flags, *place)
    return bytes(file) + headers
