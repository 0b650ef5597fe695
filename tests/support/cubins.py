"""Cubins made by hand, so that the tests know every byte of them; the instructions are what nvcc wrote for us."""

from __future__ import annotations

import struct
from collections.abc import Mapping


def code(*instructions: int) -> bytes:
    """128-bit instructions, each written as nvdisasm shows its two words, low word first."""
    return b"".join(struct.pack("<Q", word) for word in instructions)


MOVE = (0x00000A0000017A02, 0x000FE40000000F00)  # MOV R1, c[0x0][0x28]
EXIT = (0x000000000000794D, 0x000FEA0003800000)
EXIT_IF = (0x000000000000094D, 0x000FEA0003800000)  # @P0 EXIT
TRAP = (0x000000040000795C, 0x000FEA0000300000)  # BPT.TRAP 0x1
STORE = (0x0000000502007986, 0x000FE2000C101904)  # STG.E [R2.64], R5
LOOP = (0xFFFFFFF000007947, 0x000FC0000383FFFF)  # BRA to itself
NOTHING = (0x0000000000007918, 0x000FC00000000000)  # NOP

REAL = code(*MOVE, *STORE, *EXIT, *LOOP, *NOTHING)
EMPTY = code(*MOVE, *EXIT, *LOOP, *NOTHING)
TRAPPING = code(*MOVE, *STORE, *TRAP, *LOOP)

_SECTION = struct.Struct("<IIQQQQIIQQ")
_NOTE = b"\0ptxas\0Cuda compilation tools, release %s, V%s.88\0Build x\0-arch sm_%s -m 64 \0"


def cubin(
    kernels: Mapping[str, bytes] | None = None,
    arch: str = "86",
    *,
    toolkit: str = "13.0",
    old: bool = False,
    functions: Mapping[str, bytes] | None = None,
) -> bytes:
    """A cubin with these kernels and device functions (name to machine code); `old`: as CUDA 12.0 wrote it."""
    number, special = int(arch.rstrip("af")), arch.endswith("a")
    texts = [*((n, b, 0x10) for n, b in (kernels or {}).items()), *((n, b, 0) for n, b in (functions or {}).items())]
    strings, names = bytearray(b"\0"), bytearray(b"\0")
    symbols, body, sections = bytearray(24), bytearray(64), [bytes(64)]

    def section(name: str, kind: int, flags: int, data: bytes, link: int = 0) -> None:
        sections.append(_SECTION.pack(len(names), kind, flags, 0, len(body), len(data), link, 0, 1, 0))
        names.extend(name.encode() + b"\0")
        body.extend(data)

    for index, (name, data, other) in enumerate(texts, 1):
        symbols += struct.pack("<IBBHQQ", len(strings), 0x12, other, index, 0, len(data))
        strings += name.encode() + b"\0"
        section(f".text.{name}", 1, 6, data)
    section(".strtab", 3, 0, bytes(strings))
    section(".symtab", 2, 0, bytes(symbols), len(sections) - 1)
    if not old:
        release = toolkit.encode()
        section(".note.nv.tkinfo", 7, 0, _NOTE % (release, release, arch.encode()))
    start = len(names)
    names += b".shstrtab\0"
    sections.append(_SECTION.pack(start, 3, 0, 0, len(body), len(names), 0, 0, 1, 0))
    body += names
    release_number = int(toolkit.replace(".", ""))
    if old:
        ident, version, flags = b"\x33\x07", release_number, number << 16 | 0x500 | number | special << 11
    else:
        ident, version, flags = b"\x41\x08", 1, 0x6000002 | number << 8
    head = b"\x7fELF\x02\x01\x01" + ident + bytes(7)
    head += struct.pack(
        "<HHIQQQIHHHHHH", 2, 190, version, 0, 0, len(body), flags, 64, 56, 0, 64, len(sections), len(sections) - 1
    )
    body[:64] = head
    return bytes(body) + b"".join(sections)
