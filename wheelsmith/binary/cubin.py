"""What one cubin holds: its arch, the CUDA release that made it, and its kernels by name.

In: a window on it. Out: `CubinFacts`, or None when it cannot be looked into; then it is not judged. Never fails.
nvcc adds an empty cubin for every `-gencode` of the *link* command, so a library can list an arch for which it holds
no kernel; such code proves nothing, and neither does a kernel whose body is empty (`wheelsmith.binary.sass`). A cubin
is an ELF file of machine 190 (EM_CUDA). Until CUDA 12.7, and for GPUs before 10.0 until 12.9, its OS ABI is 0x33:
`e_flags` has the arch in bits 0 to 7 and, from 9.0 on, `a` in bit 11, and `e_version` is ten times the release. Since
then the OS ABI is 0x41: the arch is in bits 8 to 15 and `a` in bit 3 (12.8 and 12.9 only), and the section
`.note.nv.tkinfo` names the tool, its release and its options. Found by comparing what ptxas 12.0, 12.4, 12.8, 12.9 and
13.0 write; sections and symbols: NVIDIA "CUDA Binary Utilities".
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import NamedTuple

from wheelsmith.binary.names import Names
from wheelsmith.binary.sass import LOOK, judge_body
from wheelsmith.binary.window import Window
from wheelsmith.errors import InvalidWheelError
from wheelsmith.gpu.arch import Arch

CUDA_MACHINE = 190
CUDA_ELF = b"\x7fELF\x02\x01\x01"

# ident: magic, class, byte order, OS ABI; machine, version, e_shoff, e_flags, e_shentsize, e_shnum, e_shstrndx
_HEADER = struct.Struct("<4sBBxB10xHI16xQI6xHHH")
_SEGMENTS = struct.Struct("<32xQ14xHH")  # e_phoff, e_phentsize, e_phnum
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_MAX_SECTIONS = 200_000
_MAX_NAMES = 64 << 20
_MAX_NAME = 4096
_MAX_SYMBOLS = 64 << 20
_MAX_NOTE = 1 << 16
_PROGBITS, _SYMTAB, _EXECUTABLE = 1, 2, 4
_FUNCTION, _ENTRY = 2, 0x10  # STT_FUNC in st_info, STO_CUDA_ENTRY in st_other
_OLD_ABI, _NEW_ABI = 0x33, 0x41
_FIRST_SPECIFIC = 90
_RELEASE = re.compile(rb"Cuda compilation tools, release (\d{1,3}\.\d{1,3})")
_OPTION = re.compile(rb"-arch[ =]sm_(\d{2,3}[af]?)\b")


class Budget:
    """What may still be read of one library's code, so that a hostile one cannot take for ever.

    Attributes:
        sections: section headers and symbols.
        unpacked: bytes of compressed code.
    """

    def __init__(self, size: int = 0) -> None:
        self.sections = 20_000_000
        self.unpacked = min((256 << 20) + 16 * size, 8 << 30)


@dataclass(frozen=True, slots=True)
class CubinFacts:
    """What a cubin holds.

    Attributes:
        arch: that its ELF header says; with a suffix only where the header or the tool's options have one.
        toolkit: the CUDA release that made it, such as `"13.0"`; None when it does not say.
        names: its kernels.
        functions: device functions beside the kernels, which a device linker may need.
    """

    arch: Arch | None
    toolkit: str | None
    names: Names
    functions: int


class _Section(NamedTuple):
    name: int
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entry: int


def is_cubin(head: bytes) -> bool:
    """Whether a file that begins with these (at least 20) bytes is an ELF file for CUDA GPUs."""
    return head.startswith(CUDA_ELF) and head[18:20] == b"\xbe\0"


def cubin_size(cubin: Window, budget: Budget) -> int | None:
    """How many bytes a cubin takes that begins where the window does; None when it is not whole or no cubin."""
    try:
        if not is_cubin(cubin.read(0, 20)):
            return None
        _, sections = _sections(cubin, budget)
    except (InvalidWheelError, _UnknownFormError):
        return None
    _, _, _, _, _, _, table, _, entry, count, _ = _HEADER.unpack(cubin.read(0, _HEADER.size))
    nobits = 8
    ends = [section.offset + section.size for section in sections if section.kind != nobits]
    segments, segment, number = _SEGMENTS.unpack(cubin.read(0, _SEGMENTS.size))
    size = max(table + max(count, len(sections)) * entry, segments + segment * number, *ends)
    return size if size <= cubin.size else None


def read_cubin(cubin: Window, budget: Budget) -> CubinFacts | None:
    """The facts; None: not an ELF file of the known form, damaged, or the budget is used up."""
    try:
        return _read(cubin, budget)
    except (InvalidWheelError, _UnknownFormError):
        return None


class _UnknownFormError(Exception):
    """Not of the known form."""


def _sections(cubin: Window, budget: Budget) -> tuple[int, list[_Section]]:
    """Index of the section of names, and all sections."""
    magic, elf_class, order, _, _, _, table, _, entry, count, names = _HEADER.unpack(cubin.read(0, _HEADER.size))
    if magic != b"\x7fELF" or (elf_class, order, entry) != (2, 1, _SECTION.size) or not table:
        raise _UnknownFormError
    if count == 0 or names == 0xFFFF:  # ELF extended numbering
        first = _Section(*_SECTION.unpack(cubin.read(table, _SECTION.size)))
        count, names = count or first.size, first.link if names == 0xFFFF else names
    budget.sections -= count
    if not 0 < count <= _MAX_SECTIONS or not names < count or budget.sections < 0:
        raise _UnknownFormError
    rows = _SECTION.iter_unpack(cubin.read(table, count * _SECTION.size))
    return names, [_Section._make(row) for row in rows]


def _read(cubin: Window, budget: Budget) -> CubinFacts | None:
    _, _, _, abi, machine, version, _, flags, *_ = _HEADER.unpack(cubin.read(0, _HEADER.size))
    names, sections = _sections(cubin, budget)
    if machine != CUDA_MACHINE:
        return None
    arch, toolkit = _origin(abi, flags, version)
    text = _bounded(cubin, sections[names], _MAX_NAMES)
    if abi == _NEW_ABI:
        toolkit, arch = _note(cubin, sections, text, arch)
    real: list[bytes] = []
    stubs: list[bytes] = []
    functions = 0
    for name, section, value, is_entry in _functions(cubin, sections, budget):
        if not is_entry:
            functions += 1
            continue
        length = min(section.size - value, LOOK)
        start = cubin.read(section.offset + value, length) if length > 0 else b""
        hollow = not start or judge_body(start, arch.major if arch else 0) != "code"
        (stubs if hollow else real).append(name)
    return CubinFacts(arch, toolkit, Names.of(real, stubs), functions)


def _bounded(cubin: Window, section: _Section, limit: int) -> bytes:
    if section.size > limit:
        raise _UnknownFormError
    return cubin.read(section.offset, section.size)


def _functions(cubin: Window, sections: list[_Section], budget: Budget) -> list[tuple[bytes, _Section, int, bool]]:
    """Name, section, position in it, and whether it is a kernel: all functions that are defined here."""
    found: list[tuple[bytes, _Section, int, bool]] = []
    for table in sections:
        if table.kind != _SYMTAB or table.link >= len(sections):
            continue
        rows = table.size // _SYMBOL.size
        budget.sections -= rows
        if budget.sections < 0:
            raise _UnknownFormError
        strings = _bounded(cubin, sections[table.link], _MAX_NAMES)
        data = _bounded(cubin, table, _MAX_SYMBOLS)
        for name, info, other, index, value, _ in _SYMBOL.iter_unpack(data[: rows * _SYMBOL.size]):
            if info & 15 != _FUNCTION or not 0 < index < len(sections):
                continue
            section = sections[index]
            if section.kind == _PROGBITS and section.flags & _EXECUTABLE:
                end = strings.find(b"\0", name, name + _MAX_NAME)
                mangled = strings[name : end if end >= 0 else name + _MAX_NAME]
                found.append((mangled, section, value, bool(other & _ENTRY)))
    return found


def _origin(abi: int, flags: int, version: int) -> tuple[Arch | None, str | None]:
    """Arch and toolkit as the ELF header says."""
    if abi == _OLD_ABI:
        number = flags & 0xFF
        suffix = (
            "a" if flags & 0x800 and number >= _FIRST_SPECIFIC else ""
        )  # 5.0 to 6.1 have that bit for something else
        toolkit = f"{version // 10}.{version % 10}" if 50 <= version < 1000 else None
    elif abi == _NEW_ABI:
        number, suffix, toolkit = flags >> 8 & 0xFF, "a" if flags & 0x8 else "", None
    else:
        return None, None
    return (Arch(number // 10, number % 10, suffix) if number >= 10 else None), toolkit


def _note(cubin: Window, sections: list[_Section], text: bytes, arch: Arch | None) -> tuple[str | None, Arch | None]:
    """The toolkit that `.note.nv.tkinfo` names, and the arch with the suffix that was asked of the tool."""
    at = text.find(b".note.nv.tkinfo\0")
    for section in sections:
        if at >= 0 and section.name == at:
            note = _bounded(cubin, section, _MAX_NOTE)
            releases = [tuple(map(int, release.split(b"."))) for release in _RELEASE.findall(note)]
            toolkit = ".".join(map(str, max(releases))) if releases else None
            for option in _OPTION.findall(note):
                asked = Arch.parse(option.decode())
                if arch and asked.base == arch.base and asked.suffix:
                    arch = asked
            return toolkit, arch
    return None, arch
