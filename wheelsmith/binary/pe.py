"""What the Windows loader and the CUDA runtime will find in one PE file (`.dll`, `.pyd`, `.exe`).

In: a window on the file. Out: `BinaryFacts` of the format `pe`, or None when it is no PE file. Fails with
`InvalidWheelError` on a malformed one. The GPU code is in the section `.nv_fatb` (a PE section name has eight bytes;
in ELF it is `.nv_fatbin`), with the layout of `wheelsmith.binary.fatbin`. cuobjdump for Linux does not read PE files.
Format: Microsoft "PE Format", chapters "COFF File Header", "Optional Header", "Section Table", "Import Directory
Table" and "Delay-Load Directory Table".
"""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from wheelsmith.binary.elf import BinaryFacts
from wheelsmith.binary.fatbin import DeviceCode, read_fatbin
from wheelsmith.binary.scan import scan
from wheelsmith.binary.window import damaged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wheelsmith.binary.window import Window

PE_MAGIC = b"MZ"
FATBIN_SECTION = ".nv_fatb"
_COFF = struct.Struct("<4sHHIIIHH")  # signature, machine, sections, time, symbols (2), optional header, flags
_SECTION = struct.Struct("<8sIIII12xI")  # name, virtual size, address, size in the file, offset, flags
_DIRECTORY = struct.Struct("<II")
_IMPORT = struct.Struct("<12xII")  # address of the name, address of the table
_DELAYED = struct.Struct("<II24x")  # attributes, address of the name
_MAX_SECTIONS = 96  # the limit of the Windows loader
_MAX_LIBRARIES = 10_000
_MAX_NAME = 512
_DLL = 0x2000
_MACHINES = {0x8664: 62, 0xAA64: 183, 0x14C: 3}  # as ELF numbers them
_IMPORTS, _DELAYED_IMPORTS = 1, 13


class Section(NamedTuple):
    """One section: its name, where it is mapped, and where it is in the file."""

    name: str
    address: int
    offset: int
    size: int


def read_pe(file: Window) -> BinaryFacts | None:
    """Read the facts from a whole file; None for what is no PE file, such as a program for DOS.

    Raises:
        InvalidWheelError: it starts as PE and then contradicts itself, or its fatbin does.
    """
    if file.size < 64 or file.read(0, 2) != PE_MAGIC:
        return None
    (start,) = struct.unpack("<I", file.read(60, 4))
    if start + _COFF.size > file.size:
        return None
    signature, machine, count, _, _, _, length, flags = _COFF.unpack(file.read(start, _COFF.size))
    if signature != b"PE\0\0":
        return None
    optional = start + _COFF.size
    sections = tuple(_section_table(file, optional + length, count))
    directories = _directories(file, optional, length)
    code = _device_code(file, sections)
    fatbins = [(item.offset, item.size) for item in sections if item.name == FATBIN_SECTION]
    elsewhere = scan(file, fatbins, first_unit=code[-1].unit + 1 if code else 0, program=True)
    return BinaryFacts(
        needed=tuple(
            dict.fromkeys(
                (
                    *_imports(file, sections, directories.get(_IMPORTS, 0), _IMPORT),
                    *_imports(file, sections, directories.get(_DELAYED_IMPORTS, 0), _DELAYED),
                )
            )
        ),
        rpath=(),
        glibc=None,
        glibcxx=None,
        device_code=(*code, *(replace(item, section=_section_at(sections, item.offset)) for item in elsewhere.code)),
        kind="shared" if flags & _DLL else "executable",
        machine=_MACHINES.get(machine, 0),
        format="pe",
        unread=elsewhere.unread,
    )


def _device_code(file: Window, sections: tuple[Section, ...]) -> tuple[DeviceCode, ...]:
    code: list[DeviceCode] = []
    for section in sections:
        if section.name == FATBIN_SECTION:
            first = code[-1].unit + 1 if code else 0
            code += read_fatbin(file.part(section.offset, section.size), origin=section.offset, first_unit=first)
    return tuple(code)


def _section_at(sections: tuple[Section, ...], offset: int) -> str:
    return next((item.name for item in sections if 0 <= offset - item.offset < item.size), "no section")


def _section_table(file: Window, start: int, count: int) -> Iterator[Section]:
    if not 0 < count <= _MAX_SECTIONS:
        raise damaged(f"it has {count} sections", "PE")
    for row in _SECTION.iter_unpack(file.read(start, count * _SECTION.size)):
        name, virtual, address, size, offset, _ = row
        size = min(size, virtual) if virtual else size  # the file pads sections, and the loader fills up with zeros
        if size and offset + size > file.size:
            raise damaged(f"a section of {size} bytes at offset {offset} leaves the file", "PE")
        yield Section(name.rstrip(b"\0").decode("latin-1"), address, offset, size)


def _directories(file: Window, start: int, length: int) -> dict[int, int]:
    """Addresses of the data directories, by number."""
    if length < 2:
        return {}
    (magic,) = struct.unpack("<H", file.read(start, 2))
    head = {0x10B: 96, 0x20B: 112}.get(magic)
    if head is None or length < head:
        raise damaged(f"it has an optional header of the unknown kind {magic:#x}", "PE")
    (count,) = struct.unpack("<I", file.read(start + head - 4, 4))
    count = min(count, 16, (length - head) // _DIRECTORY.size)
    rows = _DIRECTORY.iter_unpack(file.read(start + head, count * _DIRECTORY.size))
    return {number: address for number, (address, _) in enumerate(rows)}


def _imports(file: Window, sections: tuple[Section, ...], table: int, shape: struct.Struct) -> Iterator[str]:
    """Names of the libraries in one import table."""
    if not table:
        return
    for number in range(_MAX_LIBRARIES):
        first, second = shape.unpack(file.read(_offset(sections, table + number * shape.size), shape.size))
        name = first if shape is _IMPORT else second
        if not name:
            return
        place = _offset(sections, name)
        text, end, _ = file.read(place, min(_MAX_NAME, file.size - place)).partition(b"\0")
        if not end:
            raise damaged(f"the name at offset {place} has no end", "PE")
        yield text.decode("latin-1")
    raise damaged(f"it names more than {_MAX_LIBRARIES} libraries", "PE")


def _offset(sections: tuple[Section, ...], address: int) -> int:
    """Position in the file of what is mapped at an address."""
    for section in sections:
        if 0 <= address - section.address < section.size:
            return section.offset + address - section.address
    raise damaged(f"the address {address:#x} is in none of its sections", "PE")
