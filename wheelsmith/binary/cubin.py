"""What one piece of GPU code holds: its kernels, by name, or nothing at all.

In: the payload of a fatbin entry. Out: the names of its kernels. nvcc adds an empty cubin for every `-gencode` of the
*link* command, so a library can list an arch for which it holds no kernel; such code proves nothing. Never fails: what
cannot be looked into (a damaged payload, a large compressed one) is None, and then counts as code. A cubin is an ELF
file; each kernel is a `.text.<mangled name>` section (NVIDIA "CUDA Binary Utilities", section on cuobjdump).
"""

from __future__ import annotations

import re
import struct
from typing import Literal

from wheelsmith.binary.window import Window
from wheelsmith.errors import InvalidWheelError

_HEADER = struct.Struct("<4sBB34xQ10xHHH")  # magic, class, byte order; e_shoff, e_shentsize, e_shnum, e_shstrndx
_SECTION = struct.Struct("<IIQQQQIIQQ")
_MAX_SECTIONS = 65_536
_MAX_NAMES = 32 << 20
_MAX_NAME = 4096
MAX_LOOK = 1 << 16  # bytes that a compressed piece may have and still be unpacked; an empty cubin has under 2 KB
_PROGBITS, _EXECUTABLE = 1, 4
_TEXT = b".text."
_PTX_CODE = re.compile(rb"\.(?:entry|func)\b")
_NESTED = re.compile(r"_ZN?K?(?:St)?(?=\d)")
_SHOWN = 4  # names kept of one piece


class Budget:
    """What may still be read of one library's code, so that a hostile one cannot take for ever."""

    def __init__(self) -> None:
        self.sections = 4_000_000
        self.unpacked = 256 << 20


def kernels_of_cubin(cubin: Window, budget: Budget) -> tuple[str, ...] | None:
    """Qualified names, without template arguments, of the first few kernels; empty when there is none.

    None: not an ELF file of the known form, or the budget is used up.
    """
    try:
        magic, elf_class, order, table, entry, count, names = _HEADER.unpack(cubin.read(0, _HEADER.size))
        if magic != b"\x7fELF" or (elf_class, order, entry) != (2, 1, _SECTION.size):
            return None
        if count == 0 and table:  # ELF extended numbering
            first = _SECTION.unpack(cubin.read(table, _SECTION.size))
            count, names = first[5], first[6] if names == 0xFFFF else names
        budget.sections -= count
        if count > _MAX_SECTIONS or not names < count or budget.sections < 0:
            return None
        sections = list(_SECTION.iter_unpack(cubin.read(table, count * _SECTION.size)))
        _, _, _, _, start, size, *_ = sections[names]
        if size > _MAX_NAMES:
            return None
        text = cubin.read(start, size)
    except InvalidWheelError:
        return None
    found: dict[str, None] = {}
    for name, kind, flags, _, _, length, *_ in sections:
        if kind == _PROGBITS and flags & _EXECUTABLE and length and text.startswith(_TEXT, name):
            mangled = text[name + len(_TEXT) : name + _MAX_NAME].partition(b"\0")[0]
            found[_readable(mangled.decode("latin-1"))] = None
            if len(found) == _SHOWN:
                break
    return tuple(found)


def kernels_of_compressed(
    kind: Literal["sass", "ptx"], method: Literal["lz4", "zstd"], packed: bytes, size: int, budget: Budget
) -> tuple[str, ...] | None:
    """The same for a compressed piece of at most 64 KiB; PTX gives no names, only empty or None."""
    budget.unpacked -= size
    if not 0 < size <= MAX_LOOK or budget.unpacked < 0:
        return None
    data = _unpack(method, packed, size)
    if data is None:
        return None
    if kind == "ptx":
        return kernels_of_ptx(data)
    return kernels_of_cubin(Window.of_bytes(data), budget)


def kernels_of_ptx(text: bytes) -> tuple[str, ...] | None:
    """Empty when PTX defines neither kernel nor function, else None; None too for what does not look like PTX."""
    return () if b".version" in text and not _PTX_CODE.search(text) else None


def _unpack(method: Literal["lz4", "zstd"], packed: bytes, size: int) -> bytes | None:
    if method == "lz4":
        import lz4.block  # type: ignore[import-untyped]

        try:
            return bytes(lz4.block.decompress(packed, uncompressed_size=size))
        except (lz4.block.LZ4BlockError, ValueError):
            return None
    import zstandard

    try:
        return zstandard.ZstdDecompressor(max_window_size=1 << 27).decompress(packed, max_output_size=size)
    except zstandard.ZstdError:
        return None


def _readable(mangled: str) -> str:
    """`marlin::Marlin` of `_ZN6marlin6MarlinI…`; what is mangled otherwise stays as it is (Itanium C++ ABI, 5.1)."""
    head = _NESTED.match(mangled)
    if head is None:
        return mangled[:120]
    parts: list[str] = []
    rest = mangled[head.end() :]
    while digits := re.match(r"\d{1,4}", rest):
        length = int(digits[0])
        name, rest = rest[digits.end() :][:length], rest[digits.end() + length :]
        parts.append(name)
        if not head[0].startswith("_ZN"):
            break
    kept = [part for part in parts if not part.startswith(("_GLOBAL__N_", "_INTERNAL_"))]
    return "::".join(kept)[:120] or mangled[:120]
