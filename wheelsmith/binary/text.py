"""GPU code that text spells: the first bytes of a cubin or a fatbin, in base64, hexadecimal or escapes, and PTX.

In: a window. Out: offsets. Nothing is decoded, and base64 is found only where it begins with the code. Never fails. A
file of more than 64 MiB is not searched.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wheelsmith.binary.window import Window

_LARGEST = 64 << 20
_ARRAY = b"0x7f,%s0x45,%s0x4c,%s0x46,%s0x02,%s0x01,%s0x01,%s0x"
_LINE = rb"(?:\s|\\[nrt]|[\"'+])*+"  # between two directives that one or several strings spell
_PTX = re.compile(rb"\.version\s+\d{1,2}\.\d{1,2}" + _LINE + rb"\.target\s+sm_\d{2,3}")
_ENTRY = re.compile(rb"\.entry\b")
_NEAR = 20_000  # bytes after its beginning within which PTX with kernels names one
_SPELLED = (
    b"f0VMRgIBATM",  # an ELF header with the OS ABI 0x33
    b"f0VMRgIBAUE",  # with 0x41
    b"UO1VugEAEA",  # a fatbin's header
    b"7f454c4602010133",
    b"7f454c4602010141",
    b"7F454C4602010133",
    b"7F454C4602010141",
    b"50ed55ba01001000",
    b"50ED55BA01001000",
    b"\\x7fELF\\x02\\x01\\x013\\x07",
    b"\\x7fELF\\x02\\x01\\x01A\\x08",
    b"P\\xedU\\xba\\x01\\x00\\x10\\x00",
    *(_ARRAY % ((gap,) * 7) + last for gap in (b"", b" ") for last in (b"33", b"41")),
)


def spelled(file: Window) -> tuple[int, ...]:
    """Offsets of the first place of each spelling that is there, ascending."""
    if file.size > _LARGEST:
        return ()
    data = file.read(0, file.size)
    found = {place for place in map(data.find, _SPELLED) if place >= 0}
    if (ptx := _ptx(data)) is not None:
        found.add(ptx)
    return tuple(sorted(found))


def _ptx(data: bytes) -> int | None:
    """Where the first PTX with a kernel begins. Each byte is passed once, however often it seems to begin."""
    entry = -1
    for begin in _PTX.finditer(data):
        if entry < begin.end():
            after = _ENTRY.search(data, begin.end())
            if after is None:
                return None
            entry = after.start()
        if entry - begin.end() <= _NEAR:
            return begin.start()
    return None
